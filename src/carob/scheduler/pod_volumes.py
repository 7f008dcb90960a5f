"""What a Pod's claims ask of a node: volumes that lie somewhere, volumes that are still to be chosen or made.

Pure, over one look at the claims, volumes and classes. Source: scheduler plugin VolumeBinding
(`volumebinding/{binder,volume_binding}.go`); the words are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api import claims, quantity
from carob.api.selectors import SelectorError, from_struct
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.types import core_v1, storage_v1
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.volume_limits import VolumeLimits

BINDING = "VolumeBinding"
_CONFLICT = Rejection(BINDING, ("node(s) had volume node affinity conflict",))
_NOTHING = Rejection(BINDING, ("node(s) didn't find available persistent volumes to bind",))
_NO_SPACE = Rejection(BINDING, ("node(s) did not have enough free storage",))
_NO_VOLUME = Rejection(BINDING, ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",))
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


class Plan(Struct, frozen=True):
    """What must be written before the Pod is bound to the node: volumes chosen by claim, claims to be provisioned."""

    chosen: dict[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.chosen and not self.made


class PodVolumes(Struct):
    """One Pod's claims. `refusal` is why no node can have it now; `busy` that another Pod uses what only one may."""

    refusal: str = ""
    busy: bool = False
    bound: list[core_v1.PersistentVolume | None] = field(default_factory=list)
    waiting: list[core_v1.PersistentVolumeClaim] = field(default_factory=list)
    volumes: Mapping[str, core_v1.PersistentVolume] = field(default_factory=dict)
    classes: Mapping[str, storage_v1.StorageClass] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    selected: Mapping[str, str] = field(default_factory=dict)
    """Nodes that were chosen for claims a moment ago, by the claim's key."""
    limits: VolumeLimits | None = None
    """How many volumes nodes can have; None where nobody limits them."""
    drivers: Mapping[str, storage_v1.CSIDriver] = field(default_factory=dict)
    capacities: Iterable[storage_v1.CSIStorageCapacity] = ()

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Why the node cannot have the Pod; None if it can."""
        for volume in self.bound:
            if volume is None:
                return _NO_VOLUME
            if not claims.reaches(volume, node.labels, node.name):
                return _CONFLICT
        if self.plan(node) is not None:
            return None
        lacks_space = any(
            self._can_be_made(one, node, whatever_size=True) and not self._has_space(one, node) for one in self.waiting
        )
        return _NO_SPACE if lacks_space else _NOTHING

    def plan(self, node: NodeInfo) -> Plan | None:
        """How the claims without a volume get one on this node; None if they cannot. The smallest choose first."""
        chosen: dict[str, str] = {}
        made: list[str] = []
        for claim in sorted(self.waiting, key=lambda one: quantity.nano(claims.requested(one))):
            key = f"{claim.metadata.namespace}/{claim.metadata.name}"
            selected = claim.metadata.annotations.get(claims.SELECTED_NODE) or self.selected.get(key)
            if selected is not None:
                # somebody else's choice, which is being carried out
                if selected != node.name:
                    return None
                made.append(key)
                continue
            taken = self.taken | set(chosen.values())
            found = claims.best_match(
                claim, self.volumes.values(), node=(node.name, node.labels), taken=frozenset(taken)
            )
            if found is not None:
                chosen[key] = found.metadata.name
            elif self._can_be_made(claim, node):
                made.append(key)
            else:
                return None
        return Plan(chosen, tuple(made))

    def _can_be_made(
        self, claim: core_v1.PersistentVolumeClaim, node: NodeInfo, *, whatever_size: bool = False
    ) -> bool:
        found = self.classes.get(claims.class_of(claim))
        if found is None or found.provisioner in ("", claims.NO_PROVISIONER):
            return False
        terms = found.allowed_topologies
        labels = node.labels
        if terms and not any(all(labels.get(e.key) in e.values for e in t.match_label_expressions) for t in terms):
            return False
        return whatever_size or self._has_space(claim, node)

    def _has_space(self, claim: core_v1.PersistentVolumeClaim, node: NodeInfo) -> bool:
        """Whether the driver says that it can make the volume where the node reaches it. Source: hasEnoughCapacity."""
        class_name = claims.class_of(claim)
        found = self.classes.get(class_name)
        driver = self.drivers.get(found.provisioner) if found is not None else None
        if driver is None or not driver.spec.storage_capacity:
            return True
        wanted = quantity.nano(claims.requested(claim))
        return any(
            one.storage_class_name == class_name and _suffices(one, wanted) and _reaches(one, node)
            for one in self.capacities
        )


def _suffices(capacity: storage_v1.CSIStorageCapacity, wanted: int) -> bool:
    limit = capacity.maximum_volume_size or capacity.capacity
    return limit is not None and quantity.nano(limit) >= wanted


def _reaches(capacity: storage_v1.CSIStorageCapacity, node: NodeInfo) -> bool:
    if capacity.node_topology is None:
        return False
    try:
        return from_struct(capacity.node_topology).matches(node.labels)
    except SelectorError:
        return False


class StorageView(Struct, frozen=True):
    """One look at all that is stored; `taken` and `selected` are what was decided a moment ago."""

    claims: Mapping[str, core_v1.PersistentVolumeClaim]
    volumes: Mapping[str, core_v1.PersistentVolume]
    classes: Mapping[str, storage_v1.StorageClass]
    taken: frozenset[str] = frozenset()
    selected: Mapping[str, str] = field(default_factory=dict)
    limits: VolumeLimits | None = None
    drivers: Mapping[str, storage_v1.CSIDriver] = field(default_factory=dict)
    capacities: Iterable[storage_v1.CSIStorageCapacity] = ()


def look(pod: PodInfo, view: StorageView, users: Mapping[str, int]) -> PodVolumes:
    """What the Pod's claims ask; `users` counts the placed Pods of claims that only one Pod may use."""
    out = PodVolumes(
        volumes=view.volumes,
        classes=view.classes,
        taken=view.taken,
        selected=view.selected,
        limits=view.limits,
        drivers=view.drivers,
        capacities=view.capacities,
    )
    if out.limits is not None:
        out.limits.bring(key for key, _ in pod.claims)
    for key, ephemeral in pod.claims:
        claim = view.claims.get(key)
        name = key.partition("/")[2]
        if claim is None:
            out.refusal = (
                f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
                if ephemeral
                else f'persistentvolumeclaim "{name}" not found'
            )
            return out
        out.refusal = _refusal(pod, claim, ephemeral=ephemeral)
        if out.refusal:
            return out
        if claims.ONE_POD in claim.spec.access_modes and users.get(key):
            out.busy = True
        if claims.is_bound(claim):
            out.bound.append(view.volumes.get(claim.spec.volume_name))
        elif claims.waits_for_consumer(claim, view.classes) and not claim.spec.volume_name:
            out.waiting.append(claim)
        else:
            out.refusal = UNBOUND
            return out
    return out


def _refusal(pod: PodInfo, claim: core_v1.PersistentVolumeClaim, *, ephemeral: bool) -> str:
    name = claim.metadata.name
    if claim.metadata.deletion_timestamp is not None:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if claim.status.phase == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
    if ephemeral and not claims.made_for(claim, pod.uid):
        return f"PVC {pod.namespace}/{name} was not created for pod {pod.key} (pod is not owner)"
    return ""

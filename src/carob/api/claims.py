"""What a claim and a volume say of each other: class, modes, size, nodes, and whose claim a Pod's volume names.

Pure. Shared by the binder, the scheduler and the kubelet, so that all three mean the same.
Source: component-helpers `storage/volume` (FindMatchingVolume, CheckVolumeModeMismatches, CheckNodeAffinity).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.api.selectors import SelectorError, from_node_expressions, from_struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.types import core_v1, storage_v1

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
CLASS_OF_OLD = "volume.beta.kubernetes.io/storage-class"
HOSTNAME = "kubernetes.io/hostname"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
ONE_POD = "ReadWriteOncePod"


def class_of(claim: core_v1.PersistentVolumeClaim) -> str:
    """The name of its class; empty for none."""
    old = claim.metadata.annotations.get(CLASS_OF_OLD)
    return old if old is not None else claim.spec.storage_class_name or ""


def class_of_volume(volume: core_v1.PersistentVolume) -> str:
    """The name of its class; empty for none."""
    old = volume.metadata.annotations.get(CLASS_OF_OLD)
    return old if old is not None else volume.spec.storage_class_name


def waits_for_consumer(claim: core_v1.PersistentVolumeClaim, classes: Mapping[str, storage_v1.StorageClass]) -> bool:
    """Whether it is bound only once a Pod that uses it has a node. A class that is not there waits for nobody."""
    found = classes.get(class_of(claim))
    return found is not None and found.volume_binding_mode == "WaitForFirstConsumer"


def requested(claim: core_v1.PersistentVolumeClaim) -> str:
    """How much it asks for."""
    return claim.spec.resources.requests.get("storage", "0")


def capacity(volume: core_v1.PersistentVolume) -> str:
    """How much it has."""
    return volume.spec.capacity.get("storage", "0")


def refers_to(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> bool:
    """Whether the volume is bound, or bound beforehand, to this very claim."""
    reference = volume.spec.claim_ref
    return (
        reference is not None
        and reference.name == claim.metadata.name
        and reference.namespace == claim.metadata.namespace
        and reference.uid in ("", claim.metadata.uid)
    )


def is_bound(claim: core_v1.PersistentVolumeClaim) -> bool:
    """Whether both sides have agreed."""
    return bool(claim.spec.volume_name) and BIND_COMPLETED in claim.metadata.annotations


def mode(value: str | None) -> str:
    """The volume mode; a file system where nothing is said."""
    return value or "Filesystem"


def misfit(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> str:
    """Why the volume that a claim names cannot serve it; empty if it can. Source: `checkVolumeSatisfyClaim`."""
    if quantity.compare(capacity(volume), requested(claim)) < 0:
        return "requested PV is too small"
    if class_of_volume(volume) != class_of(claim):
        return "storageClassName does not match"
    if mode(volume.spec.volume_mode) != mode(claim.spec.volume_mode):
        return "incompatible volumeMode"
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    if (volume.spec.volume_attributes_class_name or "") != (claim.spec.volume_attributes_class_name or ""):
        return "VolumeAttributesClassName does not match"
    return ""


def reaches(volume: core_v1.PersistentVolume, node_labels: Mapping[str, str], node_name: str) -> bool:
    """Whether the volume can be used on the node."""
    affinity = volume.spec.node_affinity
    required = affinity.required if affinity is not None else None
    return required is None or node_matches(required.node_selector_terms, node_labels, node_name)


def node_matches(terms: Iterable[Any], labels: Mapping[str, str], name: str) -> bool:
    """Whether one of the node selector's terms holds; one that asks nothing, or makes no sense, holds nowhere."""
    for term in terms:
        if not term.match_expressions and not term.match_fields:
            continue
        try:
            found = from_node_expressions(term.match_expressions)
        except SelectorError:
            continue
        if found.matches(labels) and all(
            f.key == "metadata.name" and (name in f.values) == (f.operator == "In") for f in term.match_fields
        ):
            return True
    return False


def best_match(
    claim: core_v1.PersistentVolumeClaim,
    volumes: Iterable[core_v1.PersistentVolume],
    *,
    waits: bool = False,
    node: tuple[str, Mapping[str, str]] | None = None,
    taken: frozenset[str] = frozenset(),
) -> core_v1.PersistentVolume | None:
    """The smallest volume that fits with the fewest access modes; one that was bound beforehand wins.

    Shape: `waits` and no `node`: only what was bound beforehand counts. `node` is a name and labels; `taken` are names
    of volumes that somebody else is about to get.
    """
    try:
        selector = from_struct(claim.spec.selector) if claim.spec.selector is not None else None
    except SelectorError:
        return None
    fitting: list[core_v1.PersistentVolume] = []
    wanted = set(claim.spec.access_modes)
    for volume in volumes:
        metadata, spec = volume.metadata, volume.spec
        if not wanted <= set(spec.access_modes) or metadata.deletion_timestamp is not None or metadata.name in taken:
            continue
        mine = spec.claim_ref is not None and refers_to(volume, claim)
        if spec.claim_ref is not None and not mine:
            continue
        if mode(spec.volume_mode) != mode(claim.spec.volume_mode):
            continue
        if (spec.volume_attributes_class_name or "") != (claim.spec.volume_attributes_class_name or ""):
            continue
        big_enough = quantity.compare(capacity(volume), requested(claim)) >= 0
        if mine:
            if not big_enough:
                continue
            return volume if node is None or reaches(volume, node[1], node[0]) else None
        if (node is None and waits) or not big_enough or volume.status.phase != "Available":
            continue
        if selector is not None and not selector.matches(metadata.labels):
            continue
        if class_of_volume(volume) != class_of(claim):
            continue
        if node is not None and not reaches(volume, node[1], node[0]):
            continue
        fitting.append(volume)
    return min(fitting, key=_preference, default=None)


def _preference(volume: core_v1.PersistentVolume) -> tuple[int, int, str]:
    return len(volume.spec.access_modes), quantity.nano(capacity(volume)), volume.metadata.name


def claim_name(pod_name: str, volume: Any) -> str:
    """The claim that a volume of a Pod uses; empty if it uses none.

    Shape: `volume` is a core_v1.Volume or a view with `name`, `persistent_volume_claim` and `ephemeral`.
    """
    if volume.persistent_volume_claim is not None:
        return str(volume.persistent_volume_claim.claim_name)
    return f"{pod_name}-{volume.name}" if volume.ephemeral is not None else ""


def made_for(claim: core_v1.PersistentVolumeClaim, pod_uid: str) -> bool:
    """Whether this ephemeral claim was made for the Pod."""
    return any(owner.controller and owner.uid == pod_uid for owner in claim.metadata.owner_references)

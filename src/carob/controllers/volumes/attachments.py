"""Which volumes are to be attached to which nodes, and which may be taken from a node.

Pure. Source: kube-controller-manager `volume/attachdetach` (reconciler, populator), `pkg/volume/csi/csi_attacher.go`; the
words are upstream's. Differs: only CSI volumes; the sources of old that upstream translates to CSI are not attached.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from carob.api.types import core_v1, storage_v1
    from carob.controllers.views import PodView

MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"
KEEP_ENDED = "volumes.kubernetes.io/keep-terminated-pod-volumes"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
MOST_UNMOUNT_SECONDS = 360.0
"""How long a node that does not answer may take to unmount; then the volume is taken away."""
_SHARED_MODES = frozenset(("ReadWriteMany", "ReadOnlyMany"))


class AttachableVolume(Struct, frozen=True):
    """A PersistentVolume that a CSI driver attaches. `exclusive`: to one node at a time."""

    name: str
    driver: str
    handle: str
    exclusive: bool

    @property
    def unique_name(self) -> str:
        """How nodes' statuses call it."""
        return f"kubernetes.io/csi/{self.driver}^{self.handle}"

    def attachment_name(self, node: str) -> str:
        """The name of its VolumeAttachment for a node."""
        return "csi-" + hashlib.sha256(f"{self.handle}{self.driver}{node}".encode()).hexdigest()


def attachable(
    volume: core_v1.PersistentVolume, driver_of: Callable[[str], storage_v1.CSIDriver | None]
) -> AttachableVolume | None:
    """None for what is not attached; a driver that nobody described is taken to need it."""
    source = volume.spec.csi
    if source is None:
        return None
    driver = driver_of(source.driver)
    if driver is not None and driver.spec.attach_required is False:
        return None
    modes = volume.spec.access_modes
    exclusive = bool(modes) and _SHARED_MODES.isdisjoint(modes)
    return AttachableVolume(volume.metadata.name, source.driver, source.volume_handle, exclusive)


class NodeFacts(Struct, frozen=True):
    """What counts of a node. `reported`: what its status calls attached; `in_use`: what its kubelet has mounted."""

    managed: bool = False
    keeps_ended: bool = False
    healthy: bool = False
    out_of_service: bool = False
    in_use: frozenset[str] = frozenset()
    reported: frozenset[str] = frozenset()


def facts_of(node: core_v1.Node) -> NodeFacts:
    """As the Node object tells them."""
    notes, status = node.metadata.annotations, node.status
    return NodeFacts(
        managed=MANAGED in notes,
        keeps_ended=notes.get(KEEP_ENDED) == "true",
        healthy=any(c.type == "Ready" and c.status == "True" for c in status.conditions),
        out_of_service=any(t.key == OUT_OF_SERVICE and t.effect == "NoExecute" for t in node.spec.taints),
        in_use=frozenset(status.volumes_in_use),
        reported=frozenset(one.name for one in status.volumes_attached),
    )


class AttachPlan(Struct):
    """What one volume needs now; lists are of nodes' names."""

    attach: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    """It is attached, and the node's status does not say so yet."""
    detach: list[str] = field(default_factory=list)
    """First the node's status no longer names it, then the attachment goes."""
    leaving: set[str] = field(default_factory=set)
    """Nobody on the node needs it any more, whether it can be taken away now or not."""
    again_seconds: float | None = None
    """When to look again, though nothing may have happened by then."""
    refused: list[tuple[PodView, str]] = field(default_factory=list)
    """Pods that cannot have it where they are, and why."""
    failed: list[tuple[PodView, str]] = field(default_factory=list)
    """Pods whose node it could not be attached to, and what the driver said."""


def users_by_node(pods: Sequence[PodView], node_of: Callable[[str], NodeFacts | None]) -> dict[str, list[PodView]]:
    """The Pods that need a volume, of all that name it, by their nodes."""
    found: dict[str, list[PodView]] = {}
    for pod in pods:
        name = pod.spec.node_name
        node = node_of(name) if name else None
        if name and (not pod.has_ended or (node is not None and node.keeps_ended)):
            found.setdefault(name, []).append(pod)
    return found


def plan(
    volume: AttachableVolume,
    users: Mapping[str, Sequence[PodView]],
    attachments: Mapping[str, storage_v1.VolumeAttachment],
    node_of: Callable[[str], NodeFacts | None],
    leaving_seconds: Callable[[str], float],
) -> AttachPlan:
    """Shape: `users` and `attachments` by node; `leaving_seconds` says for how long nobody on the node has needed it."""
    out = AttachPlan()
    for name in sorted(attachments):
        _look_at_attached(out, volume, name, attachments[name], users, node_of(name), leaving_seconds)
    taken = set(attachments)
    for name in sorted(users):
        if name in attachments:
            continue
        node = node_of(name)
        if node is None or not node.managed:
            continue
        if volume.exclusive and taken:
            out.refused += _refusals(volume, name, users, taken)
            continue
        out.attach.append(name)
        taken.add(name)
    return out


def _look_at_attached(
    out: AttachPlan,
    volume: AttachableVolume,
    name: str,
    attachment: storage_v1.VolumeAttachment,
    users: Mapping[str, Sequence[PodView]],
    node: NodeFacts | None,
    leaving_seconds: Callable[[str], float],
) -> None:
    ending = attachment.metadata.deletion_timestamp is not None
    if name in users:
        status = attachment.status
        if status.attached and not ending and node is not None and volume.unique_name not in node.reported:
            out.report.append(name)
        if not status.attached and status.attach_error is not None:
            text = f'AttachVolume.Attach failed for volume "{volume.name}" : {status.attach_error.message}'
            out.failed += [(pod, text) for pod in users[name]]
        return
    out.leaving.add(name)
    waited = leaving_seconds(name)
    # of a node that is not there nobody knows what it has mounted
    mounted = node is None or volume.unique_name in node.in_use
    unhealthy = node is None or not node.healthy
    overdue = waited >= MOST_UNMOUNT_SECONDS and unhealthy
    if mounted and not overdue and not (node is not None and node.out_of_service):
        if waited < MOST_UNMOUNT_SECONDS:
            out.again_seconds = min(MOST_UNMOUNT_SECONDS - waited, out.again_seconds or MOST_UNMOUNT_SECONDS)
        return
    if not ending or (node is not None and volume.unique_name in node.reported):
        out.detach.append(name)


def _refusals(
    volume: AttachableVolume, node: str, users: Mapping[str, Sequence[PodView]], taken: set[str]
) -> list[tuple[PodView, str]]:
    """Source: `reportMultiAttachError`; nobody learns the names of Pods of other namespaces."""
    others = [pod for name in sorted(taken) for pod in users.get(name, ())]
    found = []
    for pod in users[node]:
        local = [one.metadata.name for one in others if one.metadata.namespace == pod.metadata.namespace]
        foreign = len(others) - len(local)
        if not others:
            words = "Volume is already exclusively attached to one node and can't be attached to another"
        elif local:
            words = f"Volume is already used by pod(s) {', '.join(local)}"
            if foreign:
                words += f" and {foreign} pod(s) in different namespaces"
        else:
            words = f"Volume is already used by {foreign} pod(s) in different namespaces"
        found.append((pod, f'Multi-Attach error for volume "{volume.name}" {words}'))
    return found

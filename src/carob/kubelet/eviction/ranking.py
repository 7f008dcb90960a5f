"""Whom to end when something runs short, and with which words. Pure.

Source: kubelet `eviction/helpers.go` (rankMemoryPressure and the like, evictionMessage).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api import quantity
from carob.kubelet.eviction.thresholds import MEMORY, PID, Met
from carob.kubelet.resources import SYSTEM_CRITICAL_PRIORITY, pod_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.api.types import core_v1

MIRROR = "kubernetes.io/config.mirror"
SOURCE = "kubernetes.io/config.source"
ORDER = {MEMORY: 0, PID: 1}


class ContainerUse(Struct, frozen=True):
    """Bytes and counts of one container."""

    name: str
    memory_bytes: int = 0
    disk_bytes: int = 0
    inodes: int = 0
    processes: int = 0


class PodUse(Struct, frozen=True):
    """A Pod with what it uses; `volume_bytes` by the emptyDir's name, on the disk."""

    pod: core_v1.Pod
    containers: Sequence[ContainerUse] = ()
    volume_bytes: dict[str, int] = field(default_factory=dict)
    volume_inodes: int = 0

    def of(self, resource: str) -> int:
        """How much of a resource the whole Pod uses."""
        if resource == "memory":
            return sum(c.memory_bytes for c in self.containers)
        if resource == "inodes":
            return sum(c.inodes for c in self.containers) + self.volume_inodes
        if resource == "pids":
            return sum(c.processes for c in self.containers)
        return sum(c.disk_bytes for c in self.containers) + sum(self.volume_bytes.values())


def is_critical(pod: core_v1.Pod) -> bool:
    """Whether nothing may end it: static Pods and those that the system needs."""
    annotations = pod.metadata.annotations
    if MIRROR in annotations or annotations.get(SOURCE, "api") != "api":
        return True
    return (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY


def first(met: Iterable[Met]) -> Met | None:
    """The threshold to act on: memory before everything else."""
    return min(met, key=lambda m: ORDER.get(m.threshold.signal, 2), default=None)


def ranked(resource: str, pods: Iterable[PodUse]) -> list[PodUse]:
    """First to go first: who uses more than it asked for, then the lower priority, then who uses most beyond it."""

    def key(use: PodUse) -> tuple[bool, int, int]:
        used = use.of(resource)
        asked = _request(use.pod, resource)
        exceeds = used > asked if resource in ("memory", "ephemeral-storage") else True
        return (not exceeds, use.pod.spec.priority or 0, asked - used)

    return sorted((use for use in pods if not is_critical(use.pod)), key=key)


def _request(pod: core_v1.Pod, resource: str) -> int:
    if resource not in ("memory", "ephemeral-storage"):
        return 0
    return quantity.whole(pod_requests(pod).get(resource, "0"))


def message(met: Met, use: PodUse) -> str:
    """Why the Pod was ended, as its status says."""
    resource, observation = met.resource, met.observation
    form = quantity.DECIMAL_SI if resource == "inodes" else quantity.BINARY_SI
    text = (
        f"The node was low on resource: {resource}. Threshold quantity: {met.threshold.shown(observation.capacity)}, "
        f"available: {quantity.from_bytes(observation.available, form)}. "
    )
    if resource not in ("memory", "ephemeral-storage"):
        return text
    containers = {c.name: c for c in use.pod.spec.containers}
    for one in use.containers:
        used = one.memory_bytes if resource == "memory" else one.disk_bytes
        container = containers.get(one.name)
        asked = container.resources.requests.get(resource, "0") if container is not None else "0"
        if used > quantity.whole(asked):
            text += (
                f"Container {one.name} was using {quantity.from_bytes(used)}, request is {asked}, "
                f"has larger consumption of {resource}. "
            )
    return text


def over_local_limits(use: PodUse) -> str:
    """Why the Pod must go for what it has written, whatever the node has left; empty if it need not.

    Source: `localStorageEviction`.
    """
    spec = use.pod.spec
    for volume in spec.volumes:
        source = volume.empty_dir
        if source is None or not source.size_limit or volume.name not in use.volume_bytes:
            continue
        limit = quantity.whole(source.size_limit)
        if 0 < limit < use.volume_bytes[volume.name]:
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{source.size_limit}". '
    limits = {c.name: c.resources.limits.get("ephemeral-storage") for c in [*spec.init_containers, *spec.containers]}
    total = sum(quantity.whole(limit) for limit in limits.values() if limit)
    if total and all(limits[c.name] for c in spec.containers) and use.of("ephemeral-storage") > total:
        shown = quantity.from_bytes(total)
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
    for one in use.containers:
        own = limits.get(one.name)
        if own and one.disk_bytes > quantity.whole(own):
            return f'Container {one.name} exceeded its local ephemeral storage limit "{own}". '
    return ""


def has_local_limits(pod: core_v1.Pod) -> bool:
    """Whether `over_local_limits` can ever say anything about it."""
    return bounded_layers(pod) or any(v.empty_dir is not None and v.empty_dir.size_limit for v in pod.spec.volumes)


def bounded_layers(pod: core_v1.Pod) -> bool:
    """Whether what its containers write into their own file systems is bounded."""
    return any("ephemeral-storage" in c.resources.limits for c in [*pod.spec.init_containers, *pod.spec.containers])


def keeps_out(pod: core_v1.Pod, best_effort: bool, conditions: set[str]) -> str:
    """Why a node in these conditions takes no such Pod; empty if it does.

    Source: the eviction manager's `Admit`.
    """
    if not conditions or is_critical(pod):
        return ""
    if conditions == {"MemoryPressure"}:
        tolerated = any(
            t.key in ("", "node.kubernetes.io/memory-pressure") and t.effect in ("", "NoSchedule")
            for t in pod.spec.tolerations
        )
        if not best_effort or tolerated:
            return ""
    return f"The node had condition: [{' '.join(sorted(conditions))}]. "

"""In-place resize: whether a new size fits the node, and what brings a running container to it. Pure.

A container has three sizes: what its spec asks for, what the node has allocated, and what it runs with (actuated).
Source: KEP-1287; kubelet `allocation/allocation_manager.go`, `kuberuntime_manager.go` (computePodResizeAction).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from carob.api import codec, quantity
from carob.api.types import core_v1
from carob.kubelet.decide import is_sidecar
from carob.kubelet.resources import pod_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
DEFERRED, INFEASIBLE, ERROR = "Deferred", "Infeasible", "Error"
NAMES = ("cpu", "memory")
WHOLE = ""
"""Stands for the Pod itself among the names of its containers."""
Sizes = dict[str, core_v1.ResourceRequirements]
"""By container: regular ones and sidecars; others run too shortly. The Pod's own under the empty name, if it has some."""


class Refusal(Struct, frozen=True):
    """`reason` Deferred: it may fit later; Infeasible: it never will on this node."""

    reason: str
    message: str
    generation: int = 0
    """Of the Pod that was refused."""


def sizes_of(pod: core_v1.Pod) -> Sizes:
    """What the spec asks for."""
    sizes = {c.name: c.resources for c in _resizable(pod)}
    if pod.spec.resources is not None:
        sizes[WHOLE] = pod.spec.resources
    return sizes


def _resizable(pod: core_v1.Pod) -> list[core_v1.Container]:
    return [*(c for c in pod.spec.init_containers if is_sidecar(c)), *pod.spec.containers]


def told_sizes(pod: core_v1.Pod) -> tuple[Sizes, Sizes] | None:
    """Allocated and actuated sizes as an earlier agent told them in the status; None for a Pod that it never started."""
    allocated, actuated = {}, {}
    for entry in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
        if entry.resources is not None:
            actuated[entry.name] = entry.resources
            requests = entry.allocated_resources or entry.resources.requests
            allocated[entry.name] = core_v1.ResourceRequirements(requests=requests, limits=entry.resources.limits)
    whole = pod.status.resources
    if whole is not None:
        actuated[WHOLE] = whole
        requests = pod.status.allocated_resources or whole.requests
        allocated[WHOLE] = core_v1.ResourceRequirements(requests=requests, limits=whole.limits)
    wanted = sizes_of(pod)
    if not wanted.keys() <= allocated.keys():
        return None
    return {n: allocated[n] for n in wanted}, {n: actuated[n] for n in wanted}


def with_sizes(pod: core_v1.Pod, sizes: Mapping[str, core_v1.ResourceRequirements]) -> core_v1.Pod:
    """The Pod as if its spec asked for these; itself where nothing differs."""
    whole = sizes.get(WHOLE, pod.spec.resources)
    if whole == pod.spec.resources and all(c.resources == sizes.get(c.name, c.resources) for c in _resizable(pod)):
        return pod
    replace = msgspec.structs.replace

    def sized(containers: list[core_v1.Container]) -> list[core_v1.Container]:
        return [replace(c, resources=sizes[c.name]) if c.name in sizes else c for c in containers]

    containers, inits = sized(pod.spec.containers), sized(pod.spec.init_containers)
    return replace(pod, spec=replace(pod.spec, containers=containers, init_containers=inits, resources=whole))


def refusal(wanted: core_v1.Pod, others: Iterable[core_v1.Pod], allocatable: Mapping[str, str]) -> Refusal | None:
    """Why the new size cannot be given now; None if it can. `others` are with the sizes that they are allocated."""
    requests = pod_requests(wanted)
    too_large, too_much = [], []
    others = list(others)
    for name in NAMES:
        if name not in requests:
            continue
        unit = quantity.cpu_millicores if name == "cpu" else quantity.whole
        amount, capacity = unit(requests[name]), unit(allocatable.get(name, "0"))
        if amount > capacity:
            too_large.append(f"Node didn't have enough capacity: {name}, requested: {amount}, capacity: {capacity}")
            continue
        used = sum(unit(pod_requests(other).get(name, "0")) for other in others)
        if used + amount > capacity:
            too_much.append(
                f"Node didn't have enough resource: {name}, requested: {amount}, used: {used}, capacity: {capacity}"
            )
    if too_large:
        return Refusal(INFEASIBLE, ", ".join(too_large), wanted.metadata.generation)
    return Refusal(DEFERRED, ", ".join(too_much), wanted.metadata.generation) if too_much else None


def message(what: str, pod: core_v1.Pod, generation: int, error: str = "") -> str:
    """The words of an event: `Pod resize started: {"containers":[…],"generation":2}`.

    Source: kubelet `events/event.go` (podResizeMessage).
    """
    summary: dict[str, Any] = {}
    for key, containers in (("initContainers", pod.spec.init_containers), ("containers", pod.spec.containers)):
        if containers:
            summary[key] = [{"name": one.name, "resources": _sorted(one.resources)} for one in containers]
    summary["generation"] = generation
    if error:
        summary["error"] = error
    return f"Pod resize {what}: {codec.encode(summary).decode()}"


def _sorted(resources: core_v1.ResourceRequirements) -> dict[str, Any]:
    tree = codec.to_tree(resources)
    return {key: dict(sorted(one.items())) if isinstance(one, dict) else one for key, one in tree.items()}


def must_restart(
    container: core_v1.Container, new: core_v1.ResourceRequirements, old: core_v1.ResourceRequirements
) -> bool:
    """Whether the container wants to be restarted for this change."""
    policies = {policy.resource_name: policy.restart_policy for policy in container.resize_policy}
    return any(policies.get(name) == "RestartContainer" and not _same(new, old, name) for name in NAMES)


def same(new: core_v1.ResourceRequirements, old: core_v1.ResourceRequirements) -> bool:
    """Whether two sizes mean the same processor time and memory."""
    return all(_same(new, old, name) for name in NAMES)


def _same(new: core_v1.ResourceRequirements, old: core_v1.ResourceRequirements, name: str) -> bool:
    pairs = ((new.requests.get(name), old.requests.get(name)), (new.limits.get(name), old.limits.get(name)))
    return all(
        (a is None and b is None) or (a is not None and b is not None and not quantity.compare(a, b)) for a, b in pairs
    )

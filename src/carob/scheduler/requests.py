"""How much a Pod asks for: one number a resource.

Pure. Units: `cpu` in millicores, `pods` and extended resources as counts, everything else in bytes.
Source: component-helpers `resource.PodRequests`; KEP-753 (sidecars), KEP-2837 (Pod-level resources), KEP-1287 (resize).
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from carob.api import quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.views import ContainerStatusView, ContainerView, PodView

CPU, MEMORY, EPHEMERAL_STORAGE, PODS = "cpu", "memory", "ephemeral-storage", "pods"

# What a container that asks for nothing counts as when nodes are compared, so that such Pods spread too.
# Source: scheduler `util.DefaultMilliCPURequest`, `util.DefaultMemoryRequest`.
DEFAULT_CPU_MILLICORES = 100
DEFAULT_MEMORY_BYTES = 200 << 20

MAX_REMEMBERED = 4096

Amounts = dict[str, int]


class Size(NamedTuple):
    """What a Pod occupies, and what it counts as when nodes are compared. Never changed: Pods alike share one."""

    requests: Mapping[str, int]
    scored_cpu: int
    scored_memory: int


_Asked = tuple[tuple[tuple[tuple[str, str], ...], str | None], ...]
_known: dict[tuple[_Asked, _Asked], Size] = {}


def amounts(quantities: Mapping[str, str]) -> Amounts:
    """Numbers of a resource list, rounded up."""
    return {
        intern(name): quantity.cpu_millicores(value) if name == CPU else quantity.whole(value)
        for name, value in quantities.items()
    }


def pod_size(pod: PodView) -> Size:
    """How large the Pod is; worked out once for all whose containers ask for the same."""
    spec, status = pod.spec, pod.status
    if (
        spec.overhead
        or spec.resources is not None
        or any(s.allocated_resources or s.resources is not None for s in status.container_statuses)
        or any(s.allocated_resources or s.resources is not None for s in status.init_container_statuses)
    ):
        return _size(pod)
    key = _asked(spec.containers), _asked(spec.init_containers)
    known = _known.get(key)
    if known is None:
        if len(_known) >= MAX_REMEMBERED:
            _known.clear()
        known = _known[key] = _size(pod)
    return known


def _asked(containers: Sequence[ContainerView]) -> _Asked:
    return tuple(
        [(tuple(c.resources.requests.items()) if c.resources is not None else (), c.restart_policy) for c in containers]
    )


def _size(pod: PodView) -> Size:
    scored = pod_requests_for_scoring(pod)
    return Size(pod_requests(pod), scored.get(CPU, 0), scored.get(MEMORY, 0))


def pod_requests(pod: PodView) -> Amounts:
    """What the Pod occupies on its node: the most that it ever needs at once, and its overhead."""
    return _whole_pod(pod, {})


def pod_requests_for_scoring(pod: PodView) -> Amounts:
    """As `pod_requests`, but a container without a request for CPU or memory counts with a default."""
    return _whole_pod(pod, {CPU: DEFAULT_CPU_MILLICORES, MEMORY: DEFAULT_MEMORY_BYTES})


def _whole_pod(pod: PodView, defaults: Amounts) -> Amounts:
    spec, status = pod.spec, pod.status
    infeasible = _never_fits(pod)
    total = _containers(spec.containers, spec.init_containers, _statuses(pod), defaults, infeasible)
    level = spec.resources
    if level is not None:
        whole = {} if infeasible and status.resources is not None else amounts(level.requests)
        _raise_to(whole, amounts(status.allocated_resources))
        if status.resources is not None:
            _raise_to(whole, amounts(status.resources.requests))
        for name, value in whole.items():
            if name in (CPU, MEMORY) or name.startswith("hugepages-"):
                total[name] = value
    if spec.overhead:
        _add(total, amounts(spec.overhead))
    return total


def _never_fits(pod: PodView) -> bool:
    """Whether its node has refused the size that it asks for, for good: then it does not count."""
    return any(c.type == "PodResizePending" and c.reason == "Infeasible" for c in pod.status.conditions)


def _statuses(pod: PodView) -> dict[str, ContainerStatusView]:
    status = pod.status
    return {s.name: s for s in (*status.container_statuses, *status.init_container_statuses)}


def _containers(
    containers: Sequence[ContainerView],
    init_containers: Sequence[ContainerView],
    statuses: Mapping[str, ContainerStatusView],
    defaults: Amounts,
    infeasible: bool,
) -> Amounts:
    total: Amounts = {}
    for container in containers:
        _add(total, _container(container, statuses, defaults, infeasible))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in init_containers:
        needed = _container(container, statuses, defaults, infeasible)
        if container.restart_policy == "Always":
            # a sidecar runs on beside everything that starts after it
            _add(total, needed)
            _add(sidecars, needed)
            needed = sidecars
        else:
            _add(needed, sidecars)
        _raise_to(peak, needed)
    _raise_to(total, peak)
    return total


def _container(
    container: ContainerView, statuses: Mapping[str, ContainerStatusView], defaults: Amounts, infeasible: bool
) -> Amounts:
    needed = dict(defaults)
    status = statuses.get(container.name) if statuses else None
    if container.resources is not None and not (infeasible and status is not None and status.resources is not None):
        needed.update(amounts(container.resources.requests))
    if status is not None:
        # while a resize is under way the container occupies the larger of what it has and what it shall have
        _raise_to(needed, amounts(status.allocated_resources))
        if status.resources is not None:
            _raise_to(needed, amounts(status.resources.requests))
    return needed


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, least: Amounts) -> None:
    for name, value in least.items():
        if value > total.get(name, 0):
            total[name] = value

"""Requests and limits, as the scheduler meant them, become what the kernel takes: shares, quotas, bytes, cgroups. Pure.

Source: kubelet `cm/helpers_linux.go` (MilliCPUToShares, MilliCPUToQuota, ResourceConfigForPod), `qos/policy.go`,
`kuberuntime_container_linux.go` (generateLinuxContainerResources), `apis/core/v1/helper/qos`, `component-helpers/resource`
(PodRequests).
Differs: Guaranteed Pods have a folder of their own beside `burstable` and `besteffort`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api import quantity
from carob.runtime.types import Resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from carob.api.types import core_v1

GUARANTEED = "Guaranteed"
BURSTABLE = "Burstable"
BEST_EFFORT = "BestEffort"

MIN_SHARES = 2
MAX_SHARES = 262_144
SHARES_OF_ONE_CPU = 1024
QUOTA_PERIOD_MICROSECONDS = 100_000
MIN_QUOTA_MICROSECONDS = 1_000

GUARANTEED_OOM_SCORE = -997
BEST_EFFORT_OOM_SCORE = 1000
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000
NODE_CRITICAL = "system-node-critical"
HUGE_PAGES = "hugepages-"


class GroupFacts(Struct, frozen=True):
    """What of the machine decides over the limits of its groups. Units: bytes."""

    memory_bytes: int
    cgroup2: bool = False
    swap_limits: bool = False
    """Whether the kernel counts swapped memory by group."""
    page_sizes: tuple[str, ...] = ()
    """Of huge pages, as resources are named after them: `2Mi`."""
    single_process_oom_kill: bool = True
    """Whether only one process goes when a container's memory runs out, and not all of it."""


def qos_class(pod: core_v1.Pod) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`; what the API server wrote into the status wins.

    Source: `ComputePodQOS`; KEP-2837 for resources of the whole Pod.
    """
    if pod.status.qos_class:
        return pod.status.qos_class
    if pod.spec.resources is not None:
        demands = [(pod.spec.resources.requests, pod.spec.resources.limits)]
    else:
        demands = [(c.resources.requests, c.resources.limits) for c in _all(pod)]
    asked = False
    guaranteed = True
    for requests, limits in demands:
        for name in ("cpu", "memory"):
            request, limit = quantity.nano(requests.get(name, "0")), quantity.nano(limits.get(name, "0"))
            asked = asked or request > 0 or limit > 0
            # a missing request was defaulted to the limit by the API server
            guaranteed = guaranteed and limit > 0 and request in (0, limit)
    if not asked:
        return BEST_EFFORT
    return GUARANTEED if guaranteed else BURSTABLE


def cgroup_parent(root: str, pod: core_v1.Pod) -> str:
    """Path of the Pod's cgroup below every hierarchy."""
    return f"{root}/kubepods/{qos_class(pod).lower()}/pod{pod.metadata.uid}"


def shares(millicores: int) -> int:
    """`cpu.shares` of a request; the kernel's smallest for none."""
    return max(MIN_SHARES, min(MAX_SHARES, millicores * SHARES_OF_ONE_CPU // 1000))


def quota_microseconds(millicores: int) -> int:
    """`cpu.cfs_quota_us` of a limit for a period of 100 ms; 0 for none."""
    if millicores == 0:
        return 0
    return max(MIN_QUOTA_MICROSECONDS, millicores * QUOTA_PERIOD_MICROSECONDS // 1000)


def container_resources(pod: core_v1.Pod, container: core_v1.Container, facts: GroupFacts) -> Resources:
    """The limits of one container's cgroup: no swap (upstream's NoSwap), and no huge page that was not asked for."""
    limits = container.resources.limits
    cpu_limit, memory = own_limit(pod, container, "cpu"), quantity.memory_bytes(own_limit(pod, container, "memory"))
    # a limit without a request counts as the request
    cpu = quantity.cpu_millicores(container.resources.requests.get("cpu") or cpu_limit)
    unified = {}
    if facts.cgroup2:
        if facts.swap_limits:
            unified["memory.swap.max"] = "0"
        if not facts.single_process_oom_kill:
            unified["memory.oom.group"] = "1"
    return Resources(
        cpu_shares=shares(cpu),
        cpu_quota=quota_microseconds(quantity.cpu_millicores(cpu_limit)),
        cpu_period=QUOTA_PERIOD_MICROSECONDS,
        memory_limit=memory,
        # v1 counts both together
        memory_swap_limit=memory if memory and facts.swap_limits and not facts.cgroup2 else None,
        oom_score_adj=oom_score_adj(pod, container, facts.memory_bytes),
        hugepage_limits=_hugepages({**_own_limits(pod), **limits}, facts.page_sizes),
        unified=unified,
    )


def own_limit(pod: core_v1.Pod, container: core_v1.Container, name: str) -> str:
    """The container's limit of `cpu` or `memory`, else the whole Pod's; `0` for none. Source: getCPULimit, getMemoryLimit."""
    limit = container.resources.limits.get(name, "0")
    return limit if quantity.nano(limit) else _own_limits(pod).get(name, "0")


def pod_resources(pod: core_v1.Pod, page_sizes: Iterable[str] = ()) -> Resources:
    """The limits of the whole Pod's cgroup: a limit holds only where every container has one.

    Source: `ResourceConfigForPod`, `cgroup_manager_linux.go` (maybeSetHugetlb).
    """
    requests, limits = pod_requests(pod), pod_limits(pod)
    cpu_shares = shares(quantity.cpu_millicores(requests.get("cpu", "0")))
    if qos_class(pod) == BEST_EFFORT:
        return Resources(cpu_shares=MIN_SHARES, hugepage_limits=_hugepages({}, page_sizes))
    own = _own_limits(pod)
    cpu_limited = "cpu" in own or all("cpu" in c.resources.limits for c in _all(pod))
    memory_limited = "memory" in own or all("memory" in c.resources.limits for c in _all(pod))
    return Resources(
        cpu_shares=cpu_shares,
        cpu_quota=quota_microseconds(quantity.cpu_millicores(limits.get("cpu", "0"))) if cpu_limited else 0,
        cpu_period=QUOTA_PERIOD_MICROSECONDS,
        memory_limit=quantity.memory_bytes(limits.get("memory", "0")) if memory_limited else 0,
        hugepage_limits=_hugepages(limits, page_sizes),
    )


def oom_score_adj(pod: core_v1.Pod, container: core_v1.Container, node_memory_bytes: int) -> int:
    """Whom the kernel kills first when the node runs out of memory: BestEffort, then who uses more than it asked for.

    Source: `qos.GetContainerOOMScoreAdjust`.
    """
    if (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY and pod.spec.priority_class_name == NODE_CRITICAL:
        return GUARANTEED_OOM_SCORE
    quality = qos_class(pod)
    if quality == GUARANTEED:
        return GUARANTEED_OOM_SCORE
    if quality == BEST_EFFORT:
        return BEST_EFFORT_OOM_SCORE
    requested = _memory_request(container)
    if container.restart_policy == "Always" and any(one.name == container.name for one in pod.spec.init_containers):
        # a sidecar is not killed before those whom it serves
        requested = max(requested, min(_memory_request(one) for one in pod.spec.containers))
    requested += _spare_memory_request(pod)
    score = 1000 - 1000 * requested // max(1, node_memory_bytes)
    # never below a Guaranteed container, never as high as BestEffort
    return max(1000 + GUARANTEED_OOM_SCORE, min(score, BEST_EFFORT_OOM_SCORE - 1))


def _memory_request(container: core_v1.Container) -> int:
    return quantity.memory_bytes(container.resources.requests.get("memory", "0"))


def _spare_memory_request(pod: core_v1.Pod) -> int:
    """Each container's part of what the Pod as a whole asks for beyond its containers. Source: KEP-2837."""
    whole = pod.spec.resources.requests.get("memory") if pod.spec.resources is not None else None
    if whole is None:
        return 0
    of_containers = _aggregate(pod, lambda c: c.resources.requests, {}, overhead=False).get("memory", "0")
    spare = quantity.memory_bytes(whole) - quantity.memory_bytes(of_containers)
    return spare // (len(pod.spec.containers) + len(pod.spec.init_containers))


def pod_requests(pod: core_v1.Pod) -> dict[str, str]:
    """What the Pod needs at its greediest moment: containers and sidecars together, or one init container.

    Source: `resource.PodRequests`; KEP-753 for sidecars.
    """
    return _aggregate(pod, lambda c: c.resources.requests, pod.spec.resources.requests if pod.spec.resources else {})


def pod_limits(pod: core_v1.Pod) -> dict[str, str]:
    """As `pod_requests`, of limits."""
    return _aggregate(pod, lambda c: c.resources.limits, pod.spec.resources.limits if pod.spec.resources else {})


def _aggregate(
    pod: core_v1.Pod,
    amounts_of: Callable[[core_v1.Container], Mapping[str, str]],
    of_the_pod: Mapping[str, str],
    *,
    overhead: bool = True,
) -> dict[str, str]:
    running: dict[str, str] = {}
    for container in pod.spec.containers:
        _add(running, amounts_of(container))
    sidecars: dict[str, str] = {}
    greatest: dict[str, str] = {}
    for container in pod.spec.init_containers:
        if container.restart_policy == "Always":
            _add(running, amounts_of(container))
            _add(sidecars, amounts_of(container))
            _raise(greatest, sidecars)
        else:
            moment = dict(sidecars)
            _add(moment, amounts_of(container))
            _raise(greatest, moment)
    _raise(running, greatest)
    running.update(of_the_pod)
    if overhead:
        _add(running, pod.spec.overhead)
    return running


def _add(total: dict[str, str], amounts: Mapping[str, str]) -> None:
    for name, amount in amounts.items():
        total[name] = quantity.add(total[name], amount) if name in total else amount


def _raise(total: dict[str, str], amounts: Mapping[str, str]) -> None:
    for name, amount in amounts.items():
        if name not in total or quantity.compare(amount, total[name]) > 0:
            total[name] = amount


def _own_limits(pod: core_v1.Pod) -> Mapping[str, str]:
    """Of the whole Pod."""
    return pod.spec.resources.limits if pod.spec.resources is not None else {}


def _hugepages(limits: Mapping[str, str], page_sizes: Iterable[str]) -> dict[str, int]:
    """`hugepages-2Mi: 4Mi` becomes `2MB: 4194304`, the kernel's name of the page size.

    0 for sizes not asked for: who asks for none must not take others'.
    """
    out = {_kernel_size(size): 0 for size in page_sizes}
    for name, amount in limits.items():
        if name.startswith(HUGE_PAGES):
            out[_kernel_size(name.removeprefix(HUGE_PAGES))] = quantity.whole(amount)
    return out


def _kernel_size(page_size: str) -> str:
    size = quantity.whole(page_size)
    return f"{size >> 30}GB" if size >= 1 << 30 else f"{size >> 20}MB" if size >= 1 << 20 else f"{size >> 10}KB"


def _all(pod: core_v1.Pod) -> Iterable[core_v1.Container]:
    return [*pod.spec.init_containers, *pod.spec.containers]

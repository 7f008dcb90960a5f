"""Start step: who must go so that a critical Pod fits. Pure.

As few Pods as can be, and of them those that were promised least: BestEffort before Burstable before Guaranteed.
Source: kubelet `preemption/preemption.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet.resources import (
    BEST_EFFORT,
    BURSTABLE,
    GUARANTEED,
    SYSTEM_CRITICAL_PRIORITY,
    pod_requests,
    qos_class,
)
from carob.kubelet.static_pods import is_static
from carob.kubelet.steps.admission import amount_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.api.types import core_v1
    from carob.kubelet.steps.admission import Shortfall

REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"
CONDITION = "Pod was preempted by Kubelet to accommodate a critical pod."


def is_critical(pod: core_v1.Pod) -> bool:
    """Whether others may be ended for it: a Pod of the node's files, or one of the system's priorities."""
    return is_static(pod) or (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY


def victims(pod: core_v1.Pod, others: Iterable[core_v1.Pod], shortfalls: Sequence[Shortfall]) -> list[core_v1.Pod]:
    """The Pods to end; none where all together would not make room enough."""
    if not is_critical(pod):
        return []
    by_class: dict[str, list[core_v1.Pod]] = {BEST_EFFORT: [], BURSTABLE: [], GUARANTEED: []}
    for other in others:
        if _may_go(pod, other):
            by_class[qos_class(other)].append(other)
    best_effort, burstable, guaranteed = by_class.values()
    needed = {one.name: one.missing for one in shortfalls}
    if _left(needed, [*best_effort, *burstable, *guaranteed]):
        return []
    costly = _closest(guaranteed, _left(needed, [*best_effort, *burstable]))
    middle = _closest(burstable, _left(needed, [*best_effort, *costly]))
    cheap = _closest(best_effort, _left(needed, [*middle, *costly]))
    return [*cheap, *middle, *costly]


def _may_go(pod: core_v1.Pod, other: core_v1.Pod) -> bool:
    if not is_critical(other):
        return True
    return (pod.spec.priority or 0) > (other.spec.priority or 0)


def _asked(pod: core_v1.Pod, name: str) -> int:
    return 1 if name == "pods" else amount_of(name, pod_requests(pod).get(name, "0"))


def _left(needed: dict[str, int], gone: Iterable[core_v1.Pod]) -> dict[str, int]:
    """What is still needed when these have gone."""
    pods = list(gone)
    left = {name: amount - sum(_asked(pod, name) for pod in pods) for name, amount in needed.items()}
    return {name: amount for name, amount in left.items() if amount > 0}


def _closest(pods: list[core_v1.Pod], needed: dict[str, int]) -> list[core_v1.Pod]:
    """One after another the Pod that leaves least to be wished for; of equal ones that which asks for less."""
    out: list[core_v1.Pod] = []
    rest = list(pods)
    while needed and rest:

        def cost(pod: core_v1.Pod, needed: dict[str, int] = needed) -> tuple[float, list[int]]:
            distance = sum((max(0, n - _asked(pod, name)) / n) ** 2 for name, n in needed.items())
            return distance, [_asked(pod, name) for name in ("memory", "cpu")]

        chosen = min(rest, key=cost)
        rest.remove(chosen)
        out.append(chosen)
        needed = _left(needed, [chosen])
    return out

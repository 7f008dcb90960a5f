"""BalancedAllocation: the node whose CPU and memory would come nearer to being used to the same degree."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from carob.scheduler.requests import CPU, EPHEMERAL_STORAGE, MEMORY
from carob.scheduler.score.normalize import MAX_SCORE

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot

HALF = MAX_SCORE // 2


def rate(pod: PodInfo, snapshot: Snapshot) -> Rate | None:
    """Pods that ask for nothing are not judged, or they would all go to one node.

    Source: scheduler `noderesources/balanced_allocation.go`; since v1.36 (pull request 135573) it is the change that
    counts: 75 where the Pod changes nothing, 100 where it makes an unbalanced node balanced.
    """
    names = [name for name in snapshot.profile(pod).balanced if pod.requests.get(name)]
    if not names:
        return None
    judged = tuple(
        (name, pod.requests.get(name, 0))
        for name in snapshot.profile(pod).balanced
        if name in names or name in (CPU, MEMORY, EPHEMERAL_STORAGE)
    )
    if judged in (_pair(pod), _pair(pod)[::-1]):
        return _of_two(*_pair(pod))

    def balance(node: NodeInfo) -> int:
        without, with_it = [], []
        for name, more in judged:
            capacity = node.allocatable.get(name, 0)
            if capacity:
                used = node.requested.get(name, 0)
                without.append(min(used / capacity, 1.0))
                with_it.append(min((used + more) / capacity, 1.0))
        return HALF + (HALF + _balance(with_it) - _balance(without)) // 2

    return balance


def _pair(pod: PodInfo) -> tuple[tuple[str, int], tuple[str, int]]:
    return (CPU, pod.requests.get(CPU, 0)), (MEMORY, pod.requests.get(MEMORY, 0))


def _of_two(first: tuple[str, int], second: tuple[str, int]) -> Rate:
    """The usual case: of two fractions the deviation is half their difference."""
    (one, more), (other, other_more) = first, second

    def balance(node: NodeInfo) -> int:
        offered, taken = node.allocatable, node.requested
        capacity, other_capacity = offered.get(one, 0), offered.get(other, 0)
        if not capacity or not other_capacity:
            return HALF + HALF // 2
        used, other_used = taken.get(one, 0), taken.get(other, 0)
        before = min(used / capacity, 1.0) - min(other_used / other_capacity, 1.0)
        after = min((used + more) / capacity, 1.0) - min((other_used + other_more) / other_capacity, 1.0)
        change = int((1 - abs(after / 2)) * MAX_SCORE) - int((1 - abs(before / 2)) * MAX_SCORE)
        return HALF + (HALF + change) // 2

    return balance


def _balance(fractions: list[float]) -> int:
    if len(fractions) == 2:
        deviation = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        mean = sum(fractions) / len(fractions)
        deviation = sqrt(sum((one - mean) ** 2 for one in fractions) / len(fractions))
    else:
        deviation = 0.0
    return int((1 - deviation) * MAX_SCORE)

"""BalancedAllocation: the node whose CPU and memory would be used to the same degree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.requests import CPU, MEMORY
from carob.scheduler.score.normalize import MAX_SCORE

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot


def rate(pod: PodInfo, snapshot: Snapshot) -> Rate | None:
    """Pods that ask for nothing are not judged, or they would all go to one node.

    Source: scheduler `noderesources/balanced_allocation.go`; of two fractions the deviation is half their difference.
    """
    cpu, memory = pod.requests.get(CPU, 0), pod.requests.get(MEMORY, 0)
    if not cpu and not memory:
        return None

    def balance(node: NodeInfo) -> int:
        cpu_fraction = _fraction(node.requested.get(CPU, 0) + cpu, node.allocatable.get(CPU, 0))
        memory_fraction = _fraction(node.requested.get(MEMORY, 0) + memory, node.allocatable.get(MEMORY, 0))
        return int((1 - abs(cpu_fraction - memory_fraction) / 2) * MAX_SCORE)

    return balance


def _fraction(requested: int, capacity: int) -> float:
    return min(requested / capacity, 1.0) if capacity else 1.0

"""LeastAllocated: the node with the most left over, CPU and memory alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.requests import CPU, MEMORY
from carob.scheduler.score.normalize import MAX_SCORE

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot


def rate(pod: PodInfo, snapshot: Snapshot) -> Rate:
    """Source: scheduler `noderesources/least_allocated.go`."""
    cpu, memory = pod.scored_cpu, pod.scored_memory

    def least(node: NodeInfo) -> int:
        offered = node.allocatable
        return (
            _left(offered.get(CPU, 0), node.scored_cpu + cpu)
            + _left(offered.get(MEMORY, 0), node.scored_memory + memory)
        ) // 2

    return least


def _left(capacity: int, requested: int) -> int:
    if capacity == 0 or requested > capacity:
        return 0
    return (capacity - requested) * MAX_SCORE // capacity

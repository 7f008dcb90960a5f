"""LeastAllocated: the node with the most left over, CPU and memory alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.requests import CPU, MEMORY
from carob.scheduler.score.normalize import MAX_SCORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Source: scheduler `noderesources/least_allocated.go`."""
    cpu, memory = pod.scored_cpu, pod.scored_memory
    return [
        (
            _left(node.allocatable.get(CPU, 0), node.scored_cpu + cpu)
            + _left(node.allocatable.get(MEMORY, 0), node.scored_memory + memory)
        )
        // 2
        for node in nodes
    ]


def _left(capacity: int, requested: int) -> int:
    if capacity == 0 or requested > capacity:
        return 0
    return (capacity - requested) * MAX_SCORE // capacity

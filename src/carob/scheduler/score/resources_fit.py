"""NodeResourcesFit: how full a node would be, as the profile likes it: emptier, fuller, or by a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.profiles import LEAST, MOST
from carob.scheduler.requests import CPU, EPHEMERAL_STORAGE, MEMORY
from carob.scheduler.score.normalize import MAX_SCORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.profiles import FitStrategy
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot

_USUAL = ((CPU, 1), (MEMORY, 1))


def rate(pod: PodInfo, snapshot: Snapshot) -> Rate:
    """Source: scheduler `noderesources/{least_allocated,most_allocated,requested_to_capacity_ratio}.go`."""
    strategy = snapshot.profile(pod).fit
    cpu, memory = pod.scored_cpu, pod.scored_memory
    general = _by(strategy, pod)
    if strategy.kind != LEAST or strategy.resources != _USUAL:
        return general

    def least(node: NodeInfo) -> int:
        offered = node.allocatable
        all_cpu, all_memory = offered.get(CPU, 0), offered.get(MEMORY, 0)
        if not all_cpu or not all_memory:
            return general(node)
        return (_left(node.scored_cpu + cpu, all_cpu) + _left(node.scored_memory + memory, all_memory)) // 2

    return least


def _by(strategy: FitStrategy, pod: PodInfo) -> Rate:
    one: Callable[[int, int], int]
    ratio = strategy.kind not in (LEAST, MOST)
    if strategy.kind == LEAST:
        one = _left
    elif strategy.kind == MOST:
        one = _taken
    else:

        def one(requested: int, capacity: int) -> int:
            return curve(strategy.shape, 100 if requested > capacity else 100 * requested // capacity)

    def judge(node: NodeInfo) -> int:
        total = weights = 0
        for name, weight in strategy.resources:
            capacity = node.allocatable.get(name, 0)
            asked = pod.requests.get(name, 0)
            # what the Pod does not ask for says nothing, but for what every Pod uses
            if not capacity or (not asked and name not in (CPU, MEMORY, EPHEMERAL_STORAGE)):
                continue
            score = one(_requested(pod, node, name, asked), capacity)
            if ratio and score <= 0:
                continue
            total += weight * score
            weights += weight
        if not weights:
            return 0
        return int(total / weights + 0.5) if ratio else total // weights

    return judge


def _requested(pod: PodInfo, node: NodeInfo, name: str, asked: int) -> int:
    if name == CPU:
        return node.scored_cpu + pod.scored_cpu
    if name == MEMORY:
        return node.scored_memory + pod.scored_memory
    return node.requested.get(name, 0) + asked


def _left(requested: int, capacity: int) -> int:
    if capacity == 0 or requested > capacity:
        return 0
    return (capacity - requested) * MAX_SCORE // capacity


def _taken(requested: int, capacity: int) -> int:
    return min(requested, capacity) * MAX_SCORE // capacity if capacity else 0


def curve(shape: tuple[tuple[int, int], ...], utilization: int) -> int:
    """The score on the broken line; level before the first and after the last point. Source: BuildBrokenLinearFunction."""
    for i, (at, score) in enumerate(shape):
        if utilization <= at:
            if i == 0:
                return score
            before, low = shape[i - 1]
            # toward zero, as Go divides
            return low + int((score - low) * (utilization - before) / (at - before))
    return shape[-1][1]

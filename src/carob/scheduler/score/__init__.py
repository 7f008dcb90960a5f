"""Scores: which of the nodes that could take a Pod is the best. One file each.

Pure. Each offers `score(pod, nodes, snapshot)`: a number from 0 to 100 for every node, or None when the Pod gives it
nothing to judge. The weighted sum decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.score import (
    balanced_allocation,
    image_locality,
    inter_pod_affinity,
    least_allocated,
    node_affinity,
    pod_topology_spread,
    taint_toleration,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot

# Source: scheduler `getDefaultPlugins`.
WEIGHTED = (
    (taint_toleration.score, 3),
    (node_affinity.score, 2),
    (pod_topology_spread.score, 2),
    (inter_pod_affinity.score, 2),
    (least_allocated.score, 1),
    (balanced_allocation.score, 1),
    (image_locality.score, 1),
)


def totals(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int]:
    """The weighted sum of all scores for each of the nodes."""
    sums = [0] * len(nodes)
    for score, weight in WEIGHTED:
        values = score(pod, nodes, snapshot)
        if values is not None:
            for i, value in enumerate(values):
                sums[i] += weight * value
    return sums

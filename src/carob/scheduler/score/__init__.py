"""Scores: which of the nodes that could take a Pod is the best. One file each.

Pure. A score is a number from 0 to 100 for every node; the weighted sum decides. Three sorts: rates of a node by itself
(`OWN`), rates that are scaled over the nodes to choose from (`SCALED`), and comparisons that look at other nodes and
Pods too (`COMPARED`). Source: scheduler `getDefaultPlugins` for the weights.
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
from carob.scheduler.score.normalize import normalized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Compare, MakeRate, Rate
    from carob.scheduler.snapshot import Snapshot

OWN: tuple[tuple[str, MakeRate, int], ...] = (
    ("NodeResourcesFit", least_allocated.rate, 1),
    ("NodeResourcesBalancedAllocation", balanced_allocation.rate, 1),
    ("ImageLocality", image_locality.rate, 1),
)
# the fourth: whether less is better
SCALED: tuple[tuple[str, MakeRate, int, bool], ...] = (
    ("TaintToleration", taint_toleration.rate, 3, True),
    ("NodeAffinity", node_affinity.rate, 2, False),
)
COMPARED: tuple[tuple[str, Compare, int], ...] = (
    ("PodTopologySpread", pod_topology_spread.score, 2),
    ("InterPodAffinity", inter_pod_affinity.score, 2),
)


def own(pod: PodInfo, snapshot: Snapshot) -> Rate:
    """The weighted sum of the rates that look at a node by itself."""
    rates = [(rate, weight) for rate, weight in ((make(pod, snapshot), w) for _, make, w in OWN) if rate is not None]

    def total(node: NodeInfo) -> int:
        return sum(weight * rate(node) for rate, weight in rates)

    return total


def by_name(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> dict[str, tuple[int, list[int]]]:
    """Every score with its weight; what had nothing to judge is left out."""
    found: dict[str, tuple[int, list[int]]] = {}
    for name, make, weight in OWN:
        rate = make(pod, snapshot)
        if rate is not None:
            found[name] = (weight, [rate(node) for node in nodes])
    for name, make, weight, reverse in SCALED:
        rate = make(pod, snapshot)
        values = [rate(node) for node in nodes] if rate is not None else []
        if any(values):
            found[name] = (weight, normalized(values, reverse=reverse))
    for name, compare, weight in COMPARED:
        compared = compare(pod, nodes, snapshot)
        if compared is not None:
            found[name] = (weight, compared)
    return found


def totals(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int]:
    """The weighted sum of all scores for each of the nodes."""
    sums = [0] * len(nodes)
    for weight, values in by_name(pod, nodes, snapshot).values():
        add(sums, values, weight)
    return sums


def add(sums: list[int], values: list[int], weight: int) -> None:
    """Add the weighted values to the sums, in place."""
    sums[:] = [total + weight * value for total, value in zip(sums, values, strict=True)]


def compares(pod: PodInfo, snapshot: Snapshot) -> bool:
    """Whether any of the comparisons could have something to judge."""
    return (
        bool(snapshot.terms)
        or bool(pod.terms.preferred)
        or bool(pod.view.spec.topology_spread_constraints)
        or pod.group in snapshot.groups
    )

"""Scores: which of the nodes that could take a Pod is the best. One file each.

Pure. A score is a number from 0 to 100 for every node; the weighted sum decides. Three sorts: rates of a node by itself
(`OWN`), rates that are scaled over the nodes to choose from (`SCALED`), and comparisons that look at other nodes and
Pods too (`COMPARED`). The weights are the profile's; what has none is not asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.score import (
    balanced_allocation,
    dynamic_resources,
    image_locality,
    inter_pod_affinity,
    node_affinity,
    pod_topology_spread,
    resources_fit,
    taint_toleration,
)
from carob.scheduler.score.normalize import normalized
from carob.scheduler.spread_rules import belongs_to_others

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Compare, MakeRate, Rate
    from carob.scheduler.snapshot import Snapshot

OWN: tuple[tuple[str, MakeRate], ...] = (
    ("NodeResourcesFit", resources_fit.rate),
    ("NodeResourcesBalancedAllocation", balanced_allocation.rate),
    ("ImageLocality", image_locality.rate),
)
# the third: whether less is better
SCALED: tuple[tuple[str, MakeRate, bool], ...] = (
    ("TaintToleration", taint_toleration.rate, True),
    ("NodeAffinity", node_affinity.rate, False),
)
COMPARED: tuple[tuple[str, Compare], ...] = (
    ("PodTopologySpread", pod_topology_spread.score),
    ("InterPodAffinity", inter_pod_affinity.score),
    ("DynamicResources", dynamic_resources.score),
)


def own(pod: PodInfo, snapshot: Snapshot) -> Rate:
    """The weighted sum of the rates that look at a node by itself."""
    weights = snapshot.profile(pod).weights
    made = [(make(pod, snapshot), weights[name]) for name, make in _own_rates(pod, snapshot) if weights.get(name)]
    rates = [(rate, weight) for rate, weight in made if rate is not None]

    def total(node: NodeInfo) -> int:
        return sum(weight * rate(node) for rate, weight in rates)

    return total


def _own_rates(pod: PodInfo, snapshot: Snapshot) -> tuple[tuple[str, MakeRate], ...]:
    """Ours, and those that the profile takes from the user."""
    return (*OWN, *snapshot.profile(pod).own_scores)


def scaled(pod: PodInfo, snapshot: Snapshot) -> list[tuple[str, Rate, int, bool]]:
    """The rates that are scaled over the nodes to choose from, their weight, and whether less is better."""
    weights = snapshot.profile(pod).weights
    made = [(name, make(pod, snapshot), weights.get(name, 0), reverse) for name, make, reverse in SCALED]
    return [(name, rate, weight, reverse) for name, rate, weight, reverse in made if rate is not None and weight]


def compared(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> Iterator[tuple[str, int, list[int]]]:
    """The comparisons that have something to judge: name, weight and a value a node."""
    weights = snapshot.profile(pod).weights
    for name, compare in COMPARED:
        weight = weights.get(name, 0)
        values = compare(pod, nodes, snapshot) if weight else None
        if values is not None:
            yield name, weight, values


def by_name(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> dict[str, tuple[int, list[int]]]:
    """Every score with its weight; what had nothing to judge is left out."""
    found: dict[str, tuple[int, list[int]]] = {}
    weights = snapshot.profile(pod).weights
    for name, make in _own_rates(pod, snapshot):
        rate = make(pod, snapshot) if weights.get(name) else None
        if rate is not None:
            found[name] = (weights[name], [rate(node) for node in nodes])
    for name, own_rate, weight, reverse in scaled(pod, snapshot):
        values = [own_rate(node) for node in nodes]
        if any(values):
            found[name] = (weight, normalized(values, reverse=reverse))
    for name, weight, values in compared(pod, nodes, snapshot):
        found[name] = (weight, values)
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
        bool(snapshot.terms.about(pod, snapshot.namespaces))
        or bool(pod.terms.preferred)
        or bool(pod.view.spec.topology_spread_constraints)
        or belongs_to_others(pod, snapshot)
        or (pod.devices is not None and pod.devices.has_alternatives)
    )

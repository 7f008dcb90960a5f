"""The same rules once more, plainly: look at every Pod for every node, keep nothing. Slow, and easy to believe."""

from __future__ import annotations

from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pod_terms import PodTerm
from carob.scheduler.pods import PodInfo
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.spread_rules import REQUIRED, rules_of

Near = list[tuple[NodeInfo, PodInfo]]


def everybody(world: Snapshot) -> Near:
    return [(node, pod) for node in world.nodes() for pod in node.pods.values()]


def same_place(term: PodTerm, one: NodeInfo, other: NodeInfo) -> bool:
    key = term.topology_key
    return key in one.labels and one.labels[key] == other.labels.get(key)


def affinity_allows(pod: PodInfo, node: NodeInfo, world: Snapshot) -> bool:
    others, spaces = everybody(world), world.namespaces
    wanted = pod.terms.affinity
    matching = [(n, p) for n, p in others if all(term.matches(p, spaces) for term in wanted)]
    if any(term.topology_key not in node.labels for term in wanted):
        return False
    anywhere = any(term.topology_key in n.labels for term in wanted for n, _ in matching)
    if not all(any(same_place(term, node, n) for n, _ in matching) for term in wanted) and (
        anywhere or not all(term.matches(pod, spaces) for term in wanted)
    ):
        return False
    for term in pod.terms.anti_affinity:
        if any(term.matches(p, spaces) and same_place(term, node, n) for n, p in others):
            return False
    return not any(
        term.matches(pod, spaces) and same_place(term, node, n) for n, p in others for term in p.terms.anti_affinity
    )


def affinity_sum(pod: PodInfo, node: NodeInfo, world: Snapshot) -> int:
    spaces, total = world.namespaces, 0
    for n, p in everybody(world):
        total += sum(w for term, w in pod.terms.preferred if term.matches(p, spaces) and same_place(term, node, n))
        total += sum(w for term, w in p.terms.preferred if term.matches(pod, spaces) and same_place(term, node, n))
        total += sum(1 for term in p.terms.affinity if term.matches(pod, spaces) and same_place(term, node, n))
    return total


def spread_allows(pod: PodInfo, node: NodeInfo, world: Snapshot) -> bool:
    """For constraints that honour nothing of the node but its labels."""
    rules = rules_of(pod, REQUIRED, world)
    counted = [n for n in world.nodes() if all(rule.topology_key in n.labels for rule in rules)]
    for rule in rules:
        key = rule.topology_key
        if key not in node.labels:
            return False
        counts: dict[str, int] = {n.labels[key]: 0 for n in counted}
        for n in counted:
            counts[n.labels[key]] += sum(
                p.namespace == pod.namespace and not p.deleting and rule.selector.matches(p.labels)
                for p in n.pods.values()
            )
        least = min(counts.values(), default=0) if len(counts) >= rule.min_domains else 0
        itself = rule.selector.matches(pod.labels)
        if counts.get(node.labels[key], 0) + itself - least > rule.max_skew:
            return False
    return True

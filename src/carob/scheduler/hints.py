"""What would have to change so that a filter lets the Pod onto a node, as far as it can be said in a line.

Pure. One function a filter; each is asked only where its filter said no.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from carob.api import quantity
from carob.scheduler.filter import (
    inter_pod_affinity,
    node_affinity,
    node_name,
    node_ports,
    node_resources_fit,
    node_unschedulable,
    pod_topology_spread,
    taint_toleration,
)
from carob.scheduler.filter.inter_pod_affinity import tally_of_term
from carob.scheduler.node_terms import compile_terms
from carob.scheduler.requests import CPU, MEMORY
from carob.scheduler.spread_rules import HOSTNAME, REQUIRED, rules_of, tally_of
from carob.scheduler.taints import tolerates
from carob.scheduler.tallies import ANTI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from carob.api.types.core_v1 import NodeSelectorTerm
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pod_terms import PodTerm
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot

MAX_NAMED = 3
"""Pods that are named one by one; more are counted."""


def hints(pod: PodInfo, node: NodeInfo, snapshot: Snapshot, rejected_by: Iterable[str]) -> list[str]:
    """For every filter of `rejected_by` that there is something to say of."""
    said: list[str] = []
    for name in rejected_by:
        say = _SAY.get(name)
        if say is not None:
            said += say(pod, node, snapshot)
    return said


def _cordoned(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    yield f"is cordoned: `kubectl uncordon {node.name}`"


def _named(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    yield f"the Pod names the node {pod.node_name}"


def _taints(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    for one in node.view.spec.taints if node.view is not None else ():
        if one.effect in taint_toleration.EFFECTS and not tolerates(
            pod.view.spec.tolerations, one.key, one.value, one.effect
        ):
            yield f"taint {one.key}{'=' + one.value if one.value else ''}:{one.effect}"


def _affinity(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    spec = pod.view.spec
    for key, value in spec.node_selector.items():
        has = node.labels.get(key)
        if has != value:
            yield f"nodeSelector wants {key}={value}, " + (f"the label is {has}" if has else "there is no such label")
    added = snapshot.profile(pod).added_affinity
    own = spec.affinity.node_affinity if spec.affinity is not None else None
    for who, one in (("the profile", added), ("the Pod", own)):
        required = one.required_during_scheduling_ignored_during_execution if one is not None else None
        if required is None:
            continue
        if not any(term(node) for term in compile_terms(required.node_selector_terms)):
            wanted = " or ".join(_term(term) for term in required.node_selector_terms)
            yield f"{who} requires {wanted}"


def _term(term: NodeSelectorTerm) -> str:
    parts = [
        f"{one.key} {one.operator} {', '.join(one.values)}".rstrip()
        for one in (*term.match_expressions, *term.match_fields)
    ]
    return f"({' and '.join(parts)})" if parts else "(nothing that there is)"


def _ports(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    for port in pod.ports:
        users = [one.key for one in node.pods.values() if any(port.conflicts(used) for used in one.ports)]
        if users:
            yield f"port {port.port}/{port.protocol} belongs to {_listed(users)}"


def _resources(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    for name, wanted in pod.requests.items():
        offered, taken = node.allocatable.get(name, 0), node.requested.get(name, 0)
        if wanted > offered - taken:
            yield (
                f"asks for {_amount(name, wanted)} {name}, {_amount(name, max(offered - taken, 0))} of "
                f"{_amount(name, offered)} is left"
            )
    if len(node.pods) >= node.allowed_pods:
        yield f"has {len(node.pods)} of {node.allowed_pods} Pods"


def _amount(name: str, value: int) -> str:
    if name == CPU:
        return str(quantity.from_millicores(value))
    return str(quantity.from_bytes(value)) if name == MEMORY or name.endswith("storage") else str(value)


def _spread(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    rules = rules_of(pod, REQUIRED, snapshot)
    keys = tuple(sorted({rule.topology_key for rule in rules}))
    for rule in rules:
        value = node.labels.get(rule.topology_key)
        if value is None:
            yield f"has no label {rule.topology_key}"
            continue
        counts = tally_of(pod, rule, keys, snapshot).counts
        fewest = min(counts.values(), default=0) if len(counts) >= rule.min_domains else 0
        here = counts.get(value, 0)
        if here + rule.selector.matches(pod.labels) - fewest > rule.max_skew:
            few = f"the fewest are {fewest}"
            if len(counts) < rule.min_domains:
                few = f"there are {len(counts)} of {rule.min_domains} domains"
            yield f"{rule.topology_key}={value} has {here} Pods of {rule.selector}, {few}, maxSkew is {rule.max_skew}"


def _neighbours(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Iterator[str]:
    spaces = snapshot.namespaces
    for term in pod.terms.affinity:
        value = node.labels.get(term.topology_key)
        if value is None:
            yield f"has no label {term.topology_key}"
        elif not tally_of_term(term, snapshot).counts.get(value):
            yield f"no Pod of {_about(term)} is at {term.topology_key}={value}"
    for term in pod.terms.anti_affinity:
        value = node.labels.get(term.topology_key)
        count = tally_of_term(term, snapshot).counts.get(value, 0) if value is not None else 0
        if count:
            there = _who(term, node, count, partial(term.matches, namespaces=spaces))
            yield f"{there} of {_about(term)} at {term.topology_key}={value}"
    for used in snapshot.terms.about(pod, spaces):
        term = used.term
        value = node.labels.get(term.topology_key)
        count = snapshot.term_values(used).get(value, 0) if used.kind == ANTI and value is not None else 0
        if count:
            there = _who(term, node, count, partial(_has, term))
            yield f"{there} at {term.topology_key}={value}, which want no Pod of {_about(term)} there"


def _has(term: PodTerm, other: PodInfo) -> bool:
    return term in other.terms.anti_affinity


def _who(term: PodTerm, node: NodeInfo, count: int, chosen: Callable[[PodInfo], bool]) -> str:
    """The Pods by their names where they are on this very node: to look at all of a zone would take too long."""
    if term.topology_key == HOSTNAME:
        return f"there is {_listed([one.key for one in node.pods.values() if chosen(one)])}"
    return f"there are {count} Pods"


def _about(term: PodTerm) -> str:
    return str(term.selector) or "any labels"


def _listed(keys: list[str]) -> str:
    more = len(keys) - MAX_NAMED
    return ", ".join(keys[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


_SAY: Mapping[str, Callable[[PodInfo, NodeInfo, Snapshot], Iterator[str]]] = {
    node_unschedulable.NAME: _cordoned,
    node_name.NAME: _named,
    taint_toleration.NAME: _taints,
    node_affinity.NAME: _affinity,
    node_ports.NAME: _ports,
    node_resources_fit.NAME: _resources,
    pod_topology_spread.NAME: _spread,
    inter_pod_affinity.NAME: _neighbours,
}

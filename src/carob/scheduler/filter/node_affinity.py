"""NodeAffinity: the Pod's nodeSelector and its required node affinity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.node_terms import compile_terms
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "NodeAffinity"
_NO_MATCH = Rejection(NAME, ("node(s) didn't match Pod's node affinity/selector",))
_ENFORCED = Rejection(NAME, ("node(s) didn't match scheduler-enforced node affinity",))
ELSEWHERE = Rejection(NAME, (f"node(s) didn't satisfy plugin(s) [{NAME}]",))
CONFLICT = "pod affinity terms conflict"


def named_nodes(pod: PodInfo) -> frozenset[str] | None:
    """The only nodes that the Pod can be on, if it names them; none of them when its terms contradict each other.

    Source: NodeAffinity's PreFilter. The DaemonSet controller names a node this way.
    """
    affinity = pod.view.spec.affinity
    node_affinity = affinity.node_affinity if affinity is not None else None
    required = node_affinity.required_during_scheduling_ignored_during_execution if node_affinity is not None else None
    if required is None:
        return None
    found: set[str] = set()
    for term in required.node_selector_terms:
        names = [set(one.values) for one in term.match_fields if (one.key, one.operator) == ("metadata.name", "In")]
        if not names:
            return None
        found |= set.intersection(*names)
    return frozenset(found) if required.node_selector_terms else None


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin NodeAffinity."""
    own = own_check(pod)
    added = snapshot.profile(pod).added_affinity
    enforced = added.required_during_scheduling_ignored_during_execution if added is not None else None
    if enforced is None:
        return own
    terms = compile_terms(enforced.node_selector_terms)

    def check(node: NodeInfo) -> Rejection | None:
        if not any(term(node) for term in terms):
            return _ENFORCED
        return own(node) if own is not None else None

    return check


def own_check(pod: PodInfo) -> Check | None:
    """What the Pod itself asks for, without what its profile adds."""
    spec = pod.view.spec
    selector = spec.node_selector
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    if not selector and required is None:
        return None
    terms = compile_terms(required.node_selector_terms) if required is not None else None

    def check(node: NodeInfo) -> Rejection | None:
        labels = node.labels
        for key, value in selector.items():
            if labels.get(key) != value:
                return _NO_MATCH
        if terms is not None and not any(term(node) for term in terms):
            return _NO_MATCH
        return None

    return check

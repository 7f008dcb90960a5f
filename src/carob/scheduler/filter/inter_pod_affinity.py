"""InterPodAffinity: near the Pods that it must be near, far from those that it must be far from; and they from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.tallies import ANTI, Asked, Places, Tally
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pod_terms import PodTerm
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "InterPodAffinity"
_NOT_NEAR = Rejection(NAME, ("node(s) didn't match pod affinity rules",))
_TOO_NEAR = Rejection(NAME, ("node(s) didn't match pod anti-affinity rules",), resolvable=True)
_UNWANTED = Rejection(NAME, ("node(s) didn't satisfy existing pods anti-affinity rules",), resolvable=True)


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler `interpodaffinity/filtering.go`."""
    affinity, anti_affinity = pod.terms.affinity, pod.terms.anti_affinity
    unwanted = _unwanted(pod, snapshot)
    if not affinity and not anti_affinity and not unwanted:
        return None
    near = [(term.topology_key, _all_of(affinity, term, snapshot)) for term in affinity]
    far = [(term.topology_key, tally_of_term(term, snapshot)) for term in anti_affinity]
    # the first of a group that wants to be together must be let in somewhere
    first = not any(tally.total for _, tally in near) and all(t.matches(pod, snapshot.namespaces) for t in affinity)

    def check(node: NodeInfo) -> Rejection | None:
        labels = node.labels
        for key, tally in near:
            value = labels.get(key)
            if value is None or (not first and tally.counts.get(value, 0) <= 0):
                return _NOT_NEAR
        for key, tally in far:
            value = labels.get(key)
            if value is not None and tally.counts.get(value, 0) > 0:
                return _TOO_NEAR
        for key, values in unwanted:
            value = labels.get(key)
            if value is not None and value in values:
                return _UNWANTED
        return None

    return check


def _unwanted(pod: PodInfo, snapshot: Snapshot) -> list[tuple[str, Mapping[str, int]]]:
    """Where Pods are that do not want this one near them."""
    return [
        (used.term.topology_key, snapshot.term_values(used))
        for used in snapshot.terms.about(pod, snapshot.namespaces)
        if used.kind == ANTI
    ]


def _all_of(terms: tuple[PodTerm, ...], term: PodTerm, snapshot: Snapshot) -> Tally:
    """Pods of which every one of the terms speaks."""
    spaces = snapshot.namespaces
    return snapshot.tallies.get(
        ("all", terms, term.topology_key),
        lambda: Tally(
            _everywhere(term, snapshot),
            Asked(
                lambda namespace: all(one.reaches(namespace, spaces) for one in terms),
                lambda labels: all(one.selector.matches(labels) for one in terms),
            ),
        ),
    )


def _everywhere(term: PodTerm, snapshot: Snapshot) -> Places:
    key = term.topology_key
    return snapshot.tallies.places(key, lambda: Places(key, snapshot.nodes(), None))


def tally_of_term(term: PodTerm, snapshot: Snapshot) -> Tally:
    """Pods of which the term speaks."""
    spaces = snapshot.namespaces
    return snapshot.tallies.get(
        ("one", term),
        lambda: Tally(
            _everywhere(term, snapshot),
            Asked(lambda namespace: term.reaches(namespace, spaces), term.selector.matches),
        ),
    )

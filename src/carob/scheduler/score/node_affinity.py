"""NodeAffinity: the weights of the preferred terms that a node meets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.node_terms import compile_term

if TYPE_CHECKING:
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot


def rate(pod: PodInfo, snapshot: Snapshot) -> Rate | None:
    """Source: scheduler plugin NodeAffinity. Shape: to be compared."""
    affinity = pod.view.spec.affinity
    own = affinity.node_affinity if affinity is not None else None
    terms = [
        (compile_term(term.preference), term.weight)
        for one in (snapshot.profile(pod).added_affinity, own)
        if one is not None
        for term in one.preferred_during_scheduling_ignored_during_execution
        if term.weight
    ]
    if not terms:
        return None
    return lambda node: sum(weight for met, weight in terms if met(node))

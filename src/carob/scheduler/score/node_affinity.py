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
    node_affinity = affinity.node_affinity if affinity is not None else None
    if node_affinity is None:
        return None
    preferred = node_affinity.preferred_during_scheduling_ignored_during_execution
    terms = [(compile_term(term.preference), term.weight) for term in preferred if term.weight]
    if not terms:
        return None
    return lambda node: sum(weight for met, weight in terms if met(node))

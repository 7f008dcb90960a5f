"""InterPodAffinity: nearer to the Pods that it likes and that like it, further from those that it or they dislike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.scheduler.filter.inter_pod_affinity import tally_of_term
from carob.scheduler.score.normalize import MAX_SCORE
from carob.scheduler.tallies import AFFINITY, ANTI

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Source: scheduler `interpodaffinity/scoring.go`."""
    profile = snapshot.profile(pod)
    hard_weight = profile.hard_affinity_weight
    # without preferences of its own it may be told not to look at those of others
    ignoring = profile.ignores_others_preferences and not pod.terms.preferred
    parts: list[tuple[str, Mapping[str, int], int]] = []
    for term, weight in pod.terms.preferred:
        tally = tally_of_term(term, snapshot)
        if tally.total:
            parts.append((term.topology_key, tally.counts, weight))
    for used in () if ignoring else snapshot.terms.about(pod, snapshot.namespaces):
        if used.kind != ANTI:
            weight = hard_weight if used.kind == AFFINITY else used.weight
            parts.append((used.term.topology_key, snapshot.term_values(used), weight))
    if not parts:
        return None
    sums = [0] * len(nodes)
    positions = [node.position for node in nodes]
    for key, counts, weight in parts:
        get = counts.get
        column: list[Any] = snapshot.column(key)
        # a node without the label counts nothing
        sums = [total + weight * get(column[i], 0) for total, i in zip(sums, positions, strict=True)]
    least, most = min(sums), max(sums)
    if least == most:
        return None
    # in floating point and then cut off, as upstream: 29 hundredths are 28
    scored = {one: int(MAX_SCORE * ((one - least) / (most - least))) for one in set(sums)}
    return [scored[one] for one in sums]

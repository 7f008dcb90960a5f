"""PodTopologySpread: where fewer of the Pod's like are, by its ScheduleAnyway constraints or the cluster's own."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from carob.scheduler.score.normalize import MAX_SCORE
from carob.scheduler.spread_rules import HOSTNAME, PREFERRED, rules_of, tally_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.spread_rules import SpreadRule


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Source: scheduler `podtopologyspread/scoring.go`."""
    rules = rules_of(pod, PREFERRED, snapshot)
    if not rules:
        return None
    own = bool(pod.view.spec.topology_spread_constraints)
    # the system's own constraints do not ask that every node has a zone
    keys = () if not own and snapshot.profile(pod).spread_by_system else _keys(rules)
    tallies = [(rule.topology_key, rule.max_skew, tally_of(pod, rule, keys, snapshot).counts) for rule in rules]
    ignored = [any(key not in node.labels for key in keys) for node in nodes]
    return _scores(nodes, ignored, tallies)


def _keys(rules: Iterable[SpreadRule]) -> tuple[str, ...]:
    return tuple(sorted({rule.topology_key for rule in rules}))


def _scores(
    nodes: Sequence[NodeInfo], ignored: Sequence[bool], rules: Sequence[tuple[str, int, Mapping[str, int]]]
) -> list[int]:
    sums = [0.0] * len(nodes)
    for key, max_skew, counts in rules:
        values = [node.labels.get(key) for node in nodes]
        # the fewer places there are to go to, the less each one's count says
        if key == HOSTNAME:
            size = len(nodes) - sum(ignored)
        else:
            # nodes without the label are a place too, if they are not ignored for it
            size = len({value for value, out in zip(values, ignored, strict=True) if not out})
        weight = log(size + 2)
        sums = [
            total if value is None else total + (counts.get(value, 0) * weight + (max_skew - 1))
            for total, value in zip(sums, values, strict=True)
        ]
    # to the nearest, halves away from zero, as Go rounds
    rounded = [int(one + 0.5) for one in sums]
    judged = [one for one, out in zip(rounded, ignored, strict=True) if not out]
    least, most = min(judged, default=0), max(judged, default=0)
    if most == 0:
        return [0 if out else MAX_SCORE for out in ignored]
    return [0 if out else MAX_SCORE * (most + least - one) // most for one, out in zip(rounded, ignored, strict=True)]

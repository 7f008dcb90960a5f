"""PodTopologySpread: where fewer of the Pod's like are, by its ScheduleAnyway constraints or the cluster's own."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

from carob.scheduler.score.normalize import MAX_SCORE
from carob.scheduler.spread_rules import HOSTNAME, PREFERRED, rules_of, tally_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.spread_rules import SpreadRule


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Source: scheduler `podtopologyspread/scoring.go`.

    Nodes with the same counts have the same score, and there are few different ones: it is worked out once for each.
    """
    rules = rules_of(pod, PREFERRED, snapshot)
    if not rules:
        return None
    own = bool(pod.view.spec.topology_spread_constraints)
    # the system's own constraints do not ask that every node has a zone
    keys = () if not own and snapshot.profile(pod).spread_by_system else _keys(rules)
    positions = [node.position for node in nodes]
    values = [list(map(snapshot.column(rule.topology_key).__getitem__, positions)) for rule in rules]
    counts: list[list[int | None]] = []
    for rule, of_nodes in zip(rules, values, strict=True):
        get: Callable[[Any, int], int] = tally_of(pod, rule, keys, snapshot).counts.get
        if None in of_nodes:
            counts.append([None if value is None else get(value, 0) for value in of_nodes])
        else:
            counts.append([get(value, 0) for value in of_nodes])
    every = list(zip(*counts, strict=True))
    scored = _scored(set(every), [_weight(rule, values, i, bool(keys)) for i, rule in enumerate(rules)], bool(keys))
    return None if len(set(scored.values())) == 1 else [scored[one] for one in every]


def _keys(rules: Iterable[SpreadRule]) -> tuple[str, ...]:
    return tuple(sorted({rule.topology_key for rule in rules}))


def _weight(rule: SpreadRule, values: list[list[str | None]], which: int, demanding: bool) -> tuple[float, int]:
    """What one Pod of the rule weighs, and what every node has: the fewer places to go to, the less a count says.

    Nodes without the label are a place too, if they are not ignored for it.
    """
    if demanding and any(None in one for one in values):
        places = [value for *others, value in zip(*values, values[which], strict=True) if None not in others]
    else:
        places = values[which]
    size = len(places) if rule.topology_key == HOSTNAME else len(set(places))
    return log(size + 2), rule.max_skew - 1


def _scored(
    different: Iterable[tuple[int | None, ...]], weights: Sequence[tuple[float, int]], demanding: bool
) -> dict[tuple[int | None, ...], int]:
    """The score of nodes with these counts; a rule whose label a node lacks has no count of it."""
    rounded: dict[tuple[int | None, ...], int] = {}
    for counts in different:
        total = 0.0
        for count, (weight, least) in zip(counts, weights, strict=True):
            if count is not None:
                total += count * weight + least
        # to the nearest, halves away from zero, as Go rounds
        rounded[counts] = int(total + 0.5)
    judged = [one for counts, one in rounded.items() if not demanding or None not in counts]
    fewest, most = min(judged, default=0), max(judged, default=0)
    return {
        counts: 0
        if demanding and None in counts
        else MAX_SCORE
        if most == 0
        else MAX_SCORE * (most + fewest - one) // most
        for counts, one in rounded.items()
    }

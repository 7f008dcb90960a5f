"""PodTopologySpread: the constraints that say DoNotSchedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.spread_rules import REQUIRED, rules_of, tally_of
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "PodTopologySpread"
_SKEWED = Rejection(NAME, ("node(s) didn't match pod topology spread constraints",), resolvable=True)
_NO_LABEL = Rejection(NAME, ("node(s) didn't match pod topology spread constraints (missing required label)",))


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler `podtopologyspread/filtering.go`."""
    rules = rules_of(pod, REQUIRED, snapshot)
    if not rules:
        return None
    keys = tuple(sorted({rule.topology_key for rule in rules}))
    limits: list[tuple[str, dict[str, int], int]] = []
    for rule in rules:
        counts = tally_of(pod, rule, keys, snapshot).counts
        fewest = min(counts.values(), default=0) if len(counts) >= rule.min_domains else 0
        itself = 1 if rule.selector.matches(pod.labels) else 0
        limits.append((rule.topology_key, counts, rule.max_skew + fewest - itself))

    def check(node: NodeInfo) -> Rejection | None:
        for key, counts, most in limits:
            value = node.labels.get(key)
            if value is None:
                return _NO_LABEL
            if counts.get(value, 0) > most:
                return _SKEWED
        return None

    return check

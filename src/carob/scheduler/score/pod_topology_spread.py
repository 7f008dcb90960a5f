"""PodTopologySpread: where fewer of the Pod's like are, by its ScheduleAnyway constraints or the cluster's own."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from carob.scheduler.score.normalize import MAX_SCORE
from carob.scheduler.spread_rules import HOSTNAME, PREFERRED, ZONE, rules_of, tally_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot

# Source: podtopologyspread `systemDefaultConstraints`.
HOST_SKEW, ZONE_SKEW = 3, 5


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Source: scheduler `podtopologyspread/scoring.go`."""
    if not pod.view.spec.topology_spread_constraints:
        return _by_default(pod, nodes, snapshot)
    rules = rules_of(pod, PREFERRED)
    if not rules:
        return None
    keys = tuple(sorted({rule.topology_key for rule in rules}))
    tallies = [(rule.topology_key, rule.max_skew, tally_of(pod, rule, keys, snapshot).counts) for rule in rules]
    ignored = [any(key not in node.labels for key in keys) for node in nodes]
    return _scores(nodes, ignored, tallies)


def _by_default(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Differs: Pods are alike that have the same controller, or without one the same labels; upstream asks which
    Services, ReplicaSets … select the Pod."""
    hosts = snapshot.groups.get(pod.group) if pod.group is not None else None
    if not hosts:
        return None
    host_weight = log(len(nodes) + 2)
    sums = [hosts.get(node.name, 0) * host_weight + (HOST_SKEW - 1) for node in nodes]
    zones = [node.labels.get(ZONE) for node in nodes]
    known = set(zones) - {None}
    if known:
        zone_weight = log(len(known) + 2)
        by_zone = snapshot.zones_of(pod.group)
        values = {zone: by_zone.get(zone or "", 0) * zone_weight + (ZONE_SKEW - 1) for zone in known}
        sums = [total + values.get(zone, 0.0) for total, zone in zip(sums, zones, strict=True)]
    # to the nearest, halves away from zero, as Go rounds
    rounded = [int(one + 0.5) for one in sums]
    least, most = min(rounded), max(rounded)
    if most == 0 or least == most:
        return None
    return [MAX_SCORE * (most + least - one) // most for one in rounded]


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
            size = len({value for value, out in zip(values, ignored, strict=True) if not out and value is not None})
        weight = log(size + 2)
        sums = [
            total if value is None else total + counts.get(value, 0) * weight + (max_skew - 1)
            for total, value in zip(sums, values, strict=True)
        ]
    # to the nearest, halves away from zero, as Go rounds
    rounded = [int(one + 0.5) for one in sums]
    judged = [one for one, out in zip(rounded, ignored, strict=True) if not out]
    least, most = min(judged, default=0), max(judged, default=0)
    if most == 0:
        return [0 if out else MAX_SCORE for out in ignored]
    return [0 if out else MAX_SCORE * (most + least - one) // most for one, out in zip(rounded, ignored, strict=True)]

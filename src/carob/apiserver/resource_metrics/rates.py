"""From the counters of a node's summaries to what it uses now. Pure.

A summary is the kubelet's `stats.Summary` tree. A rate is the difference of two of them; a container that is younger
than the older one is measured from its start.
Source: metrics-server `pkg/storage`: the window is the time between the two points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

# a shorter window is noise; the wanted one smooths; what is older than the longest says nothing about now
SHORTEST_SECONDS = 0.4
WANTED_SECONDS = 5.0
LONGEST_SECONDS = 120.0
NODE = ("", "", "")
Key = tuple[str, str, str]
"""Namespace, Pod, container; all empty for the node."""


class Point(Struct, frozen=True):
    """One thing at one time. Units: seconds since 1970, nanoseconds, bytes."""

    time: float
    began: float
    uid: str
    cpu_nanoseconds: int
    memory_bytes: int


class Sample(Struct, frozen=True):
    """One look at one node; `taken` is monotonic."""

    taken: float
    points: dict[Key, Point] = field(default_factory=dict)


class Use(Struct, frozen=True):
    """What something uses. Units: billionths of a processor, bytes, seconds."""

    time: float
    window_seconds: float
    cpu_nanocores: int
    memory_bytes: int


def sample(summary: dict[str, Any], taken: float) -> Sample:
    """The points of a summary. Raises: KeyError, TypeError, ValueError for what is none."""
    points = {NODE: _point(summary["node"], "")}
    for pod in summary["pods"]:
        who = pod["podRef"]
        for container in pod["containers"]:
            points[who["namespace"], who["name"], container["name"]] = _point(container, who["uid"])
    return Sample(taken, points)


def _point(tree: dict[str, Any], uid: str) -> Point:
    cpu, memory = tree["cpu"], tree["memory"]
    return Point(
        time=parse_rfc3339(cpu["time"]),
        began=parse_rfc3339(tree["startTime"]),
        uid=uid,
        cpu_nanoseconds=cpu["usageCoreNanoSeconds"],
        memory_bytes=memory["workingSetBytes"],
    )


def base_for(samples: Sequence[Sample], now: float) -> Sample | None:
    """The older sample to measure against: the newest that is old enough, else the oldest that will do. Oldest first."""
    fresh = [s for s in samples if SHORTEST_SECONDS <= now - s.taken <= LONGEST_SECONDS]
    wanted = [s for s in fresh if now - s.taken >= WANTED_SECONDS]
    return wanted[-1] if wanted else fresh[0] if fresh else None


def kept(samples: Sequence[Sample], now: float) -> list[Sample]:
    """What later answers may need: the newest that is old enough by then, and everything after it."""
    fresh = [s for s in samples if now - s.taken <= LONGEST_SECONDS]
    old = [s for s in fresh if now - s.taken >= WANTED_SECONDS]
    young = [s for s in fresh if now - s.taken < WANTED_SECONDS]
    # the first and the last of the young ones are enough: between them nothing is ever chosen for long
    return old[-1:] + (young if len(young) <= 2 else [young[0], young[-1]])


def uses(older: Sample | None, newer: Sample) -> dict[Key, Use]:
    """Of everything that can be measured."""
    out = {}
    for key, point in newer.points.items():
        before = older.points.get(key) if older is not None else None
        if before is None or before.uid != point.uid or before.began != point.began:
            if point.time - point.began > LONGEST_SECONDS:
                continue
            began, used = point.began, 0
        else:
            began, used = before.time, before.cpu_nanoseconds
        window = point.time - began
        if window < SHORTEST_SECONDS or point.cpu_nanoseconds < used:
            continue
        nanocores = int((point.cpu_nanoseconds - used) / window)
        out[key] = Use(point.time, window, nanocores, point.memory_bytes)
    return out

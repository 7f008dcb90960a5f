"""The times of a schedule: the next one, and the last one that has passed. Pure.

Walks real time in steps as large as the schedule allows, so hours that a time zone skips or repeats come out as
upstream's parser has them: a skipped time is left out, a repeated one comes twice.
Source: robfig/cron v3 SpecSchedule.Next; kube-controller-manager `cronjob/utils.go` mostRecentScheduleTime.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from carob.api.cron import Schedule

SEARCH_DAYS = 5 * 366
MANY_MISSED = 100
_WINDOWS_SECONDS = (3600, 86_400, 32 * 86_400, 367 * 86_400, SEARCH_DAYS * 86_400)


def next_after(schedule: Schedule, after: float, zone: tzinfo = UTC) -> float | None:
    """The first time later than `after` (both seconds since 1970); None if there is none for years."""
    if schedule.every:
        return math.floor(after + max(schedule.every, 1))
    at = math.floor(after / 60) * 60 + 60
    limit = at + SEARCH_DAYS * 86_400
    while at < limit:
        local = datetime.fromtimestamp(at, zone)
        if not schedule.on(local.month, local.day, (local.weekday() + 1) % 7):
            midnight = datetime(local.year, local.month, local.day, tzinfo=zone) + timedelta(days=1)
            # a midnight that does not exist must not send us back
            at = max(math.ceil(midnight.timestamp() / 60) * 60, at + 60)
        elif local.hour not in schedule.hours:
            at += 60 * (60 - local.minute)
        elif local.minute not in schedule.minutes:
            at += 60
        else:
            return float(at)
    return None


class Missed(Struct, frozen=True):
    """The last time that has come (None: none has), and whether there were more than a hundred."""

    last: float | None
    many: bool = False


def last_between(schedule: Schedule, earliest: float, now: float, zone: tzinfo = UTC) -> Missed:
    """The last time after `earliest` that is not later than `now`."""
    if schedule.every:
        count = math.floor((now - earliest) / max(schedule.every, 1))
        return Missed(math.floor(earliest + count * schedule.every) if count > 0 else None, count > MANY_MISSED)
    times = _walk(schedule, earliest, now, zone, MANY_MISSED + 1)
    if len(times) <= MANY_MISSED:
        return Missed(times[-1] if times else None)
    for window in _WINDOWS_SECONDS:
        recent = _walk(schedule, max(earliest, now - window), now, zone, 2000)
        if recent:
            return Missed(recent[-1], many=True)
    return Missed(times[-1], many=True)


def _walk(schedule: Schedule, after: float, until: float, zone: tzinfo, most: int) -> list[float]:
    found: list[float] = []
    at = next_after(schedule, after, zone)
    while at is not None and at <= until and len(found) < most:
        found.append(at)
        at = next_after(schedule, at, zone)
    return found

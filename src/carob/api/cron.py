"""Schedules of CronJobs: five fields, or a word such as `@daily`.

Pure: `parse` knows no clock. A day must match the day of month and the day of week; if neither of the two is a star, one
of them is enough.

Source: upstream takes its parser from robfig/cron v3 (`ParseStandard`), whose words the messages are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Struct

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NUMBER = re.compile(r"[+-]?[0-9]+")
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S*) +")


class CronError(ValueError):
    """The text is no schedule; the message is upstream's."""


class _Field(NamedTuple):
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field(0, 59, {}),
    _Field(0, 23, {}),
    _Field(1, 31, {}),
    _Field(1, 12, {name: i for i, name in enumerate(MONTHS, 1)}),
    _Field(0, 6, {name: i for i, name in enumerate(DAYS)}),
)


class Schedule(Struct, frozen=True):
    """When a job runs; `every` is a fixed distance in seconds, which leaves the fields empty."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    any_weekday: bool = False
    zone: str = ""
    every: float = 0.0

    def on(self, month: int, day: int, weekday: int) -> bool:
        """True if it runs on this day; Sunday is 0."""
        if month not in self.months:
            return False
        by_day, by_weekday = day in self.days, weekday in self.weekdays
        return by_day and by_weekday if self.any_day or self.any_weekday else by_day or by_weekday


def parse(text: str) -> Schedule:
    """The schedule, or CronError."""
    if not text:
        raise CronError("empty spec string")
    zone = ""
    if found := _ZONE.match(text):
        zone, text = found[1], text[found.end() :].strip()
    if text.startswith(_EVERY):
        return Schedule(every=_duration(text.removeprefix(_EVERY)), zone=zone)
    if text.startswith("@"):
        if text not in WORDS:
            raise CronError(f"unrecognized descriptor: {text}")
        text = WORDS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise CronError(f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: [{' '.join(parts)}]")
    (minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday) = (
        _values(part, field) for part, field in zip(parts, _FIELDS, strict=True)
    )
    return Schedule(minutes, hours, days, months, weekdays, any_day, any_weekday, zone)


def _values(text: str, field: _Field) -> tuple[frozenset[int], bool]:
    """Every value that a field allows, and whether it says "any"."""
    values: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        found, is_star = _range(part, field)
        values |= found
        star = star or is_star
    return frozenset(values), star


def _range(text: str, field: _Field) -> tuple[set[int], bool]:
    limits, *steps = text.split("/")
    first, *others = limits.split("-")
    star = first in ("*", "?")
    if star:
        start, end = field.low, field.high
    else:
        start = end = _number_or_name(first, field)
        if len(others) == 1:
            end = _number_or_name(others[0], field)
        elif others:
            raise CronError(f"too many hyphens: {text}")
    step = 1
    if len(steps) == 1:
        step = _number(steps[0])
        if not others:
            end = field.high
        star = star and step <= 1
    elif steps:
        raise CronError(f"too many slashes: {text}")
    if start < field.low:
        raise CronError(f"beginning of range ({start}) below minimum ({field.low}): {text}")
    if end > field.high:
        raise CronError(f"end of range ({end}) above maximum ({field.high}): {text}")
    if start > end:
        raise CronError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")
    return set(range(start, end + 1, step)), star


def _number_or_name(text: str, field: _Field) -> int:
    named = field.names.get(text.lower())
    return _number(text) if named is None else named


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise CronError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if len(text) > 18:
        raise CronError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": value out of range')
    if int(text) < 0:
        raise CronError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)


def _duration(text: str) -> float:
    plain = text.lstrip("+-")
    pieces = _DURATION.findall(plain)
    if "".join(number + unit for number, unit in pieces) != plain or not plain:
        raise CronError(f'failed to parse duration {_EVERY}{text}: time: invalid duration "{text}"')
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in pieces)
    return max(1.0, float(int(-seconds if text.startswith("-") else seconds)))

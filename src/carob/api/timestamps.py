"""Times of API objects: reading any RFC 3339 time, writing upstream's canonical form, Go's words for broken ones.

Pure. Source: Go's `time.Parse`, apimachinery `Time` and `MicroTime`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

TIME_LAYOUT = "2006-01-02T15:04:05Z07:00"
MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"

_CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII).fullmatch
_CANONICAL_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII).fullmatch
_PARTS = (
    ("2006", re.compile(r"\d{4}", re.ASCII)),
    ("-", re.compile("-")),
    ("01", re.compile(r"\d\d", re.ASCII)),
    ("-", re.compile("-")),
    ("02", re.compile(r"\d\d", re.ASCII)),
    ("T", re.compile("T")),
    ("15", re.compile(r"\d\d", re.ASCII)),
    (":", re.compile(":")),
    ("04", re.compile(r"\d\d", re.ASCII)),
    (":", re.compile(":")),
    ("05", re.compile(r"\d\d", re.ASCII)),
)
_FRACTION = re.compile(r"[.,]\d+", re.ASCII)
_MICRO_FRACTION = re.compile(r"[.,]\d{6}(?!\d)", re.ASCII)
_ZONE = re.compile(r"Z|[+-]\d\d:\d\d", re.ASCII)


def canonical(text: str, *, micro: bool = False) -> str:
    """The time in UTC, with seconds or with microseconds. Raises: ValueError in Go's words."""
    if text == "":
        return ""
    match = (_CANONICAL_MICRO if micro else _CANONICAL)(text)
    layout = MICRO_LAYOUT if micro else TIME_LAYOUT
    if match is None:
        _check(text, layout, micro)
    try:
        moment = datetime.fromisoformat(text.replace(",", "."))
    except ValueError as error:
        part = next((p for p in ("month", "day", "hour", "minute", "second") if p in str(error)), "time")
        raise ValueError(f'parsing time "{text}": {part} out of range') from None
    if match is not None:
        return text
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f'parsing time "{text}": day out of range') from None
    stamp = f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S")
    return f"{stamp}.{moment.microsecond:06d}Z" if micro else stamp + "Z"


def _check(text: str, layout: str, micro: bool) -> None:
    position = 0
    for name, pattern in _PARTS:
        position = _taken(text, position, name, pattern, layout)
    if micro:
        position = _taken(text, position, ".000000", _MICRO_FRACTION, layout)
    else:
        fraction = _FRACTION.match(text, position)
        position = fraction.end() if fraction else position
    position = _taken(text, position, "Z07:00", _ZONE, layout)
    if position != len(text):
        raise ValueError(f'parsing time "{text}": extra text: "{text[position:]}"')


def _taken(text: str, position: int, name: str, pattern: re.Pattern[str], layout: str) -> int:
    match = pattern.match(text, position)
    if match is None:
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{text[position:]}" as "{name}"')
    return match.end()

"""Moments and time spans: read, written, and what calendars say of them.

Pure. Source: cel-go `common/types/{timestamp,duration}.go`.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo

from carob.api.cel.values import NANO, CelError, Duration, Timestamp

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_UNITS = {"h": 3600 * NANO, "m": 60 * NANO, "s": NANO, "ms": 10**6, "us": 1000, "µs": 1000, "μs": 1000, "ns": 1}
_PART = re.compile(r"(\d+)?(?:\.(\d*))?(ms|us|µs|μs|ns|h|m|s)", re.ASCII)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_OFFSET = re.compile(r"([+-]?)(\d\d?):(\d\d)", re.ASCII)
EARLIEST, LATEST = -62135596800 * NANO, 253402300800 * NANO
LONGEST = 2**63


def to_timestamp(text: str) -> Timestamp:
    """Raises: ValueError."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("no timestamp")
    *numbers, part, sign, hours, minutes = found.groups()
    moment = datetime.datetime(*map(int, numbers), tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]
    seconds = int((moment - _EPOCH).total_seconds())
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
    return Timestamp(seconds * NANO + int((part or "").ljust(9, "0")))


def to_duration(text: str) -> Duration:
    """Raises: ValueError."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return Duration(0)
    at = total = 0
    while at < len(body):
        found = _PART.match(body, at)
        if found is None or (found[1] is None and not found[2]):
            raise ValueError("no duration")
        unit = _UNITS[found[3]]
        total += int(found[1] or 0) * unit
        if found[2]:
            total += int(found[2]) * unit // 10 ** len(found[2])
        at = found.end()
    if not body or total >= LONGEST:
        raise ValueError("no duration")
    return Duration(-total if text[0] == "-" else total)


def written_timestamp(value: Timestamp) -> str:
    """As RFC 3339 has it, with the parts of a second that there are."""
    seconds, rest = divmod(int(value), NANO)
    text = (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def written_duration(value: Duration) -> str:
    """In seconds."""
    whole, rest = divmod(abs(int(value)), NANO)
    text = str(whole) + (f".{rest:09d}".rstrip("0") if rest else "")
    return f"{'-' if value < 0 else ''}{text}s"


def checked_timestamp(value: int) -> Timestamp:
    """Raises: CelError out of the years 1 to 9999."""
    if not EARLIEST <= value < LATEST:
        raise CelError("timestamp overflow")
    return Timestamp(value)


def checked_duration(value: int) -> Duration:
    """Raises: CelError beyond 292 years."""
    if not -LONGEST <= value < LONGEST:
        raise CelError("duration overflow")
    return Duration(value)


def local(value: Timestamp, zone: str) -> datetime.datetime:
    """The moment as a calendar of a zone has it; the parts of a second are left out. Raises: CelError."""
    moment = _EPOCH + datetime.timedelta(seconds=int(value) // NANO)
    if zone in ("", "UTC"):
        return moment
    found = _OFFSET.fullmatch(zone)
    if found is not None:
        minutes = int(found[2]) * 60 + int(found[3])
        return moment + datetime.timedelta(minutes=-minutes if found[1] == "-" else minutes)
    try:
        return moment.astimezone(zoneinfo.ZoneInfo(zone))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise CelError(f"unknown time zone {zone}") from None

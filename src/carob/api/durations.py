"""Durations as Go writes and reads them: `60s`, `1m30s`, `500ms`, `0`. Pure."""

from __future__ import annotations

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|us|µs|ns|h|m|s)")


def go_duration(seconds: float) -> str:
    """`1m30s`, `15.012s`, `500ms`, `0s`. Source: Go's `time.Duration.String`, to the millisecond."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown


def parse_duration(text: str) -> float:
    """Seconds. Raises: ValueError in Go's words."""
    body = text.lstrip("+-")
    sign = -1.0 if text.startswith("-") else 1.0
    if body == "0":
        return 0.0
    position, seconds = 0, 0.0
    for match in _PART.finditer(body):
        if match.start() != position:
            break
        seconds += float(match.group(1)) * _UNITS[match.group(2)]
        position = match.end()
    if not body or position != len(body):
        problem = "missing unit in duration" if re.fullmatch(r"[0-9.]+", body) else "invalid duration"
        raise ValueError(f'time: {problem} "{text}"')
    return sign * seconds

"""How long to wait before something that failed is tried again. Pure: the caller brings the time.

Source: client-go `util/flowcontrol.Backoff` as the kubelet uses it: 10 s doubling to 5 min, forgotten after a quiet
time of twice the longest delay.
"""

from __future__ import annotations

from msgspec import Struct

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 300.0


class Backoff(Struct):
    """The delay of one thing. Units: seconds on any one clock."""

    first_seconds: float = FIRST_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    delay_seconds: float = 0.0
    last_update: float = 0.0

    def remaining(self, event_time: float, now: float) -> float:
        """Seconds still to wait after what happened at `event_time`; zero when it may be tried."""
        if self.delay_seconds == 0.0 or event_time - self.last_update > 2 * self.longest_seconds:
            return 0.0
        if event_time > now:
            # somebody has set the clock back: nobody waits for the hour to come again
            return 0.0
        return max(0.0, event_time + self.delay_seconds - now)

    def advance(self, event_time: float, now: float) -> None:
        """It is tried now: the next wait is twice as long, or the first one after a quiet time."""
        if self.delay_seconds == 0.0 or event_time - self.last_update > 2 * self.longest_seconds:
            self.delay_seconds = self.first_seconds
        else:
            self.delay_seconds = min(self.longest_seconds, 2 * self.delay_seconds)
        self.last_update = now


def go_duration(seconds: float) -> str:
    """`10s`, `1m20s`, `5m0s`, `1.234s`, `500ms`: as Go prints a duration, because upstream's messages do."""
    if seconds == 0:
        return "0s"
    if seconds < 1:
        milliseconds = seconds * 1000
        if milliseconds < 1:
            return f"{_trim(milliseconds * 1000)}µs"
        return f"{_trim(milliseconds)}ms"
    whole, rest = divmod(seconds, 60)
    minutes = int(whole)
    if minutes == 0:
        return f"{_trim(rest)}s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{_trim(rest)}s"


def _trim(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")

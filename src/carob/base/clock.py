"""Time as a constructor argument, so that a whole cluster can run on virtual time.

Two clocks: the wall clock (`now`, seconds since 1970 in UTC, may jump) is what people see in objects; the monotonic
clock (`monotonic`, seconds) is what waits and back-offs use. Nothing outside of this module reads a clock.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What a part needs to know of time."""

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock; at once for zero or less."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock:
    """Time that stands still until a test moves it; sleepers wake in order of their deadlines.

    Invariant: `advance` lets every task that became ready run before it moves on to the next deadline.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sequence = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._sequence, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking whoever's time has come."""
        target = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, deadline)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._now = target
        await self._settle()

    async def _settle(self) -> None:
        # a hand-over between tasks takes a few turns of the loop; fifty is more than any chain of ours
        for _ in range(50):
            await asyncio.sleep(0)


def rfc3339(seconds: float) -> str:
    """`2026-11-23T05:53:00Z`: the form of `Time` in API objects, between the years 1 and 9999."""
    return _second(math.floor(seconds))


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    """The text of a second, which many writes share."""
    # a year has four digits, also the first one
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(_FIRST_SECOND, min(whole, _LAST_SECOND)))).zfill(20)


# of the years 1 and 9999
_FIRST_SECOND, _LAST_SECOND = -62135596800, 253402300799


def rfc3339_micro(seconds: float) -> str:
    """`2026-11-23T05:53:00.123456Z`: the form of `MicroTime` in API objects."""
    whole = math.floor(seconds)
    return f"{_second(whole)[:-1]}.{int((seconds - whole) * 1_000_000):06d}Z"


def parse_rfc3339(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time with any offset and any fraction.

    Raises: ValueError if it is none.
    """
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()

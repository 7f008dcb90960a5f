"""Many timers in one task: keys that are due, in order."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock


class Timers:
    """`ring` is called with each key when it is due; of several times of one key the earliest counts."""

    def __init__(self, clock: Clock, ring: Callable[[str], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._due: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}
        self._earlier = asyncio.Event()

    def set(self, key: str, seconds: float) -> None:
        """Ring for the key after so long."""
        due = self._clock.monotonic() + seconds
        if self._at.get(key, due + 1) <= due:
            return
        self._at[key] = due
        entry = (due, key)
        heapq.heappush(self._due, entry)
        if self._due[0] is entry:
            self._earlier.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._earlier.clear()
            now = self._clock.monotonic()
            while self._due and self._due[0][0] <= now:
                due, key = heapq.heappop(self._due)
                if self._at.get(key) == due:
                    del self._at[key]
                    self._ring(key)
            if not self._due:
                await self._earlier.wait()
                continue
            # sleep until the first is due, or until an earlier one is set
            sleeper = asyncio.get_running_loop().create_task(self._clock.sleep(self._due[0][0] - now))
            waiter = asyncio.get_running_loop().create_task(self._earlier.wait())
            try:
                await asyncio.wait((sleeper, waiter), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeper.cancel()
                waiter.cancel()

"""Many appointments, one task: ends of watches and their bookmarks.

May touch: the clock. Limit: cancelled appointments are thrown away when they are more than half of all.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

from carob.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock

_log = get_logger("deadlines")


# Below this it does not matter what lies around.
SWEEP_FROM = 256


class Appointment:
    """Something to be called at a time of the monotonic clock."""

    __slots__ = ("_deadlines", "call")

    def __init__(self, deadlines: Deadlines, call: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call; idempotent."""
        if self.call is not None:
            self.call = None
            self._deadlines.cancelled()


class Deadlines:
    """Keeps appointments in order and sleeps until the first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Appointment]] = []
        self._sequence = 0
        self._cancelled = 0
        self._task: asyncio.Task[None] | None = None
        self._wakes_at = 0.0

    def __len__(self) -> int:
        """How many appointments are kept, cancelled ones included."""
        return len(self._heap)

    def at(self, moment: float, call: Callable[[], None]) -> Appointment:
        """Call `call` at `moment` seconds of the monotonic clock."""
        appointment = Appointment(self, call)
        self._sequence += 1
        heapq.heappush(self._heap, (moment, self._sequence, appointment))
        if self._task is None or moment < self._wakes_at:
            self._restart()
        return appointment

    def cancelled(self) -> None:
        """An appointment will not be kept; when most are like that, they are thrown away."""
        self._cancelled += 1
        if self._cancelled > SWEEP_FROM and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _restart(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._wakes_at = self._heap[0][0]
        self._task = asyncio.get_running_loop().create_task(self._run(), name="deadlines")

    async def _run(self) -> None:
        while self._heap:
            moment = self._wakes_at = self._heap[0][0]
            await self._clock.sleep(moment - self._clock.monotonic())
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                _, _, appointment = heapq.heappop(self._heap)
                self._keep(appointment)
        self._task = None

    def _keep(self, appointment: Appointment) -> None:
        call, appointment.call = appointment.call, None
        if call is None:
            self._cancelled = max(0, self._cancelled - 1)
            return
        try:
            call()
        except Exception:  # noqa: BLE001 - one appointment's mistake must not keep the others waiting
            _log.exception("an appointment raised")

    async def close(self) -> None:
        """Forget every appointment."""
        task, self._task = self._task, None
        self._heap.clear()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

"""The work queue: a set of dirty keys, one worker a key at a time, back-off for keys that fail.

A key that is added while it is worked on is worked on once more afterwards; a key that is added a hundred times is
worked on once. Bounded by the number of objects. Touches only the clock.
Source: client-go `util/workqueue`, whose semantics controllers rely on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.base.log import get_logger
from carob.base.tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.base.clock import Clock

_log = get_logger("workqueue")

FIRST_DELAY_SECONDS = 0.005
# after so many keys in a row a worker lets others have their turn on the loop: a reconcile need not wait for anything
KEYS_IN_A_ROW = 16
# who asks for the same moment again, reckoned anew, needs no new timer
SAME_TIME_SECONDS = 0.001
# Differs: upstream lets a failing key wait up to 1000 s; a small cluster is watched by somebody who waits.
LONGEST_DELAY_SECONDS = 60.0


class WorkQueue:
    """See the module's docstring. `work` is the loop that every controller uses."""

    def __init__(
        self,
        clock: Clock,
        *,
        first_delay_seconds: float = FIRST_DELAY_SECONDS,
        longest_delay_seconds: float = LONGEST_DELAY_SECONDS,
    ) -> None:
        self._clock = clock
        self._first_delay_seconds = first_delay_seconds
        self._longest_delay_seconds = longest_delay_seconds
        self._ready: deque[str] = deque()
        self._dirty: set[str] = set()
        self._processing: set[str] = set()
        self._failures: dict[str, int] = {}
        self._delayed: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._getters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        """The object of `key` may have changed."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: str, seconds: float) -> None:
        """Add it later; of several times the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        earlier = self._delayed.get(key)
        if earlier is not None:
            if earlier[0] <= due + SAME_TIME_SECONDS:
                return
            earlier[1].cancel()
        task = asyncio.get_running_loop().create_task(self._add_later(key, seconds), name=f"later {key}")
        self._delayed[key] = (due, task)

    def add_rate_limited(self, key: str) -> None:
        """Add it after its back-off, which doubles each time until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # the exponent is bounded, or a key that fails for days would overflow a float
        delay = self._first_delay_seconds * 2.0 ** min(failures, 40)
        self.add_after(key, min(delay, self._longest_delay_seconds))

    def forget(self, key: str) -> None:
        """It went well: the next back-off starts anew."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """How often it was added rate-limited since it was last forgotten."""
        return self._failures.get(key, 0)

    async def get(self) -> str:
        """The next key; the caller must call `done`."""
        while not self._ready:
            waiter = asyncio.get_running_loop().create_future()
            self._getters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # the wake-up that this getter took with it belongs to the next one
                if waiter.done() and not waiter.cancelled() and self._ready:
                    self._wake()
                raise
            finally:
                if waiter in self._getters:
                    self._getters.remove(waiter)
        key = self._ready.popleft()
        self._processing.add(key)
        self._dirty.discard(key)
        return key

    def done(self, key: str) -> None:
        """The work on `key` has ended; if it was added meanwhile, it comes again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    async def work(self, reconcile: Callable[[str], Awaitable[None]], workers: int, name: str) -> None:
        """Reconcile every key that comes, until cancelled. What raises is logged and comes again after its back-off."""
        try:
            async with TaskGroup() as group:
                for number in range(workers):
                    group.spawn(self._worker(reconcile, name), f"{name}-{number}")
        finally:
            self.close()

    def close(self) -> None:
        """Forget what was to be added later."""
        for _, task in self._delayed.values():
            task.cancel()
        self._delayed.clear()

    async def _worker(self, reconcile: Callable[[str], Awaitable[None]], name: str) -> None:
        in_a_row = 0
        while True:
            if not self._ready:
                in_a_row = 0
            elif in_a_row == KEYS_IN_A_ROW:
                in_a_row = 0
                await asyncio.sleep(0)
            in_a_row += 1
            key = await self.get()
            try:
                await reconcile(key)
            except ApiError as error:
                # somebody else was faster: what the informer brings next settles it
                level = _log.debug if error.reason == "Conflict" else _log.warning
                level("%s: %s: %s", name, key, error.message)
                self.add_rate_limited(key)
            except ConnectionError as error:
                _log.info("%s: %s: %s", name, key, error)
                self.add_rate_limited(key)
            except Exception:  # noqa: BLE001 - the one loop that every controller's failure reaches
                _log.exception("%s: %s failed", name, key)
                self.add_rate_limited(key)
            else:
                self.forget(key)
            finally:
                self.done(key)

    async def _add_later(self, key: str, seconds: float) -> None:
        await self._clock.sleep(seconds)
        del self._delayed[key]
        self.add(key)

    def _wake(self) -> None:
        while self._getters:
            waiter = self._getters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

"""One at a time: the log's verbs that must never meet, run in the event loop or in the one thread that owns them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from carob.store.types import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Exclusive:
    """Guards the log's writer: `busy` is True exactly while a thread works on it.

    `on_idle` is called on the loop each time it has become free.
    """

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self.busy = False
        self._on_idle = on_idle
        self._thread: ThreadPoolExecutor | None = None
        self._freed: asyncio.Future[None] | None = None

    def start(self, work: Callable[[], T], then: Callable[[T | StoreError], None]) -> None:
        """Run `work` in the thread; `then` gets what it returned, or its StoreError, on the loop. Not while busy."""
        assert not self.busy
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "carob-store-writer")
        self.busy = True

        def run() -> None:
            loop.call_soon_threadsafe(finish, outcome_of(work))

        def finish(outcome: T | StoreError) -> None:
            self.busy = False
            then(outcome)
            if self._freed is not None:
                self._freed.set_result(None)
                self._freed = None
            self._on_idle()

        self._thread.submit(run)

    async def wait_free(self) -> None:
        """Return when no thread works on the log."""
        while self.busy:
            if self._freed is None:
                self._freed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._freed)

    async def run(self, work: Callable[[], T], inline: bool) -> T:
        """Run `work` when it is free, in the loop if `inline`. Raises: StoreError as `work` does."""
        await self.wait_free()
        if inline:
            return work()
        done: asyncio.Future[T | StoreError] = asyncio.get_running_loop().create_future()
        self.start(work, lambda outcome: None if done.done() else done.set_result(outcome))
        outcome = await done
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Let the thread go; it has nothing to do any more."""
        if self._thread is not None:
            self._thread.shutdown()


def outcome_of(work: Callable[[], T]) -> T | StoreError:
    """What `work` returns, or the StoreError that it raises.

    Whatever else it raises is a bug; it becomes a StoreError too, because a writer must never wait for ever.
    """
    try:
        return work()
    except StoreError as error:
        return error
    except Exception as bug:  # noqa: BLE001 - kept as the cause, and told to every writer
        failure = StoreError(f"a bug in the store: {bug!r}")
        failure.__cause__ = bug
        return failure

"""Structured tasks: every task of carob lives in a group, and every trap of asyncio 3.11 is kept in here.

- `TaskGroup`: as asyncio's, but a part that fails is named, and `spawn` cannot be called on a group that is closing.
- `supervise`: runs a part again with back-off when it crashes, and says so once per crash.
- `begin`: runs a coroutine at once, up to the first thing that it waits for.
- `Signal`: wakes waiters when state may have changed; level-triggered, so a wake-up is never lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from carob.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from types import TracebackType

    from carob.base.clock import Clock

T = TypeVar("T")

_log = get_logger("tasks")


class Begun(Generic[T]):
    """A coroutine that `begin` has begun: await it once for the rest."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, T], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, waited = self._coroutine, self._first
        while True:
            error: BaseException | None = None
            try:
                if waited is None or not waited.done():
                    yield waited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - the coroutine's business, like all that reaches a wait
                error = thrown
            try:
                waited = coroutine.send(None) if error is None else coroutine.throw(error)
            except StopIteration as returned:
                value: T = returned.value
                return value


def begin(coroutine: Coroutine[Any, Any, T]) -> T | Begun[T]:
    """Run a coroutine up to its first wait; what it returned, if it never waits. It raises what the coroutine raises.

    A task would begin it one turn of the loop later, and hear of its future's end in another. What runs here runs in no
    task: until its first wait the coroutine may not use what needs one, such as `asyncio.timeout`.
    """
    try:
        first = coroutine.send(None)
    except StopIteration as returned:
        value: T = returned.value
        return value
    return Begun(coroutine, first)


class TaskGroup:
    """Children end before the block does; the first failure cancels the others and is raised from the block.

    Unlike asyncio.TaskGroup on Python 3.11, a failure inside a nested group is not swallowed when the outer group is
    cancelled at the same time: failures win over cancellation. One failure is raised as itself, several as a group.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._errors: list[BaseException] = []
        self._parent: asyncio.Task[Any] | None = None
        self._closing = False
        self._aborting = False
        self._interrupted_parent = False

    async def __aenter__(self) -> Self:
        self._parent = asyncio.current_task()
        return self

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a child. Raises: RuntimeError when the group is already being cancelled."""
        if self._aborting:
            coroutine.close()
            raise RuntimeError(f"task group is closing: cannot start {name}")
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Cancel every child; the block then ends normally."""
        self._aborting = True
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        self._errors.append(error)
        if not self._aborting:
            self.cancel()
            # wake the body of the block, which may be waiting for something that will never come
            if self._parent is not None and not self._closing:
                self._interrupted_parent = True
                self._parent.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._closing = True
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        if cancelled and self._interrupted_parent:
            assert self._parent is not None
            cancelled = self._parent.uncancel() > 0
        if kind is not None:
            self.cancel()
        if kind is not None and error is not None and not issubclass(kind, asyncio.CancelledError):
            self._errors.insert(0, error)
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError:
                cancelled = True
                self.cancel()
        if self._errors:
            if len(self._errors) == 1:
                raise self._errors[0]
            raise BaseExceptionGroup("several tasks failed", self._errors)
        if cancelled:
            if kind is None or not issubclass(kind, asyncio.CancelledError):
                raise asyncio.CancelledError
            return False
        return kind is not None and issubclass(kind, asyncio.CancelledError)


class Signal:
    """Level-triggered wake-up: `set` once or a hundred times, a waiter sees it once and looks at the state itself."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Something may have changed."""
        self._event.set()

    async def wait(self) -> None:
        """Return when `set` has been called since the last `wait` returned."""
        await self._event.wait()
        self._event.clear()


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    clock: Clock,
    *,
    first_delay_seconds: float = 0.1,
    longest_delay_seconds: float = 10.0,
) -> None:
    """Run `run` for ever: when it raises, log it once and run it again after a growing delay.

    A run that lasted longer than the longest delay starts the delays anew. Cancellation ends it.
    """
    delay = first_delay_seconds
    while True:
        started = clock.monotonic()
        try:
            await run()
            return
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - this is the one place that a crashed part reaches
            if clock.monotonic() - started > longest_delay_seconds:
                delay = first_delay_seconds
            _log.exception("%s crashed; again in %.1f s", name, delay)
        await clock.sleep(delay)
        delay = min(delay * 2, longest_delay_seconds)

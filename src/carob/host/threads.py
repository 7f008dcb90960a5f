"""Threads for what blocks: a small pool, and throw-away threads that may change their namespaces.

A pool's thread has a working directory of its own. A throw-away thread may unshare and setns as it likes: it ends
with what it did, and never serves anybody else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from carob.host.types import CLONE_FS, Host

T = TypeVar("T")


class Threads:
    """`size` threads for blocking work, and at most as many throw-away threads at once."""

    def __init__(self, host: Host, size: int = 4) -> None:
        self._pool = ThreadPoolExecutor(size, "carob-blocking", initializer=lambda: host.unshare(CLONE_FS))
        self._later = ThreadPoolExecutor(1, "carob-later")
        # begun here: a thread inherits the namespaces of whoever starts it, and `later` is called from anywhere
        self._later.submit(int).result()
        self._slots = asyncio.Semaphore(size)
        self._size = size

    async def run(self, work: Callable[[], T]) -> T:
        """In the pool. A cancelled caller does not stop work that has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def run_apart(self, work: Callable[[], T]) -> T:
        """In a thread of its own that ends with the work. A cancelled caller does not stop it."""
        async with self._slots:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[T] = loop.create_future()

            def settle(result: T | None, error: BaseException | None) -> None:
                if done.cancelled():
                    return
                if error is not None:
                    done.set_exception(error)
                else:
                    done.set_result(result)  # type: ignore[arg-type]

            def body() -> None:
                result: T | None = None
                error: BaseException | None = None
                try:
                    result = work()
                except BaseException as caught:  # noqa: BLE001 - it is raised again in the caller
                    error = caught
                loop.call_soon_threadsafe(settle, result, error)

            threading.Thread(target=body, name="carob-apart").start()
            return await asyncio.shield(done)

    def later(self, work: Callable[[], None]) -> None:
        """After all that was handed in before, by one thread; nobody waits for it, and it must not raise. Any thread."""
        self._later.submit(work)

    def close(self) -> None:
        """Let running work end; start no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._later.shutdown(wait=True)

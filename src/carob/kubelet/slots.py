"""How many sandboxes and containers are made at one time: as many as keep the processors busy, and no more.

Making one is a chain of short processes; thirty chains at once only wait for each other (a third slower, measured).
Whoever is nearer to its end goes first, so that the first Pods of a crowd are ready early.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turn(IntEnum):
    """Who goes first when a slot becomes free."""

    CONTAINER = 0
    SANDBOX = 1


class Slots:
    """At most `count` holders; the others wait in the order of their turn, then of their arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = tuple(deque() for _ in Turn)

    @asynccontextmanager
    async def hold(self, turn: Turn) -> AsyncIterator[None]:
        """Wait for a slot and keep it for the block."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(turn)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, turn: Turn) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn].append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # the slot was ours already: it goes to the next one
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        for queue in self._waiting:
            while queue:
                waiter = queue.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    return
        self._free += 1

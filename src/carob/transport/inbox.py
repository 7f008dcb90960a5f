"""A bounded hand-over of bytes from the task that reads a connection to the task that feeds a process or a port.

Invariant: at most `limit` bytes and one piece wait; the end comes after every byte.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Inbox:
    """One writer, one reader."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._changed = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """Hand over; waits while too much waits already. Ignored after `end`."""
        while self._size > self._limit and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if not self._ended:
            self._pieces.append(data)
            self._size += len(data)
            self._changed.set()

    def end(self) -> None:
        """Nothing follows; idempotent."""
        self._ended = True
        self._changed.set()

    async def get(self) -> bytes:
        """All that waits; empty at the end."""
        while not self._pieces:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._changed.set()
        return data

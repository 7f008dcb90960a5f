"""A pipe within the process: two connected ends, each a `Connection`.

Invariant: a direction holds at most `PIPE_LIMIT` bytes (and one write) before `drain` waits.
"""

from __future__ import annotations

import asyncio
from collections import deque

PIPE_LIMIT = 512 << 10


class PipeEnd:
    """One end of an in-memory `Connection`; what one end writes the other reads."""

    def __init__(self) -> None:
        self._other: PipeEnd = self
        self._incoming: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._closed = False
        self._eof_sent = False
        self._reader: asyncio.Future[None] | None = None
        self._drainers: list[asyncio.Future[None]] = []

    async def read(self) -> bytes:
        """Some bytes; empty at the end of the peer's data."""
        while not self._incoming:
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._incoming.popleft()
        self._size -= len(data)
        if self._size <= PIPE_LIMIT:
            self._other._wake_drainers()
        return data

    def write(self, data: bytes) -> None:
        """Send; ignored once either end is closed."""
        if data and not self._closed and not self._eof_sent and not self._other._closed:
            self._other._incoming.append(data)
            self._other._size += len(data)
            self._other._wake_reader()

    async def drain(self) -> None:
        """Return when the other end has little to read. Raises: ConnectionError when it has gone."""
        while self._other._size > PIPE_LIMIT and not self._closed and not self._other._closed:
            waiter = asyncio.get_running_loop().create_future()
            self._drainers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._drainers:
                    self._drainers.remove(waiter)
        if self._closed or self._other._closed:
            raise ConnectionResetError("the peer has gone")

    def write_eof(self) -> None:
        """No more data from us."""
        if not self._eof_sent:
            self._eof_sent = True
            self._other._ended = True
            self._other._wake_reader()

    def close(self) -> None:
        """The other end reads what was written, then the end."""
        self.write_eof()
        self._closed = True
        self._ended = True
        self._wake_reader()
        self._wake_drainers()
        self._other._wake_drainers()

    def abort(self) -> None:
        """The other end reads nothing more."""
        self._other._incoming.clear()
        self._other._size = 0
        self.close()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_drainers(self) -> None:
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Two connected ends."""
    one, two = PipeEnd(), PipeEnd()
    one._other, two._other = two, one
    return one, two

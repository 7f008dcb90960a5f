"""`SocketConnection`: the raw road of an upgraded connection, on the server's side and on the client's.

Invariants: at most `READ_LIMIT` bytes wait unread (then the peer is held back); bytes arrive in order and none that
came right behind the HTTP head is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from carob.transport.cut import cut

if TYPE_CHECKING:
    from collections.abc import Callable

READ_LIMIT = 256 << 10
WRITE_LIMIT = 128 << 10


class SocketConnection(asyncio.Protocol):
    """A `Connection` over an asyncio transport that another protocol has opened."""

    def __init__(self, transport: asyncio.Transport, early: bytes, lost: Callable[[], None] | None = None) -> None:
        self._transport = transport
        self._lost = lost
        self._chunks: deque[bytes] = deque([early] if early else [])
        self._size = len(early)
        self._ended = False
        self._closed = False
        self._read_paused = False
        self._write_paused = False
        self._readers: deque[asyncio.Future[None]] = deque()
        self._writers: list[asyncio.Future[None]] = []
        transport.set_write_buffer_limits(high=WRITE_LIMIT)
        transport.set_protocol(self)

    async def read(self) -> bytes:
        """Some bytes; empty at the end of the peer's data, also when the road was cut."""
        while not self._chunks:
            if self._ended:
                return b""
            waiter = asyncio.get_running_loop().create_future()
            self._readers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._readers:
                    self._readers.remove(waiter)
        data = self._chunks.popleft()
        self._size -= len(data)
        if self._read_paused and self._size < READ_LIMIT // 2 and not self._closed:
            self._read_paused = False
            self._transport.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        """Send; ignored once the road is closed."""
        if not self._closed and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def buffered(self) -> int:
        """Bytes accepted but not yet taken by the peer."""
        return 0 if self._closed else self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        if self._closed or self._transport.is_closing():
            raise ConnectionResetError("the peer has gone")
        if self._write_paused:
            waiter = asyncio.get_running_loop().create_future()
            self._writers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._writers:
                    self._writers.remove(waiter)
            if self._closed:
                raise ConnectionResetError("the peer has gone")

    def write_eof(self) -> None:
        """No more data from us; TLS cannot say so and says nothing."""
        if not self._closed and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        if not self._closed:
            self._transport.close()
            # a paused transport does not notice that its peer has gone
            if self._read_paused:
                self._read_paused = False
                self._transport.resume_reading()

    def abort(self) -> None:
        if not self._closed:
            cut(self._transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > READ_LIMIT and not self._read_paused and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()
        self._wake_readers()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake_readers()
        # a half-closed TCP road can still carry our answer; a TLS road is over
        return self._transport.can_write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = self._ended = True
        self._wake_readers()
        self._wake_writers()
        if self._lost is not None:
            self._lost()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_writers()

    def _wake_readers(self) -> None:
        while self._readers:
            waiter = self._readers.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _wake_writers(self) -> None:
        for waiter in self._writers:
            if not waiter.done():
                waiter.set_result(None)

"""`StreamSink`: one streamed answer of the server, framed for HTTP/1.1.

Invariants: what is written after the end is ignored; every `on_close` callback is called once, whoever ended it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from carob.base.log import get_logger
from carob.transport.http import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable

_log = get_logger("transport")


class Carrier(Protocol):
    """The connection below a sink."""

    @property
    def buffered(self) -> int:
        """Bytes written and not taken by the peer."""
        ...

    def gather(self, piece: bytes) -> None:
        """Send at the end of this turn of the loop."""
        ...

    async def drain(self) -> None:
        """Return when little is buffered. Raises: ConnectionError."""
        ...

    def stream_ended(self) -> None:
        """The answer is complete."""
        ...

    def cut(self) -> None:
        """End at once."""
        ...


class StreamSink:
    """The `Sink` of one streamed answer."""

    __slots__ = ("_callbacks", "_chunked", "_connection", "_done")

    def __init__(self, connection: Carrier, chunked: bool) -> None:
        self._connection = connection
        self._chunked = chunked
        self._done = False
        self._callbacks: list[Callable[[], None]] = []

    def write(self, data: bytes | Chunk) -> None:
        """Send a piece; ignored once the sink is closed."""
        if self._done:
            return
        if isinstance(data, Chunk):
            piece = data.framed if self._chunked else data.payload
            if data.payload:
                self._connection.gather(piece)
        elif data:
            self._connection.gather(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    @property
    def buffered(self) -> int:
        """Bytes accepted but not yet taken by the peer."""
        return 0 if self._done else self._connection.buffered

    async def drain(self) -> None:
        """Return when little is buffered. Raises: ConnectionError when the peer has gone."""
        if self._done:
            raise ConnectionResetError("the answer has ended")
        await self._connection.drain()

    def close(self) -> None:
        """End the answer properly; idempotent."""
        if not self._done:
            if self._chunked:
                self._connection.gather(b"0\r\n\r\n")
            self._end()
            self._connection.stream_ended()

    def abort(self) -> None:
        """Cut the connection, so that the peer knows the answer is incomplete."""
        if not self._done:
            self._end()
            self._connection.cut()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the peer has gone or the sink was closed; at once if it is closed already."""
        if self._done:
            callback()
        else:
            self._callbacks.append(callback)

    def lost(self) -> None:
        """The peer has gone."""
        if not self._done:
            self._end()

    def _end(self) -> None:
        self._done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - one watcher's mistake must not keep the others from being told
                _log.exception("a callback of a closed stream raised")

"""An asyncio transport without a socket: what was written, and whether it was closed; full when told so."""

from __future__ import annotations

import asyncio
from typing import Any


class WireTransport(asyncio.Transport):
    """For protocols under test. `peer_is_slow` makes writes pile up until `take` is called."""

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__()
        self.protocol: Any = None
        self.written = b""
        self.waiting = 0
        self.peer_is_slow = False
        self.closed = False
        self.gone = asyncio.Event()
        self.aborted = False
        self.reading = True
        self._high = 65536
        self._tls = tls
        self._paused = False

    def connect(self, protocol: asyncio.Protocol) -> None:
        """Begin."""
        self.protocol = protocol
        protocol.connection_made(self)

    def take(self) -> bytes:
        """What was written since the last time; a slow peer has then read it."""
        written, self.written = self.written, b""
        self.waiting = 0
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()
        return written

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 40000) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 65536

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def can_write_eof(self) -> bool:
        return not self._tls

    def write(self, data: Any) -> None:
        assert not self.closed, "written after close"
        self.written += data
        if self.peer_is_slow:
            self.waiting += len(data)
            if self.waiting > self._high and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.written += b"<eof>"

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.gone.set()
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

"""One connection of the client: a request to bytes, bytes to an answer; keep-alive, streams, upgrades.

Invariants: one exchange at a time; a streamed body that nobody reads holds the peer back after `READ_LIMIT` bytes;
whatever ends an exchange early (a cut connection, a cancelled caller) makes the connection unusable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self, cast

import httptools

from carob.transport.cut import cut
from carob.transport.heads import encode_target, header_lines, header_name
from carob.transport.http import Request, Response
from carob.transport.road import SocketConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

READ_LIMIT = 1 << 20
WRITE_HIGH_WATER = 256 << 10
MAX_BODY_BYTES = 1 << 30
"""A whole answer larger than this is refused; who expects more reads a stream."""

# They concern one connection only and are made anew for each. Source: RFC 9110, 7.6.1.
HOP_BY_HOP = frozenset(
    ("connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding")
)


class Unanswered(ConnectionResetError):
    """The connection ended before the first byte of an answer came."""


class ClientConnection(asyncio.Protocol):
    """Made by `SocketTransport`; `usable` tells whether another request may follow."""

    def __init__(self, lost: Callable[[ClientConnection], None]) -> None:
        self._on_lost = lost
        self._loop = asyncio.get_running_loop()
        self.usable = True
        self.idle_since = 0.0
        self.generation = 0
        """Of which of its owner's credentials it was made."""
        self._lost = False
        self._error: Exception | None = None
        self._busy = False
        self._read_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._begin("")

    def _begin(self, method: str) -> None:
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._status = 0
        self._head_complete = self._complete = self._upgraded = self._answered = False
        self._body: deque[bytes] = deque()
        self._buffered = 0
        self._streaming = False
        self._until_eof = True
        self._leftover = b""

    @property
    def streaming(self) -> bool:
        """Whether somebody reads a body from it as it comes."""
        return self._streaming and self._busy

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # an answer nobody asked for: whatever it is, nothing can be trusted behind it
            self.abort()
            return
        self._answered = True
        if self._upgraded:
            # the caller has not taken the road yet
            self._leftover += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = self._complete = True
            self._leftover = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if not self._complete:
                self._error = ConnectionResetError(f"the server's answer is not valid HTTP: {error}")
            self.abort()
        self._wake()

    def eof_received(self) -> bool:
        if self._busy and self._head_complete and self._until_eof:
            self._complete = True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self.usable = False
        self._error = self._error or error
        self._on_lost(self)
        self._wake()

    # httptools calls these, out of `data_received`.

    def on_message_begin(self) -> None:
        if self._complete:
            # a second answer to one request: nothing behind it can be trusted
            self.usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._complete:
            self._headers.append((header_name(name), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self._status = self._parser.get_status_code()
        if self._status in (100, 102, 103):
            self._headers.clear()
            return
        names = {name for name, _ in self._headers}
        self._until_eof = not names & {"content-length", "transfer-encoding"} and self._status not in (101, 204, 304)
        self._head_complete = True
        if self._method == "HEAD":
            # the parser would wait for the body that the head announces
            self._complete = True
            self.usable = False

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._body.append(body)
        self._buffered += len(body)
        if self._streaming and self._buffered > READ_LIMIT and not self._read_paused and not self._lost:
            self._read_paused = True
            self._transport.pause_reading()
        elif self._buffered > MAX_BODY_BYTES:
            self._error = ConnectionResetError("the server's answer is too large")
            self.abort()

    def on_message_complete(self) -> None:
        if self._head_complete and not self._complete:
            self._complete = True
            if not self._parser.should_keep_alive():
                self.usable = False

    # One exchange.

    async def exchange(self, request: Request, start: bytes) -> Response:
        """The whole answer. Raises: Unanswered, ConnectionError."""
        await self._ask(request, start)
        while not self._complete:
            await self._wait()
        return self._whole()

    async def open(self, request: Request, start: bytes) -> ClientStream:
        """The answer's head; the body is read from the stream. Raises: Unanswered, ConnectionError."""
        self._streaming = True
        await self._ask(request, start)
        self._streaming = True
        return ClientStream(self, self._status, dict(self._headers))

    async def switch(self, request: Request, start: bytes) -> tuple[Response, SocketConnection | None]:
        """Ask for an upgrade; without 101 the whole answer and None."""
        await self._ask(request, start, connection=b"Connection: Upgrade\r\n")
        while not self._complete:
            await self._wait()
        if not self._upgraded:
            return self._whole(), None
        self.usable = False
        response = Response(101, headers=list(self._headers), content_type="")
        road = SocketConnection(self._transport, self._leftover, lambda: self.connection_lost(None))
        return response, road

    async def _ask(self, request: Request, start: bytes, connection: bytes = b"") -> None:
        """Send the request and wait for the head of the answer."""
        streaming = self._streaming
        self._begin(request.method)
        self._streaming = streaming
        if self._lost:
            raise Unanswered("the server has closed the connection")
        self._busy = True
        headers = header_lines((n, v) for n, v in request.headers.items() if n not in HOP_BY_HOP)
        length = b""
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            length = b"Content-Length: %d\r\n" % len(request.body)
        head = start + headers + connection + length + b"\r\n"
        if len(request.body) > 16 << 10:
            self._transport.write(head)
            self._transport.write(request.body)
        else:
            self._transport.write(head + request.body)
        while not self._head_complete:
            await self._wait()

    def _whole(self) -> Response:
        self._busy = False
        body = self._body
        content_type = ""
        headers = []
        for name, value in self._headers:
            if name == "content-type":
                content_type = value
            elif name not in HOP_BY_HOP:
                headers.append((name, value))
        data = b"" if not body else body[0] if len(body) == 1 else b"".join(body)
        return Response(self._status, data, content_type, headers)

    async def read(self) -> bytes:
        """Some of a streamed body; empty at the proper end. Raises: ConnectionError when it was cut."""
        while not self._body:
            if self._complete:
                return b""
            await self._wait()
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._buffered = 0
        if self._read_paused and not self._lost:
            self._read_paused = False
            self._transport.resume_reading()
        return data

    def finish_stream(self) -> None:
        """The reader has left: the connection may serve another request if the body was complete."""
        if self._complete:
            self._busy = False
            self._body.clear()
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self.usable = False
        if not self._lost:
            cut(self._transport)

    def close(self) -> None:
        """End the connection."""
        self.usable = False
        if not self._lost:
            self._transport.close()

    async def _wait(self) -> None:
        """Wait for anything to happen. Raises: ConnectionError if what happened is the end."""
        if not self._lost:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._lost and not self._complete:
            reason = f": {self._error}" if self._error else ""
            if not self._answered:
                raise Unanswered(f"the server closed the connection without an answer{reason}") from self._error
            raise ConnectionResetError(f"the server cut the answer{reason}") from self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ClientStream:
    """The `ResponseStream` of one connection, which goes back to the pool when the body was read to its end."""

    def __init__(self, connection: ClientConnection, status: int, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._released: Callable[[ClientConnection], None] | None = None
        self.status = status
        self.headers = headers

    def released(self, callback: Callable[[ClientConnection], None]) -> None:
        """Call `callback` with the connection when the reader leaves."""
        self._released = callback

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        callback, self._released = self._released, None
        if callback is not None:
            self._connection.finish_stream()
            callback(self._connection)

    async def read(self) -> bytes:
        """Some bytes; empty at the proper end. Raises: ConnectionError when it was cut."""
        return await self._connection.read()


def request_start(request: Request, base_path: str, host: str, authorization: str) -> bytes:
    """The request line, `Host` and `Authorization`; a request's own `Authorization` wins."""
    target = base_path + (request.raw_target or encode_target(request.path, request.query))
    start = f"{request.method} {target} HTTP/1.1\r\nHost: {host}\r\n"
    if authorization and "authorization" not in request.headers:
        start += f"Authorization: {authorization}\r\n"
    return start.encode("utf-8")

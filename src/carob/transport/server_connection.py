"""One connection of the server: bytes to requests, answers to bytes, in order, within limits.

States: reading (a request is on its way), busy (one request is being answered; further bytes wait, bounded),
lingering (refused; the rest is thrown away so that the client can read why), handed over (after 101).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from carob.api.status import internal
from carob.base.log import get_logger
from carob.transport.cut import cut
from carob.transport.heads import answer_start, header_lines
from carob.transport.http import Request, Response
from carob.transport.pipe import pipe
from carob.transport.request_reader import HEAD, NOTHING, Exchange, RequestReader
from carob.transport.road import SocketConnection
from carob.transport.sink import StreamSink

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Iterator

    from carob.transport.http import Connection, Upgrade
    from carob.transport.server import Server

_log = get_logger("transport")

WRITE_HIGH_WATER = 256 << 10
EARLY_LIMIT = 64 << 10
"""Bytes that may wait behind the request that is being answered."""
JOIN_LIMIT = 16 << 10
"""A body up to this size is copied behind its head, so that both leave in one TLS record."""
SEGMENTS_PER_TURN_BYTES = 1 << 20
"""How much of a large answer one connection may send before others have their turn."""
LINGER_SECONDS = 2.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerConnection(asyncio.Protocol):
    """See the module's docstring. Made by `Server.listen`, once a connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._pending: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._advancing = False
        self._early: deque[bytes] = deque()
        self._early_bytes = 0
        self._allowed_for = NOTHING
        """For which part of a request the present deadline was set."""
        self._read_paused = self._write_paused = False
        self._lingering = self._lost = self._peer_ended = self._handed_over = False
        self._sink: StreamSink | None = None
        self._segments: Iterator[bytes] | None = None
        self._segments_left = 0
        self._task: asyncio.Task[None] | None = None
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._drainers: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.joined(self):
            self._lost = True
            cut(self._transport)
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(True) if tls is not None else None
        peer = transport.get_extra_info("peername")
        address: str = peer[0] if isinstance(peer, tuple) else ""
        own = transport.get_extra_info("sockname")
        from_afar = isinstance(own, tuple) and own[0] != address
        limits = self._limits
        self._reader = RequestReader(limits.head_bytes, limits.body_bytes, certificate, address, from_afar)
        self._pending = self._reader.exchanges
        self._allow(self._limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self._current is not None or self._early:
            self._early.append(data)
            self._early_bytes += len(data)
            if self._early_bytes > EARLY_LIMIT and not self._read_paused:
                self._read_paused = True
                self._transport.pause_reading()
            return
        self._feed(data)
        self._advance()

    def eof_received(self) -> bool:
        self._peer_ended = True
        # who half-closes a plain road may still wait for the answer of a request that is complete
        return self._current is not None and self._sink is None and self._transport.can_write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._server.left(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            # not at once: a task that is cancelled before its first step would leave the handler's coroutine unawaited
            self._loop.call_soon(self._task.cancel)
        if self._sink is not None:
            self._sink.lost()
        self._drop_segments()
        self._gathered.clear()
        self._pending.clear()
        self._early.clear()
        self._wake_drainers()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._segments is not None:
            self._allow(self._limits.stalled_write_seconds)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._segments is not None:
            self._loop.call_soon(self._pump)
        self._wake_drainers()

    # Reading.

    def _feed(self, data: bytes) -> None:
        reader = self._reader
        rest = reader.feed(data)
        if rest:
            self._early.appendleft(rest)
            self._early_bytes += len(rest)
        part = reader.part
        if reader.refused:
            self._lingering = True
        elif part != self._allowed_for:
            # a time for the head and a time for the body, however slowly they trickle in
            self._allowed_for = part
            if part != NOTHING:
                self._allow(self._limits.head_seconds if part == HEAD else self._limits.body_seconds)
        if reader.awaits_leave and not self._pending and self._current is None and not reader.refused:
            reader.awaits_leave = False
            self._transport.write(_CONTINUE)

    # Answering.

    def _advance(self) -> None:
        """Answer what can be answered now, one request after the other."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._current is None and not self._lost and not self._handed_over:
                if self._pending:
                    self._current = self._pending.popleft()
                    self._handle(self._current)
                elif self._early and not self._lingering:
                    data = self._early.popleft()
                    self._early_bytes -= len(data)
                    self._feed(data)
                else:
                    break
        finally:
            self._advancing = False
        if self._read_paused and self._early_bytes <= EARLY_LIMIT and not self._lost and not self._handed_over:
            self._read_paused = False
            self._transport.resume_reading()

    def _handle(self, exchange: Exchange) -> None:
        self._deadline = float("inf")
        if exchange.request is None:
            assert exchange.refusal is not None
            self._answer(exchange.refusal)
            return
        try:
            result = self._server.handler(exchange.request)
        except Exception:  # noqa: BLE001 - a bug of the handler costs one request, not the server
            result = _bug(exchange.request)
        if isinstance(result, Response):
            self._answer(result)
        else:
            self._task = self._server.spawn(self._answer_later(exchange.request, result))

    async def _answer_later(self, request: Request, result: Awaitable[Response]) -> None:
        try:
            response = await result
        except asyncio.CancelledError:
            self.cut()
            raise
        except Exception:  # noqa: BLE001 - as above
            response = _bug(request)
        self._task = None
        self._answer(response)
        self._advance()

    def _answer(self, response: Response) -> None:
        exchange = self._current
        assert exchange is not None
        if self._lost or self._transport.is_closing():
            self._decline(response)
            return
        if self._server.closing or self._peer_ended:
            exchange.keep_alive = False
        head_only = exchange.request is not None and exchange.request.method == "HEAD"
        if response.upgrade is not None:
            self._hand_over(response)
        elif response.stream is not None and not head_only:
            self._start_stream(response, exchange)
        elif response.segments is not None:
            self._transport.write(self._head(response, b"Content-Length: %d\r\n" % response.length))
            self._segments, self._segments_left = response.segments, response.length
            if head_only:
                self._drop_segments()
                self._finish()
            else:
                self._pump()
        else:
            self._write_body(response, head_only)
            self._finish()

    def _decline(self, response: Response) -> None:
        """The peer has gone before its answer: what stands behind the answer must hear of it all the same."""
        self._segments = response.segments
        self._drop_segments()
        if response.stream is not None:
            sink = StreamSink(self, True)
            sink.lost()
            response.stream(sink)
        if response.upgrade is not None:
            ours, theirs = pipe()
            theirs.abort()
            self._server.spawn(self._run_upgrade(response.upgrade, ours))

    def _write_body(self, response: Response, head_only: bool) -> None:
        body = response.body
        length = b"Content-Length: %d\r\n" % len(body)
        if (response.status < 200 or response.status in (204, 304)) and not body:
            length = b""
        head = self._head(response, length)
        if head_only or not body:
            self._transport.write(head)
        elif len(body) <= JOIN_LIMIT:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def _head(self, response: Response, framing: bytes) -> bytes:
        start = answer_start(response.status, response.content_type)
        extra = header_lines(response.headers) if response.headers else b""
        assert self._current is not None
        extra += self._server.audit_id_line(self._current.request, extra)
        if not self._current.keep_alive:
            extra += b"Connection: close\r\n"
        return start + self._server.usual_lines(self._loop.time(), extra) + extra + framing + b"\r\n"

    def _finish(self) -> None:
        """The current answer is complete; go on with the connection or end it."""
        exchange, self._current = self._current, None
        assert exchange is not None
        if exchange.keep_alive and not self._server.closing:
            self._allow(self._limits.idle_seconds)
        elif self._lingering and not self._peer_ended:
            # closing now, with bytes unread, would reset the road and take our answer with it
            self._allow(LINGER_SECONDS)
        else:
            self.flush()
            self._transport.close()

    # Large answers.

    def _pump(self) -> None:
        """Send segments until the peer is full or others should have their turn."""
        sent = 0
        segments = self._segments
        if segments is None or self._lost:
            return
        while not self._write_paused:
            if sent > SEGMENTS_PER_TURN_BYTES:
                self._loop.call_soon(self._pump)
                return
            if self._transport.is_closing():
                self._drop_segments()
                return
            try:
                piece = next(segments, None)
            except Exception:  # noqa: BLE001 - half an answer cannot be taken back: the peer must see that it was cut
                _log.exception("making a large answer failed")
                self.cut()
                return
            if piece is None:
                self._segments = None
                if self._segments_left != 0:
                    _log.error("a large answer was %d bytes off its announced length", self._segments_left)
                    self.cut()
                    return
                self._finish()
                self._advance()
                return
            sent += len(piece)
            self._segments_left -= len(piece)
            self._transport.write(piece)

    def _drop_segments(self) -> None:
        segments, self._segments = self._segments, None
        close = getattr(segments, "close", None)
        if close is not None:
            close()

    # Streams.

    def _start_stream(self, response: Response, exchange: Exchange) -> None:
        assert response.stream is not None
        self._transport.write(self._head(response, b"Transfer-Encoding: chunked\r\n" if exchange.chunks else b""))
        self._sink = sink = StreamSink(self, exchange.chunks)
        try:
            response.stream(sink)
        except Exception:  # noqa: BLE001 - as with handlers
            _log.exception("starting a stream failed")
            sink.abort()
        if self._server.closing:
            sink.close()

    def gather(self, piece: bytes) -> None:
        """Take a piece of a stream; it is sent at the end of this turn of the loop."""
        if self._lost:
            return
        if not self._gathered:
            self._server.flush_soon(self)
        self._gathered.append(piece)
        self._gathered_bytes += len(piece)

    def flush(self) -> None:
        """Send what was gathered."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._gathered_bytes = 0
            if not self._lost and not self._transport.is_closing():
                self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    @property
    def buffered(self) -> int:
        """Bytes that a stream has written and the peer has not taken."""
        return 0 if self._lost else self._transport.get_write_buffer_size() + self._gathered_bytes

    async def drain(self) -> None:
        """Return when little is buffered. Raises: ConnectionError when the peer has gone."""
        self.flush()
        if self._write_paused and not self._lost:
            waiter = self._loop.create_future()
            self._drainers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._drainers:
                    self._drainers.remove(waiter)
        if self._lost:
            raise ConnectionResetError("the peer has gone")

    def stream_ended(self) -> None:
        """The sink was closed properly."""
        self._sink = None
        if not self._lost:
            self.flush()
            self._finish()
            self._advance()

    def _wake_drainers(self) -> None:
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)

    # Upgrades.

    def _hand_over(self, response: Response) -> None:
        assert response.upgrade is not None
        headers = [(name, value) for name, value in response.headers if name.lower() != "connection"]
        head = answer_start(101, "") + header_lines(headers) + b"Connection: Upgrade\r\n\r\n"
        self._transport.write(head)
        self._handed_over = True
        self._deadline = float("inf")
        early = b"".join(self._early)
        self._early.clear()
        road = SocketConnection(self._transport, early, lambda: self.connection_lost(None))
        if self._peer_ended:
            road.eof_received()
        if self._read_paused:
            self._transport.resume_reading()
        self._server.spawn(self._run_upgrade(response.upgrade, road))

    async def _run_upgrade(self, upgrade: Upgrade, road: Connection) -> None:
        try:
            await upgrade(road)
        except asyncio.CancelledError:
            road.abort()
            raise
        except ConnectionError:
            road.abort()
        except Exception:  # noqa: BLE001 - as with handlers
            _log.exception("an upgraded connection failed")
            road.abort()
        else:
            road.close()

    # Ends.

    def shut_down(self) -> None:
        """The server is closing: end when the current answer is complete; streams and upgraded roads end now."""
        if self._sink is not None:
            self._sink.close()
        elif self._handed_over:
            self.cut()
        elif self._current is None and not self._lost and self._reader.part == NOTHING:
            self._transport.close()

    def cut(self) -> None:
        """End at once."""
        if not self._lost:
            cut(self._transport)

    def _allow(self, seconds: float) -> None:
        """The peer has `seconds` to do its part. The timer is only moved when it goes off: requests stay cheap."""
        now = self._loop.time()
        self._deadline = now + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        elif self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._lost or self._handed_over or self._deadline == float("inf"):
            return
        if self._loop.time() + 0.01 < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        elif self._segments is not None or self._lingering or self._transport.get_write_buffer_size():
            self.cut()
        else:
            self._transport.close()


def _bug(request: Request) -> Response:
    _log.exception("%s %s failed", request.method, request.path)
    error = internal("the server met an unexpected condition; its log says more")
    return Response(error.code, error.body())

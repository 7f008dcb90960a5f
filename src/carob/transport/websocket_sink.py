"""A streamed answer told over a WebSocket, for clients that ask for one: followed logs and watches.

Source: apimachinery `wsstream.Reader` (an empty message first; raw or base64) and apiserver `WatchServer.HandleWS` (one
message an event, as a text where the encoding is one).
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from carob.base.tasks import TaskGroup
from carob.transport.http import Response
from carob.transport.websocket_handshake import handshake
from carob.wire.errors import ProtocolError
from carob.wire.websocket import PROTOCOL_ERROR, Closed, WebSocket, offered_protocols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.transport.http import Chunk, Connection, Request

RAW, BASE64 = "binary.k8s.io", "base64.binary.k8s.io"
LINGER_SECONDS = 2.0
"""How long we wait for the client to close after the end; closing first could cost it what it has not read."""


def told_in_pieces(request: Request, answer: Response) -> Response:
    """The answer's bytes as messages of whatever size, after an empty one; only a streamed answer is told so."""
    refusal, protocol, headers = handshake(request, (RAW, BASE64))
    if refusal is not None:
        return refusal

    def message(socket: WebSocket, data: bytes) -> None:
        if protocol == BASE64:
            socket.send(base64.b64encode(data), text=True)
        else:
            socket.send(data)

    return _told(answer, headers, message, greeting=True)


def lines_of(data: bytes) -> list[bytes]:
    """The lines of a piece that ends with one."""
    return data.splitlines(keepends=True)


def told_in_messages(
    request: Request, answer: Response, split: Callable[[bytes], Iterable[bytes]] = lines_of, *, text: bool = True
) -> Response:
    """Each part of the answer's pieces as a message of its own, whatever protocols the client names."""
    refusal, _, headers = handshake(request, offered_protocols(request.headers.get("sec-websocket-protocol", "")))
    if refusal is not None:
        return refusal

    def messages(socket: WebSocket, data: bytes) -> None:
        for part in split(data):
            socket.send(part, text=text)

    return _told(answer, headers, messages, greeting=False)


def _told(
    answer: Response, headers: list[tuple[str, str]], tell: Callable[[WebSocket, bytes], None], *, greeting: bool
) -> Response:
    async def run(connection: Connection) -> None:
        sink = WebSocketSink(connection, tell)
        if greeting:
            sink.write(b"")
        if answer.stream is not None:
            answer.stream(sink)
        else:
            sink.write(answer.body)
            sink.close()
        await sink.run()

    return Response(101, headers=headers, upgrade=run)


class WebSocketSink:
    """A `Sink` whose pieces become messages. `run` carries them until either side has closed."""

    def __init__(self, connection: Connection, tell: Callable[[WebSocket, bytes], None]) -> None:
        self._connection = connection
        self._socket = WebSocket()
        self._tell = tell
        self._waiting: list[bytes] = []
        self._buffered = 0
        self._news = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._closed = False
        self._gone = self._left = False
        self._callbacks: list[Callable[[], None]] = []

    # what the answer's maker does

    def write(self, data: bytes | Chunk) -> None:
        """Send a piece; ignored once the sink is closed."""
        if not self._closed:
            self._tell(self._socket, data if isinstance(data, bytes) else data.payload)
            self._take()

    @property
    def buffered(self) -> int:
        """Bytes accepted but not yet given to the connection."""
        return self._buffered

    async def drain(self) -> None:
        """Return when everything was given to the connection. Raises: ConnectionError when the peer has gone."""
        await self._drained.wait()
        if self._gone or self._left:
            raise ConnectionResetError("the peer has gone")

    def close(self) -> None:
        """End the answer properly; idempotent."""
        if not self._closed:
            self._socket.close()
            self._take()
            self._end()

    def abort(self) -> None:
        """Cut the connection, so that the peer knows the answer is incomplete."""
        self._connection.abort()
        self._leave()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the peer has gone or the sink was closed; at once if it is closed already."""
        if self._closed:
            callback()
        else:
            self._callbacks.append(callback)

    # what carries it

    async def run(self) -> None:
        """Returns when the answer has ended and the client knows, or when the client has left."""
        try:
            async with TaskGroup() as group:
                tasks = group.spawn(self._write(), "websocket output"), group.spawn(self._read(), "websocket input")
                _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if rest and not self._gone:
                    await asyncio.wait(rest, timeout=LINGER_SECONDS)
                group.cancel()
        finally:
            self._leave()
            self._connection.close()

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, []
            try:
                for data in waiting:
                    self._connection.write(data)
                    await self._connection.drain()
                    self._buffered -= len(data)
            except ConnectionError:
                self._leave()
                return
            if not self._waiting:
                self._drained.set()
                if self._closed:
                    return

    async def _read(self) -> None:
        """The client says nothing that counts, but that it leaves."""
        try:
            while data := await self._connection.read():
                events = self._socket.receive(data)
                self._take()
                if any(isinstance(event, Closed) for event in events):
                    break
        except ProtocolError:
            self._socket.close(PROTOCOL_ERROR)
            self._take()
        except ConnectionError:
            self._gone = True
        self._left = True
        self._end()

    def _take(self) -> None:
        data = self._socket.take()
        if data:
            self._waiting.append(data)
            self._buffered += len(data)
            self._drained.clear()
            self._news.set()

    def _leave(self) -> None:
        self._gone = True
        self._drained.set()
        self._end()

    def _end(self) -> None:
        self._closed = True
        self._news.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

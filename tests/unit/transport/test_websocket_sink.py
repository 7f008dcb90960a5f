"""Streamed answers over WebSockets: what the client gets, and what both ends' leaving does."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from carob.api.user import UserInfo
from carob.base.ids import SeededRandomness
from carob.transport.http import Chunk, Connection, Request, Response, Sink
from carob.transport.memory import MemoryTransport
from carob.transport.websocket_sink import told_in_messages, told_in_pieces
from carob.wire.websocket import Closed, Piece, WebSocket, accept_key

RANDOM = SeededRandomness(1)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


class Client:
    """Asks for the answer `begin` over a WebSocket."""

    def __init__(self, tell: Callable[[Request, Response], Response], begin: Callable[[Sink], None]) -> None:
        self._transport = MemoryTransport(lambda request: tell(request, Response(stream=begin)), UserInfo("me"))
        self._socket = WebSocket(lambda: RANDOM.token(4))
        self._events: list[Piece | Closed] = []
        self.connection: Connection

    async def open(self, protocol: str = "") -> Response:
        headers = {"upgrade": "websocket", "sec-websocket-key": KEY, "sec-websocket-version": "13"}
        if protocol:
            headers["sec-websocket-protocol"] = protocol
        response, connection = await self._transport.upgrade(Request("GET", "/", headers=headers))
        if connection is not None:
            self.connection = connection
        return response

    async def message(self) -> Piece | Closed | None:
        """None: the connection ended."""
        while not self._events:
            data = await self.connection.read()
            if not data:
                return None
            self._events += self._socket.receive(data)
        return self._events.pop(0)

    def close(self) -> None:
        self._socket.close()
        self.connection.write(self._socket.take())


@pytest.mark.parametrize(("protocol", "text"), [("", False), ("binary.k8s.io", False), ("base64.binary.k8s.io", True)])
def test_bytes_come_after_an_empty_message(protocol: str, text: bool) -> None:
    def begin(sink: Sink) -> None:
        sink.write(b"one\n")
        sink.write(b"\xff\x00")
        sink.close()

    async def scenario() -> None:
        client = Client(told_in_pieces, begin)
        response = await client.open(protocol)
        assert response.status == 101
        assert dict(response.headers)["sec-websocket-accept"] == accept_key(KEY)
        assert dict(response.headers).get("sec-websocket-protocol", "") == protocol
        for expected in (b"", b"one\n", b"\xff\x00"):
            data = base64.b64encode(expected) if text else expected
            assert await client.message() == Piece(data, start=True, end=True, text=text)
        assert isinstance(await client.message(), Closed)
        client.close()
        assert await client.message() is None

    play(scenario())


def test_lines_are_messages() -> None:
    def begin(sink: Sink) -> None:
        sink.write(b"{}\n[]\n")
        sink.write(Chunk(b"1\n"))
        sink.close()

    async def scenario() -> None:
        client = Client(told_in_messages, begin)
        assert (await client.open()).status == 101
        for line in (b"{}\n", b"[]\n", b"1\n"):
            assert await client.message() == Piece(line, start=True, end=True, text=True)
        assert isinstance(await client.message(), Closed)

    play(scenario())


@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_leaves_ends_the_answer(politely: bool) -> None:
    async def scenario() -> None:
        begun: asyncio.Future[Sink] = asyncio.get_running_loop().create_future()
        client = Client(told_in_messages, begun.set_result)
        await client.open()
        ended = asyncio.Event()
        sink = await begun
        sink.on_close(ended.set)
        if politely:
            client.close()
            assert isinstance(await client.message(), Closed)
        else:
            client.connection.close()
        await ended.wait()
        sink.write(b"too late\n")
        with pytest.raises(ConnectionError):
            await sink.drain()

    play(scenario())


def test_a_slow_client_is_seen_and_an_aborted_answer_has_no_proper_end() -> None:
    async def scenario() -> None:
        begun: asyncio.Future[Sink] = asyncio.get_running_loop().create_future()
        client = Client(told_in_pieces, begun.set_result)
        await client.open()
        sink = await begun
        for _ in range(64):
            sink.write(b"x" * (1 << 16))
        assert sink.buffered > 2 << 20
        sink.abort()
        last = None
        while (message := await client.message()) is not None:
            last = message
        assert not isinstance(last, Closed)

    play(scenario())


def test_an_incomplete_or_unknown_handshake_is_refused() -> None:
    async def scenario() -> None:
        client = Client(told_in_pieces, lambda sink: sink.close())
        assert (await client.open("v4.channel.k8s.io")).status == 403
        answer = told_in_pieces(Request("GET", "/", headers={"upgrade": "websocket"}), Response())
        assert answer.status == 400

    play(scenario())

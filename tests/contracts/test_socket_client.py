"""The client's sockets against servers that behave in every way but the expected one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from carob.api.x509 import subject_and_expiry
from carob.apiserver.pki import PkiOptions, ensure_client, ensure_pki
from carob.base.clock import SystemClock
from carob.transport.client import SocketTransport, TokenFile
from carob.transport.http import Request, Response
from carob.transport.server import Server
from carob.transport.tls import client_context, server_context

GET = Request("GET", "/")
POST = Request("POST", "/", body=b"x")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """A server that answers each connection's requests with the next bytes of its script; None hangs up."""

    def __init__(self, *script: bytes | None) -> None:
        self.script = list(script)
        self.connections = 0
        self.requests: list[bytes] = []
        self.tasks: list[asyncio.Task[Any] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while self.script:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"Content-Length: 1\r\n" in head:
                    head += await reader.readexactly(1)
                self.requests.append(head)
                answer = self.script.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                if b"close" in answer:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(server: Scripted, **options: Any) -> AsyncIterator[SocketTransport]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    transport = SocketTransport(f"http://127.0.0.1:{port}/base/", **options)
    try:
        yield transport
    finally:
        await transport.close()
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*(task for task in server.tasks if task is not None))


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", b""),
    ],
)
def test_every_form_of_answer_is_read(answer: bytes, body: bytes) -> None:
    async def scenario() -> None:
        server = Scripted(answer, answer)
        async with serving(server) as transport:
            assert (await transport.send(GET)).body == body
            async with await transport.stream(GET) as stream:
                pieces = []
                while piece := await stream.read():
                    pieces.append(piece)
                assert b"".join(pieces) == body
        assert server.requests[0].startswith(b"GET /base/ HTTP/1.1\r\nHost: 127.0.0.1:")

    play(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"close: this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\nX: close",
    ],
)
@pytest.mark.parametrize("ask", [SocketTransport.send, SocketTransport.stream])
def test_what_is_no_whole_answer_is_a_connection_error(
    answer: bytes | None, ask: Callable[[SocketTransport, Request], Awaitable[Any]]
) -> None:
    async def scenario() -> None:
        async with serving(Scripted(answer)) as transport:
            with pytest.raises(ConnectionError):
                await read_whole(transport, ask)

    async def read_whole(transport: SocketTransport, ask: Callable[[SocketTransport, Request], Awaitable[Any]]) -> None:
        answered = await ask(transport, GET)
        if not isinstance(answered, Response):
            async with answered:
                while await answered.read():
                    pass

    play(scenario())


def test_connections_are_used_again_and_limited() -> None:
    async def scenario() -> None:
        server = Scripted(*[OK] * 60)
        async with serving(server, max_connections=4) as transport:
            await asyncio.gather(*(transport.send(GET) for _ in range(50)))
            assert server.connections <= 4
            before = server.connections
            for _ in range(10):
                async with await transport.stream(GET) as stream:
                    assert await stream.read() == b"ok"
                    assert await stream.read() == b""
            assert server.connections == before

    play(scenario())


def test_a_read_is_repeated_when_an_old_connection_turns_out_dead_and_a_write_is_not() -> None:
    async def scenario() -> None:
        server = Scripted(OK, None, OK)
        async with serving(server) as transport:
            await transport.send(GET)
            assert (await transport.send(GET)).body == b"ok"
            assert server.connections == 2
        server = Scripted(OK, None, OK)
        async with serving(server) as transport:
            await transport.send(GET)
            with pytest.raises(ConnectionError):
                await transport.send(POST)
            assert len(server.requests) == 2

    play(scenario())


def test_an_answer_that_nobody_asked_for_costs_the_connection() -> None:
    async def scenario() -> None:
        server = Scripted(OK + OK, OK)
        async with serving(server) as transport:
            assert (await transport.send(GET)).body == b"ok"
            assert (await transport.send(GET)).body == b"ok"
            assert server.connections == 2

    play(scenario())


def test_a_caller_that_gives_up_frees_its_turn() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def handler(request: Request) -> Response:
            if request.path == "/slow":
                await gate.wait()
            return Response(body=b"ok")

        async with Server(handler, SystemClock()) as server:
            port = await server.listen("127.0.0.1", 0)
            transport = SocketTransport(f"http://127.0.0.1:{port}", max_connections=1)
            slow = asyncio.create_task(transport.send(Request("GET", "/slow")))
            waiting = [asyncio.create_task(transport.send(GET)) for _ in range(3)]
            await asyncio.sleep(0.02)
            waiting[0].cancel()
            slow.cancel()
            assert [(await task).body for task in waiting[1:]] == [b"ok", b"ok"]
            assert (await transport.send(GET)).body == b"ok"
            gate.set()
            await transport.close()

    play(scenario())


@pytest.mark.slow
def test_a_body_that_nobody_reads_holds_the_server_back() -> None:
    async def scenario() -> None:
        async with Server(
            lambda request: Response(segments=iter([b"x" * 100_000] * 300), length=30_000_000), SystemClock()
        ) as server:
            port = await server.listen("127.0.0.1", 0)
            transport = SocketTransport(f"http://127.0.0.1:{port}")
            async with await transport.stream(GET) as stream:
                await asyncio.sleep(0.1)
                first = await stream.read()
                assert len(first) < 8_000_000
                total = len(first)
                while piece := await stream.read():
                    total += len(piece)
                assert total == 30_000_000
            async with await transport.stream(GET) as stream:
                await stream.read()
            assert (await transport.send(GET)).body == b"x" * 30_000_000
            await transport.close()

    play(scenario())


def test_addresses_that_are_none_are_refused() -> None:
    for url in ("127.0.0.1:6443", "https://127.0.0.1", "ftp://x"):
        with pytest.raises(ValueError, match=url):
            SocketTransport(url)


def test_a_token_file_that_vanishes_keeps_its_last_token(tmp_path: Any) -> None:
    path = tmp_path / "token"
    token = TokenFile(str(path))
    with pytest.raises(FileNotFoundError):
        token()
    path.write_text("one\n")
    assert token() == "one"
    path.unlink()
    assert token() == "one"


def test_new_credentials_are_shown_from_now_on_and_streams_end(tmp_path: Path) -> None:
    """A server judges a connection by the certificate that began it: it must not outlive that certificate."""
    pki = ensure_pki(tmp_path, PkiOptions(), SystemClock().now())
    both = tmp_path / "both.pem"

    def take(name: str) -> None:
        certificate, key = ensure_client(pki, name, name, (), SystemClock().now()).pem()
        both.write_bytes(certificate + key)

    def handle(request: Request) -> Response:
        assert request.peer_certificate is not None
        name = subject_and_expiry(request.peer_certificate)[0].encode()
        return Response(stream=lambda sink: sink.write(name)) if request.path == "/stream" else Response(body=name)

    async def scenario() -> None:
        context = server_context(
            str(pki.server.certificate), str(pki.server.key), client_ca_file=str(pki.ca.certificate)
        )
        server = Server(handle, SystemClock(), tls=context)
        port = await server.listen("127.0.0.1", 0)
        take("old")
        mine = client_context(ca_file=str(pki.ca.certificate), certificate_file=str(both))
        transport = SocketTransport(f"https://127.0.0.1:{port}", tls=mine)
        try:
            stream = await transport.stream(Request("GET", "/stream"))
            async with stream:
                assert await stream.read() == b"old"
                assert (await transport.send(GET)).body == b"old"
                take("new")
                mine.load_cert_chain(both)
                assert (await transport.send(GET)).body == b"old"
                transport.reconnect()
                assert (await transport.send(GET)).body == b"new"
                with pytest.raises(ConnectionError):
                    await stream.read()
        finally:
            await transport.close()
            await server.close()

    play(scenario())

"""What every road between a client and a `Handler` does: within the process, over TCP and over TLS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from carob.api.user import UserInfo
from carob.base.clock import SystemClock
from carob.transport.client import SocketTransport
from carob.transport.http import Chunk, Connection, Handler, Request, Response, Sink, Transport
from carob.transport.memory import MemoryTransport
from carob.transport.server import Server
from carob.transport.tls import client_context, server_context
from tests.fakes.certificates import make_certificates

USER = UserInfo("system:admin", ("system:masters",))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """See `make_certificates`."""
    return make_certificates(tmp_path_factory.mktemp("pki"))


Road = Callable[[Handler], contextlib.AbstractAsyncContextManager[Transport]]


@pytest.fixture(params=["memory", "tcp", "tls"])
def road(request: pytest.FixtureRequest, certificates: dict[str, str]) -> Road:
    """Opens a Transport to a handler."""

    @contextlib.asynccontextmanager
    async def memory(handler: Handler) -> AsyncIterator[Transport]:
        transport = MemoryTransport(handler, USER)
        try:
            yield transport
        finally:
            await transport.close()

    @contextlib.asynccontextmanager
    async def sockets(handler: Handler) -> AsyncIterator[Transport]:
        tls = request.param == "tls"
        server_tls = server_context(certificates["server"], certificates["server_key"]) if tls else None
        async with Server(handler, SystemClock(), tls=server_tls) as server:
            port = await server.listen("127.0.0.1", 0)
            scheme = "https" if tls else "http"
            context = client_context(ca_file=certificates["ca"]) if tls else None
            transport = SocketTransport(f"{scheme}://127.0.0.1:{port}", tls=context)
            try:
                yield transport
            finally:
                await transport.close()

    return memory if request.param == "memory" else sockets


Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a scenario on each of the event loops that carob may run on."""

    def runner(scenario: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await scenario

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(bounded())

    return runner


def test_a_body_is_answered_by_a_body(road: Road, run: Runner) -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(201, b'{"made":true}', headers=[("X-One", "1")])

    async def scenario() -> None:
        async with road(handler) as transport:
            request = Request("POST", "/a b/ü%2Fc", "x=1&y=%20", {"accept": "text/plain"}, b"hello")
            response = await transport.send(request)
        assert (response.status, response.body, response.content_type) == (201, b'{"made":true}', "application/json")
        assert ("x-one", "1") in response.headers
        (got,) = seen
        assert (got.method, got.query, got.body) == ("POST", "x=1&y=%20", b"hello")
        assert got.path == "/a b/ü%2Fc"
        assert got.raw_target == "/a%20b/%C3%BC%2Fc?x=1&y=%20"
        assert got.headers["accept"] == "text/plain"

    run(scenario())


def test_an_answer_may_take_its_time(road: Road, run: Runner) -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(body=request.path.encode())

    async def scenario() -> None:
        async with road(handler) as transport:
            answers = await asyncio.gather(*(transport.send(Request("GET", f"/{i}")) for i in range(100)))
        assert [a.body for a in answers] == [b"/%d" % i for i in range(100)]

    run(scenario())


def test_a_handler_that_raises_is_answered_with_500(road: Road, run: Runner) -> None:
    def handler(request: Request) -> Response:
        raise LookupError("a bug")

    async def scenario() -> None:
        async with road(handler) as transport:
            response = await transport.send(Request("GET", "/"))
            again = await transport.send(Request("GET", "/"))
        assert response.status == again.status == 500
        assert b'"InternalError"' in response.body
        assert b"a bug" not in response.body

    run(scenario())


def test_segments_arrive_whole(road: Road, run: Runner) -> None:
    piece = bytes(range(256)) * 512

    def handler(request: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            for _ in range(64):
                yield piece

        return Response(segments=pieces(), length=64 * len(piece))

    async def scenario() -> None:
        async with road(handler) as transport:
            response = await transport.send(Request("GET", "/"))
            async with await transport.stream(Request("GET", "/")) as stream:
                streamed = b"".join([data async for data in pieces_of(stream)])
        assert response.body == streamed == piece * 64

    run(scenario())


async def read_to_end(stream: Any) -> None:
    while await stream.read():
        pass


async def pieces_of(stream: Any) -> AsyncIterator[bytes]:
    while data := await stream.read():
        yield data


def test_a_stream_is_read_as_it_comes_and_ends_properly(road: Road, run: Runner) -> None:
    sinks: list[Sink] = []

    def handler(request: Request) -> Response:
        return Response(stream=sinks.append, headers=[("X-Kind", "stream")])

    async def scenario() -> None:
        async with road(handler) as transport:
            async with await transport.stream(Request("GET", "/")) as stream:
                assert stream.status == 200
                assert stream.headers["x-kind"] == "stream"
                (sink,) = sinks
                sink.write(b"one\n")
                assert await stream.read() == b"one\n"
                sink.write(Chunk(b"two\n"))
                sink.write(b"")
                sink.write(b"three\n")
                got = b""
                while got != b"two\nthree\n":
                    got += await stream.read()
                sink.write(b"last")
                sink.close()
                sink.close()
                sink.write(b"ignored")
                assert await stream.read() == b"last"
                assert await stream.read() == b""
                assert await stream.read() == b""
            assert (await transport.stream(Request("GET", "/"))).status == 200

    run(scenario())


def test_a_cut_stream_is_an_error_not_an_end(road: Road, run: Runner) -> None:
    sinks: list[Sink] = []

    def handler(request: Request) -> Response:
        return Response(stream=sinks.append)

    async def scenario() -> None:
        async with road(handler) as transport, await transport.stream(Request("GET", "/")) as stream:
            sinks[0].write(b"half")
            sinks[0].abort()
            with pytest.raises(ConnectionError):
                await read_to_end(stream)

    run(scenario())


def test_the_handler_hears_that_the_reader_left(road: Road, run: Runner) -> None:
    sinks: list[Sink] = []
    left: list[asyncio.Event] = []

    def handler(request: Request) -> Response:
        def begin(sink: Sink) -> None:
            sinks.append(sink)
            left.append(asyncio.Event())
            sink.on_close(left[0].set)

        return Response(stream=begin)

    async def scenario() -> None:
        async with road(handler) as transport:
            async with await transport.stream(Request("GET", "/")) as stream:
                sinks[0].write(b"x")
                assert await stream.read() == b"x"
            await left[0].wait()
            again: list[int] = []
            sinks[0].on_close(lambda: again.append(1))
            assert again == [1]
            with pytest.raises(ConnectionError):
                await sinks[0].drain()

    run(scenario())


def test_a_slow_reader_shows_in_buffered_and_holds_drain_back(road: Road, run: Runner) -> None:
    sinks: list[Sink] = []

    def handler(request: Request) -> Response:
        return Response(stream=sinks.append)

    async def scenario() -> None:
        async with road(handler) as transport, await transport.stream(Request("GET", "/")) as stream:
            sink = sinks[0]
            written = 0
            while sink.buffered < 1 << 20:
                sink.write(b"x" * 65536)
                written += 65536
                await asyncio.sleep(0)
                assert written < 64 << 20
            drained = asyncio.create_task(sink.drain())
            await asyncio.sleep(0.01)
            assert not drained.done()
            got = 0
            while got < written:
                got += len(await stream.read())
            await drained
            assert sink.buffered == 0

    run(scenario())


def test_an_upgrade_is_a_raw_road(road: Road, run: Runner) -> None:
    async def echo(connection: Connection) -> None:
        connection.write(b"hello ")
        while data := await connection.read():
            connection.write(data)
            await connection.drain()

    def handler(request: Request) -> Response:
        if request.headers.get("upgrade") != "echo":
            return Response(400, b"no")
        return Response(101, headers=[("Upgrade", "echo"), ("X-Choice", "this")], upgrade=echo)

    async def scenario() -> None:
        async with road(handler) as transport:
            declined, nothing = await transport.upgrade(Request("POST", "/", headers={"upgrade": "other"}))
            assert (declined.status, declined.body, nothing) == (400, b"no", None)
            response, connection = await transport.upgrade(Request("POST", "/", headers={"upgrade": "echo"}))
            assert response.status == 101
            assert ("x-choice", "this") in response.headers
            assert connection is not None
            sent = bytes(range(256)) * 4096 * 8
            sending = asyncio.create_task(send_all(connection, sent))
            got = bytearray()
            while len(got) < len(sent) + 6:
                data = await connection.read()
                assert data
                got += data
            await sending
            assert bytes(got) == b"hello " + sent
            connection.close()

    run(scenario())


async def send_all(connection: Connection, data: bytes) -> None:
    for start in range(0, len(data), 100_000):
        connection.write(data[start : start + 100_000])
        await connection.drain()


def test_the_client_sees_the_end_of_an_upgraded_road(road: Road, run: Runner) -> None:
    async def brief(connection: Connection) -> None:
        connection.write(b"bye")

    def handler(request: Request) -> Response:
        return Response(101, headers=[("Upgrade", "x")], upgrade=brief)

    async def scenario() -> None:
        async with road(handler) as transport:
            _, connection = await transport.upgrade(Request("GET", "/", headers={"upgrade": "x"}))
            assert connection is not None
            assert await connection.read() == b"bye"
            assert await connection.read() == b""
            connection.close()

    run(scenario())


def test_a_body_over_3_mib_is_refused(road: Road, run: Runner) -> None:
    def handler(request: Request) -> Response:
        return Response(body=b"%d" % len(request.body))

    async def scenario() -> None:
        async with road(handler) as transport:
            fits = await transport.send(Request("POST", "/", body=b"x" * 3 * 1024 * 1024))
            assert fits.body == b"3145728"
            refused = await transport.send(Request("POST", "/", body=b"x" * (3 * 1024 * 1024 + 1)))
            assert refused.status == 413
            assert b"Request entity too large: limit is 3145728" in refused.body

    run(scenario())


def test_head_has_no_body(road: Road, run: Runner) -> None:
    def handler(request: Request) -> Response:
        return Response(body=b"text", headers=[("X-A", "b")])

    async def scenario() -> None:
        async with road(handler) as transport:
            for _ in range(2):
                response = await transport.send(Request("HEAD", "/"))
                assert (response.status, response.body) == (200, b"")
                assert ("x-a", "b") in response.headers

    run(scenario())


def test_a_closed_transport_answers_nobody(road: Road, run: Runner) -> None:
    sinks: list[Sink] = []

    def handler(request: Request) -> Response:
        return Response(stream=sinks.append)

    async def scenario() -> None:
        async with road(handler) as transport, await transport.stream(Request("GET", "/")) as stream:
            await transport.close()
            with pytest.raises(ConnectionError):
                await stream.read()
            with pytest.raises(ConnectionError):
                await transport.send(Request("GET", "/"))

    run(scenario())


def test_client_certificates_reach_the_handler_and_strangers_do_not(certificates: dict[str, str], run: Runner) -> None:
    seen: list[bytes | None] = []

    def handler(request: Request) -> Response:
        seen.append(request.peer_certificate)
        return Response(body=request.headers.get("authorization", "").encode())

    async def scenario() -> None:
        tls = server_context(certificates["server"], certificates["server_key"], client_ca_file=certificates["ca"])
        async with Server(handler, SystemClock(), tls=tls) as server:
            url = f"https://localhost:{await server.listen('127.0.0.1', 0)}"

            async def ask(name: str = "") -> Response:
                context = client_context(
                    ca_file=certificates["ca"],
                    certificate_file=certificates[name] if name else "",
                    key_file=certificates[f"{name}_key"] if name else "",
                )
                transport = SocketTransport(url, tls=context, token="abc")
                try:
                    return await transport.send(Request("GET", "/"))
                finally:
                    await transport.close()

            assert (await ask()).body == b"Bearer abc"
            await ask("client")
            assert seen[0] is None
            assert seen[1] is not None
            with pytest.raises(ConnectionError):
                await ask("stranger")

    run(scenario())


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(certificates: dict[str, str], run: Runner) -> None:
    async def scenario() -> None:
        tls = server_context(certificates["server"], certificates["server_key"])
        async with Server(lambda request: Response(), SystemClock(), tls=tls) as server:
            port = await server.listen("127.0.0.1", 0)
            context = client_context(ca_file=certificates["other_ca"])
            with pytest.raises(ConnectionError, match="is not whom we trust"):
                await SocketTransport(f"https://127.0.0.1:{port}", tls=context).send(Request("GET", "/"))
            context = client_context(ca_file=certificates["ca"])
            wrong = SocketTransport(f"https://127.0.0.1:{port}", tls=context, server_name="elsewhere")
            with pytest.raises(ConnectionError, match="is not whom we trust"):
                await wrong.send(Request("GET", "/"))

    run(scenario())


def test_a_restarted_server_is_found_again(tmp_path: Path, run: Runner) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")

    def handler(request: Request) -> Response:
        return Response(body=request.headers["authorization"].encode())

    async def scenario() -> None:
        server = Server(handler, SystemClock())
        port = await server.listen("127.0.0.1", 0)
        transport = SocketTransport(f"http://127.0.0.1:{port}", token_file=str(token))
        assert (await transport.send(Request("GET", "/"))).body == b"Bearer first"
        await server.close()
        with pytest.raises(ConnectionRefusedError, match="refused the connection"):
            await transport.send(Request("GET", "/"))
        token.write_text("the second\n")
        async with Server(handler, SystemClock()) as server:
            await server.listen("127.0.0.1", port)
            assert (await transport.send(Request("POST", "/"))).body == b"Bearer the second"
            with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is taken"):
                await server.listen("127.0.0.1", port)
        await transport.close()

    run(scenario())

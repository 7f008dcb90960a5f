"""exec and port-forward over real sockets: client, TLS, API server's proxy, TLS, kubelet's streams, process or port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.transport.client import SocketTransport
from carob.transport.http import Request, Response
from carob.transport.proxies import pass_on_headers, proxy_upgrade
from carob.transport.server import Server
from carob.transport.stream_clients import open_port_forward, open_remote_command
from carob.transport.streams import serve_port_forward, serve_remote_command
from carob.transport.tls import client_context, server_context
from carob.wire.remotecommand import Streams, exit_code_of
from tests.fakes.certificates import make_certificates

RANDOM = SystemRandomness()
SIZE = 24 << 20


class Mirror:
    """A process that says what it hears, and exits with 7 when its input ends."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(4)

    async def read(self) -> tuple[int, bytes] | None:
        data = await self._pieces.get()
        return (1, data) if data else None

    async def write(self, data: bytes) -> None:
        await self._pieces.put(data)

    async def close_stdin(self) -> None:
        await self._pieces.put(b"")

    def resize(self, width: int, height: int) -> None:
        pass

    async def wait(self) -> int:
        return 7

    async def close(self) -> None:
        pass


class Socket:
    """A connection to a real port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        return await self._reader.read(1 << 16)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()


async def _dial(port: int) -> Socket:
    return Socket(*await asyncio.open_connection("127.0.0.1", port))


async def _start() -> Mirror:
    return Mirror()


def _kubelet(request: Request) -> Response:
    if request.path == "/portForward":
        return serve_port_forward(request, _dial)
    return serve_remote_command(request, Streams(stdin=True, stdout=True), _start)


@contextlib.asynccontextmanager
async def cluster(files: dict[str, str]) -> AsyncIterator[SocketTransport]:
    """The road of a client to an API server that passes upgrades on to a kubelet."""

    def tls_server() -> Any:
        return server_context(files["server"], files["server_key"], client_ca_file=files["ca"])

    def tls_client() -> Any:
        return client_context(ca_file=files["ca"], certificate_file=files["client"], key_file=files["client_key"])

    def api(request: Request) -> Awaitable[Response]:
        headers = pass_on_headers(request.headers)
        return proxy_upgrade(Request(request.method, request.path, request.query, headers), to_kubelet)

    async with Server(_kubelet, SystemClock(), tls=tls_server()) as kubelet:
        port = await kubelet.listen("127.0.0.1", 0)
        to_kubelet = SocketTransport(f"https://127.0.0.1:{port}", tls=tls_client())
        async with Server(api, SystemClock(), tls=tls_server()) as server:
            port = await server.listen("127.0.0.1", 0)
            client = SocketTransport(f"https://127.0.0.1:{port}", tls=tls_client())
            try:
                yield client
            finally:
                await client.close()
                await to_kubelet.close()


Play = Callable[[Callable[[SocketTransport], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Runs a scenario on each event loop."""
    files = make_certificates(tmp_path_factory.mktemp("pki"))

    def runner(scenario: Callable[[SocketTransport], Coroutine[Any, Any, None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60), cluster(files) as client:
                await scenario(client)

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(bounded())

    return runner


async def pour(write: Callable[[bytes], Awaitable[None]]) -> None:
    piece = bytes(range(256)) * 256
    for _ in range(SIZE // len(piece)):
        await write(piece)


@pytest.mark.slow
def test_much_goes_through_a_command_both_ways_unchanged(play: Play) -> None:
    async def scenario(client: SocketTransport) -> None:
        command = await open_remote_command(client, "/exec", "", RANDOM)

        async def feed() -> None:
            await pour(command.write)
            command.close_stdin()

        feeding = asyncio.create_task(feed())
        pieces = []
        while piece := await command.read():
            pieces.append(piece[1])
        await feeding
        assert b"".join(pieces) == bytes(range(256)) * (SIZE // 256)
        assert exit_code_of(command.status) == 7

    play(scenario)


@pytest.mark.slow
def test_much_goes_through_many_forwarded_connections_unchanged(play: Play) -> None:
    async def scenario(client: SocketTransport) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()

        target = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = target.sockets[0].getsockname()[1]
        async with await open_port_forward(client, "/portForward", RANDOM) as forward:

            async def one() -> int:
                connection = forward.connect(port)

                async def feed() -> None:
                    for _ in range(64):
                        await connection.write(b"x" * 16_000)
                    await connection.write_eof()

                feeding = asyncio.create_task(feed())
                got = 0
                while data := await connection.read():
                    got += len(data)
                await feeding
                await connection.close()
                return got

            assert await asyncio.gather(*(one() for _ in range(12))) == [64 * 16_000] * 12
            with pytest.raises(ConnectionError, match="error forwarding port 1 to the pod"):
                await forward.connect(1).read()
        target.close()
        await target.wait_closed()

    play(scenario)


def test_an_upgrade_that_nobody_knows_is_declined_through_the_proxy(play: Play) -> None:
    async def scenario(client: SocketTransport) -> None:
        declined, connection = await client.upgrade(Request("GET", "/exec", headers={"upgrade": "nonsense"}))
        assert (declined.status, connection) == (400, None)
        assert b"Upgrade request required" in declined.body

    play(scenario)

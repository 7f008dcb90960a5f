"""exec, attach and port-forward from a client through a proxy to a process or a port, within the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

import orjson
import pytest

from carob.api.status import ApiError
from carob.api.user import UserInfo
from carob.base.ids import SeededRandomness
from carob.base.tasks import TaskGroup
from carob.transport.http import Connection, Request, Response, Sink
from carob.transport.memory import MemoryTransport
from carob.transport.proxies import pass_on_headers, proxy_stream, proxy_upgrade
from carob.transport.stream_clients import RemoteCommand, open_port_forward, open_remote_command
from carob.transport.streams import serve_port_forward, serve_remote_command
from carob.wire.remotecommand import Streams, exit_code_of
from carob.wire.spdy import Data, Spdy
from tests.fakes.process import FakePort, FakeProcess

ALL = Streams(stdin=True, stdout=True, stderr=True)
RANDOM = SeededRandomness(1)


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


class Node:
    """A kubelet's streams behind an API server's proxy."""

    def __init__(self, streams: Streams = ALL, *, attach: bool = False) -> None:
        self.streams = streams
        self.attach = attach
        self.process = FakeProcess()
        self.failure: Exception | None = None
        self.ports: list[FakePort] = []
        self.dialled = asyncio.Event()
        self.kubelet = MemoryTransport(self._kubelet, UserInfo("api"))
        self.api = MemoryTransport(self._api, UserInfo("me"))
        self.seen: list[Request] = []

    def _kubelet(self, request: Request) -> Response:
        self.seen.append(request)
        if request.path == "/portForward":
            return serve_port_forward(request, self._dial, target="pod p")
        return serve_remote_command(request, self.streams, self._start, attach=self.attach)

    def _api(self, request: Request) -> Awaitable[Response]:
        headers = pass_on_headers(request.headers)
        return proxy_upgrade(Request(request.method, request.path, request.query, headers), self.kubelet)

    async def _start(self) -> FakeProcess:
        if self.failure is not None:
            raise self.failure
        return self.process

    async def _dial(self, port: int) -> FakePort:
        if port == 1:
            raise ConnectionRefusedError("nobody listens")
        self.ports.append(FakePort())
        self.dialled.set()
        return self.ports[-1]

    async def close(self) -> None:
        await self.api.close()
        await self.kubelet.close()

    async def exec(self) -> RemoteCommand:
        return await open_remote_command(self.api, "/exec", "command=x", RANDOM, {"authorization": "Bearer secret"})


async def read_all(command: RemoteCommand) -> dict[int, bytes]:
    got: dict[int, list[bytes]] = {1: [], 2: []}
    while piece := await command.read():
        got[piece[0]].append(piece[1])
    return {stream: b"".join(pieces) for stream, pieces in got.items()}


def test_a_command_is_run_fed_and_judged() -> None:
    async def scenario() -> None:
        node = Node()
        command = await node.exec()
        await command.write(b"in")
        await command.write(b"put")
        command.close_stdin()
        await node.process.stdin_closed.wait()
        assert node.process.stdin == b"input"
        await node.process.say(1, b"out")
        await node.process.say(2, b"err")
        await node.process.end(3)
        assert await read_all(command) == {1: b"out", 2: b"err"}
        assert exit_code_of(command.status) == 3
        await node.process.closed.wait()
        assert "authorization" not in node.seen[0].headers
        await node.close()

    play(scenario())


def test_attach_does_not_tell_the_exit_code() -> None:
    async def scenario() -> None:
        node = Node(attach=True)
        command = await node.exec()
        await node.process.end(3)
        await read_all(command)
        assert exit_code_of(command.status) == 0
        await node.close()

    play(scenario())


@pytest.mark.parametrize("attach", [False, True])
def test_a_command_that_cannot_start_says_why(attach: bool) -> None:
    async def scenario() -> None:
        node = Node(attach=attach)
        node.failure = LookupError("no such container")
        command = await node.exec()
        await read_all(command)
        doing = "attaching to" if attach else "executing command in"
        assert command.status["message"] == f"Internal error occurred: error {doing} container: no such container"
        assert exit_code_of(command.status) is None
        await node.close()

    play(scenario())


def test_sizes_reach_the_terminal() -> None:
    async def scenario() -> None:
        node = Node(Streams(stdin=True, stdout=True, tty=True))
        command = await node.exec()
        command.resize(80, 24)
        await node.process.changed.wait()
        await node.process.say(2, b"all of it is stdout")
        await node.process.end(0)
        assert (await read_all(command))[1] == b"all of it is stdout"
        assert node.process.sizes == [(80, 24)]
        await node.close()

    play(scenario())


def test_a_client_that_leaves_ends_the_streams() -> None:
    async def scenario() -> None:
        for leave in (RemoteCommand.close, lambda command: command._connection.abort()):
            node = Node()
            command = await node.exec()
            await node.process.say(1, b"x")
            assert await command.read() == (1, b"x")
            leave(command)
            await node.process.closed.wait()
            await node.close()

    play(scenario())


def test_a_process_that_does_not_read_holds_the_client_back_and_ends_all_the_same() -> None:
    async def scenario() -> None:
        node = Node()
        node.process.may_read.clear()
        command = await node.exec()
        written = 0

        async def pour() -> None:
            nonlocal written
            while True:
                await command.write(b"x" * 100_000)
                written += 100_000

        pouring = asyncio.create_task(pour())
        before, still = -1, 0
        # on a busy machine the buffers on the way take long to fill: it is held back when nothing moves any more
        while still < 10:
            await asyncio.sleep(0.02)
            still = still + 1 if written == before else 0
            before = written
            assert written < 8_000_000
        await node.process.end(0)
        await read_all(command)
        assert exit_code_of(command.status) == 0
        pouring.cancel()
        await asyncio.wait((pouring,))
        await node.close()

    play(scenario())


def test_a_client_that_does_not_read_holds_the_process_back() -> None:
    async def scenario() -> None:
        node = Node()
        command = await node.exec()
        said = 0

        async def chatter() -> None:
            nonlocal said
            for _ in range(400):
                await node.process.say(1, b"x" * 50_000)
                said += 50_000
            await node.process.end(0)

        talking = asyncio.create_task(chatter())
        await asyncio.sleep(0.1)
        assert said < 8_000_000
        assert len((await read_all(command))[1]) == 20_000_000
        await talking
        await node.close()

    play(scenario())


def test_spdy_clients_are_served_too() -> None:
    async def scenario() -> None:
        node = Node()
        headers = {"upgrade": "SPDY/3.1", "x-stream-protocol-version": "v5.channel.k8s.io, v4.channel.k8s.io"}
        response, connection = await node.api.upgrade(Request("POST", "/exec", headers=headers))
        assert ("x-stream-protocol-version", "v4.channel.k8s.io") in response.headers
        assert connection is not None
        spdy = Spdy(client=True)
        numbers = {spdy.open_stream({"streamType": n}): n for n in ("error", "stdin", "stdout", "stderr")}
        names = {name: number for number, name in numbers.items()}
        spdy.send(names["stdin"], b"input", fin=True)
        connection.write(spdy.take())
        await node.process.stdin_closed.wait()
        await node.process.say(1, b"out")
        await node.process.end(9)
        got = dict.fromkeys(names, b"")
        while data := await connection.read():
            for event in spdy.receive(data):
                if isinstance(event, Data):
                    got[numbers[event.stream]] += event.data
            if got["error"]:
                connection.close()
        assert node.process.stdin == b"input"
        assert got["stdout"] == b"out"
        assert exit_code_of(orjson.loads(got["error"])) == 9
        await node.close()

    play(scenario())


@pytest.mark.parametrize(
    ("method", "headers", "status", "says"),
    [
        ("GET", {}, 400, "Upgrade request required"),
        ("GET", {"upgrade": "websocket"}, 400, "handshake is incomplete"),
        ("POST", {"upgrade": "SPDY/3.1", "x-stream-protocol-version": "v9"}, 403, "server accepts [v4.channel.k8s.io"),
        (
            "GET",
            {"upgrade": "websocket", "sec-websocket-key": "k", "sec-websocket-protocol": "v9"},
            403,
            "are not supported: [v9]",
        ),
    ],
)
def test_requests_that_cannot_be_upgraded_say_why(method: str, headers: dict[str, str], status: int, says: str) -> None:
    async def scenario() -> None:
        node = Node()
        for path in ("/exec", "/portForward"):
            response, connection = await node.api.upgrade(Request(method, path, headers=headers))
            assert (response.status, connection) == (status, None)
            text = ApiError.from_body(status, response.body).message
            assert says.split("[v4")[0] in text
        await node.close()

    play(scenario())


def test_a_request_for_no_stream_is_refused() -> None:
    async def scenario() -> None:
        with pytest.raises(ApiError, match="at least 1 of stdin, stdout, stderr"):
            await Node(Streams()).exec()

    play(scenario())


def test_ports_are_forwarded_side_by_side() -> None:
    async def scenario() -> None:
        node = Node()
        async with await open_port_forward(node.api, "/portForward", RANDOM) as forward:
            one, two, refused = forward.connect(80), forward.connect(80), forward.connect(1)
            await one.write(b"one")
            await two.write(b"two")
            await one.write_eof()
            with pytest.raises(ConnectionError, match="error forwarding port 1 to pod p: nobody listens"):
                await refused.read()
            await node.ports[0].eof.wait()
            assert (node.ports[0].got, node.ports[1].got) == (b"one", b"two")
            node.ports[0].answers.put_nowait(b"answer")
            node.ports[0].answers.put_nowait(b"")
            assert await one.read() == b"answer"
            assert await one.read() == b""
            await node.ports[0].closed.wait()
            await two.close()
            await node.ports[1].closed.wait()
            await one.close()
            await refused.close()
        await node.close()

    play(scenario())


def test_leaving_ends_every_forwarded_connection() -> None:
    async def scenario() -> None:
        node = Node()
        async with await open_port_forward(node.api, "/portForward", RANDOM) as forward:
            forward.connect(80)
            await node.dialled.wait()
        await node.ports[0].closed.wait()
        forward = await open_port_forward(node.api, "/portForward", RANDOM)
        async with forward:
            await node.kubelet.close()
            await forward.wait_lost()
            with pytest.raises(ConnectionError, match="lost connection to pod"):
                forward.connect(80)
        await node.close()

    play(scenario())


def test_the_old_websocket_form_forwards_one_connection_a_port() -> None:
    async def scenario() -> None:
        from carob.wire.websocket import Closed, Piece, WebSocket

        node = Node()
        headers = {"upgrade": "websocket", "sec-websocket-key": "k", "sec-websocket-protocol": "v4.channel.k8s.io"}
        declined, _ = await node.api.upgrade(Request("GET", "/portForward", "ports=x", headers))
        assert declined.status == 400
        _, connection = await node.api.upgrade(Request("GET", "/portForward", "ports=80", headers))
        assert connection is not None
        peer = WebSocket(lambda: b"abcd")
        peer.send(b"\0hello")
        connection.write(peer.take())
        await node.dialled.wait()
        while node.ports[0].got != b"hello":
            await node.ports[0].changed.wait()
        node.ports[0].answers.put_nowait(b"hi")
        node.ports[0].answers.put_nowait(b"")
        events: list[Any] = []
        while not any(isinstance(event, Closed) for event in events):
            events += peer.receive(await connection.read())
        assert [e.data for e in events if isinstance(e, Piece)] == [b"\0P\0", b"\1P\0", b"\0hi"]
        connection.close()
        await node.close()

    play(scenario())


def test_streams_are_passed_on_while_they_are_made() -> None:
    async def scenario() -> None:
        sinks: list[Sink] = []
        backend = MemoryTransport(
            lambda request: Response(stream=sinks.append, content_type="text/plain"), UserInfo("a")
        )
        async with TaskGroup() as group:
            front = MemoryTransport(lambda request: proxy_stream(request, backend, group.spawn), UserInfo("b"))
            for end in ("close", "abort", "leave"):
                async with await front.stream(Request("GET", "/log")) as stream:
                    assert stream.headers["content-type"] == "text/plain"
                    sinks[-1].write(b"line\n")
                    assert await stream.read() == b"line\n"
                    if end == "close":
                        sinks[-1].close()
                        assert await stream.read() == b""
                    elif end == "abort":
                        sinks[-1].abort()
                        with pytest.raises(ConnectionError):
                            await stream.read()
                gone = asyncio.Event()
                sinks[-1].on_close(gone.set)
                await gone.wait()

    play(scenario())


def test_what_the_other_server_said_last_still_arrives() -> None:
    async def scenario() -> None:
        async def brief(connection: Connection) -> None:
            connection.write(b"x" * 3_000_000)
            connection.write(b"last words")

        backend = MemoryTransport(lambda request: Response(101, upgrade=brief), UserInfo("a"))
        front = MemoryTransport(lambda request: proxy_upgrade(request, backend), UserInfo("b"))
        _, connection = await front.upgrade(Request("GET", "/"))
        assert connection is not None
        connection.write(b"still talking" * 100_000)
        got = b""
        while data := await connection.read():
            got += data
        assert got.endswith(b"last words")
        assert len(got) == 3_000_010
        await front.close()
        await backend.close()

    play(scenario())


def test_a_process_that_closed_its_input_does_not_end_the_session() -> None:
    async def scenario() -> None:
        class Deaf(FakeProcess):
            async def write(self, data: bytes) -> None:
                self.changed.set()
                raise BrokenPipeError

        node = Node()
        node.process = Deaf()
        command = await node.exec()
        await command.write(b"x")
        await node.process.changed.wait()
        await command.write(b"y")
        await node.process.say(1, b"out")
        await node.process.end(0)
        assert (await read_all(command))[1] == b"out"
        await node.close()

    play(scenario())

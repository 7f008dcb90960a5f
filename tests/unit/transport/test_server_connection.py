"""The server's protocol, byte by byte, without a socket: order, limits, refusals, streams, hand-overs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.base.clock import VirtualClock
from carob.transport.http import Chunk, Connection, Handler, Request, Response, Sink
from carob.transport.server import Limits, Server
from carob.transport.server_connection import ServerConnection
from tests.fakes.wire_transport import WireTransport

SMALL = Limits(head_bytes=2000, body_bytes=100, head_seconds=0.05, idle_seconds=0.05, body_seconds=0.05)


class Peer:
    """A client on the wire."""

    def __init__(self, handler: Handler, limits: Limits | None = None, *, tls: bool = False, **said: Any) -> None:
        """`said`: what the server says in every answer."""
        self.server = Server(handler, VirtualClock(), limits=limits, **said)
        self.wire = WireTransport(tls=tls)
        self.wire.connect(ServerConnection(self.server))

    def say(self, data: bytes) -> None:
        self.wire.protocol.data_received(data)

    async def hear(self) -> bytes:
        for _ in range(10):
            await asyncio.sleep(0)
        return re.sub(rb"Date: [^\r]*\r\n", b"", self.wire.take())


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


def echo(request: Request) -> Response:
    return Response(body=f"{request.method} {request.raw_target} ".encode() + request.body, content_type="text/plain")


def answer(body: bytes, *, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status,
        extra,
        len(body),
        body,
    )


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode()


PIPELINE = (
    get("/one?x=1")
    + b"POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    + b"POST /three HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    + get("/four", "Connection: close")
)
PIPELINED = (
    answer(b"GET /one?x=1 ")
    + answer(b"POST /two hello")
    + answer(b"POST /three abcde")
    + answer(b"GET /four ", extra=b"Connection: close\r\n")
)


@pytest.mark.slow
@given(st.lists(st.integers(0, len(PIPELINE)), max_size=6), st.booleans())
def test_any_cut_of_pipelined_requests_gives_the_same_answers(cuts: list[int], later: bool) -> None:
    async def scenario() -> None:
        async def slow(request: Request) -> Response:
            await asyncio.sleep(0)
            return echo(request)

        peer = Peer(slow if later else echo)
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(PIPELINE)], strict=True):
            peer.say(PIPELINE[start:end])
        heard = b""
        while not peer.wire.closed:
            heard += await peer.hear()
        assert heard + await peer.hear() == PIPELINED

    play(scenario())


def test_a_slow_answer_keeps_later_requests_waiting_and_bounded() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def handler(request: Request) -> Response:
            if request.path == "/slow":
                await gate.wait()
            return echo(request)

        peer = Peer(handler)
        peer.say(get("/slow"))
        peer.say(get("/next") * 10)
        assert await peer.hear() == b""
        assert peer.wire.is_reading()
        peer.say(b"x" * 0 + get("/more") * 5000)
        assert not peer.wire.is_reading()
        gate.set()
        heard = b""
        while heard.count(b"HTTP/1.1 200") < 5011:
            heard += await peer.hear()
        assert heard.startswith(answer(b"GET /slow ") + answer(b"GET /next "))
        assert peer.wire.is_reading()

    play(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "status", "says"),
    [
        (b"nonsense\r\n\r\n", b"400", b"not valid HTTP"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400", b"missing required Host header"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", b"413", b"limit is 100"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400", b"not valid HTTP"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n96\r\n" + b"x" * 150,
            b"413",
            b"limit is 100",
        ),
        (b"GET /" + b"a" * 3000, b"431", b"Too Large"),
        (b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 400, b"431", b"Too Large"),
    ],
)
def test_what_cannot_be_served_is_refused_and_the_connection_ends(
    request_bytes: bytes, status: bytes, says: bytes
) -> None:
    async def scenario() -> None:
        peer = Peer(echo, SMALL)
        peer.say(request_bytes)
        heard = await peer.hear()
        assert heard.startswith(b"HTTP/1.1 " + status)
        assert b"Connection: close\r\n" in heard
        assert says in heard
        assert b'"kind":"Status"' in heard
        # what still comes is thrown away, so that the refusal can be read; then it ends
        peer.say(b"y" * 10_000)
        peer.wire.protocol.eof_received()
        assert await peer.hear() == b""

    play(scenario())


def test_a_client_that_waits_for_leave_to_send_gets_it() -> None:
    async def scenario() -> None:
        peer = Peer(echo, SMALL)
        peer.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await peer.hear() == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.say(b"hi")
        assert await peer.hear() == answer(b"POST / hi")
        peer.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\nExpect: 100-continue\r\n\r\n")
        assert (await peer.hear()).startswith(b"HTTP/1.1 413")

    play(scenario())


def test_repeated_headers_are_joined_and_names_are_lower_case() -> None:
    async def scenario() -> None:
        seen: list[Request] = []

        def handler(request: Request) -> Response:
            seen.append(request)
            return Response(204)

        peer = Peer(handler)
        peer.say(get("http://x/a%20b%2Fc?q=%20", "X-One: 1", "x-ONE: 2"))
        assert await peer.hear() == b"HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n"
        assert seen[0].headers["x-one"] == "1, 2"
        assert (seen[0].path, seen[0].query) == ("/a b%2Fc", "q=%20")
        assert seen[0].peer_address == "127.0.0.1"

    play(scenario())


def test_a_header_cannot_be_forged_through_a_value() -> None:
    async def scenario() -> None:
        peer = Peer(lambda request: Response(headers=[("Warning", "a\r\nSet-Cookie: b")]))
        peer.say(get("/"))
        assert b"Warning: a  Set-Cookie: b\r\n" in await peer.hear()

    play(scenario())


def test_old_clients_get_one_answer_and_streams_without_chunks() -> None:
    async def scenario() -> None:
        def handler(request: Request) -> Response:
            def begin(sink: Sink) -> None:
                sink.write(Chunk(b"one"))
                sink.write(b"two")
                sink.close()

            return Response(stream=begin, content_type="text/plain")

        peer = Peer(handler)
        peer.say(b"GET / HTTP/1.0\r\n\r\n")
        heard = await peer.hear()
        assert heard == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nonetwo"
        assert peer.wire.closed

    play(scenario())


def test_pieces_of_one_turn_leave_together_and_the_connection_goes_on() -> None:
    async def scenario() -> None:
        sinks: list[Sink] = []

        def handler(request: Request) -> Response:
            return Response(stream=sinks.append) if request.path == "/s" else echo(request)

        peer = Peer(handler)
        peer.say(get("/s"))
        assert (await peer.hear()).endswith(b"Transfer-Encoding: chunked\r\n\r\n")
        shared = Chunk(b"event")
        sinks[0].write(shared)
        sinks[0].write(b"x")
        assert peer.wire.take() == b""
        assert sinks[0].buffered == 16
        assert await peer.hear() == b"5\r\nevent\r\n1\r\nx\r\n"
        sinks[0].close()
        peer.say(get("/after"))
        assert await peer.hear() == b"0\r\n\r\n" + answer(b"GET /after ")

    play(scenario())


def test_segments_wait_for_a_slow_peer() -> None:
    async def scenario() -> None:
        made = 0

        def pieces() -> Iterator[bytes]:
            nonlocal made
            for _ in range(100):
                made += 1
                yield b"x" * 50_000

        peer = Peer(lambda request: Response(segments=pieces(), length=5_000_000))
        peer.wire.peer_is_slow = True
        peer.say(get("/"))
        total = len(await peer.hear())
        assert made < 10
        while made < 100 or peer.wire.waiting:
            total += len(await peer.hear())
        assert total > 5_000_000
        assert not peer.wire.closed

    play(scenario())


@pytest.mark.parametrize("length", [1, 10])
def test_an_answer_of_the_wrong_length_is_cut(length: int, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        peer = Peer(lambda request: Response(segments=iter([b"abc", b"de"]), length=length))
        peer.say(get("/"))
        await peer.hear()
        assert peer.wire.aborted

    play(scenario())
    assert "off its announced length" in caplog.text


def test_the_bytes_behind_an_upgrade_are_handed_over() -> None:
    async def scenario() -> None:
        got: list[bytes] = []

        async def run(connection: Connection) -> None:
            while data := await connection.read():
                got.append(data)
            connection.write(b"bye")

        async def handler(request: Request) -> Response:
            await asyncio.sleep(0)
            return Response(101, headers=[("Upgrade", "x")], upgrade=run)

        peer = Peer(handler)
        peer.say(get("/", "Connection: Upgrade", "Upgrade: x") + b"early")
        peer.say(b"also")
        heard = await peer.hear()
        assert heard == b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
        peer.say(b"later")
        await peer.hear()
        assert b"".join(got) == b"earlyalsolater"
        assert peer.wire.protocol.eof_received()
        assert await peer.hear() == b"bye"
        assert peer.wire.closed

    play(scenario())


def test_a_declined_upgrade_leaves_the_connection_usable() -> None:
    async def scenario() -> None:
        peer = Peer(echo)
        peer.say(get("/up", "Connection: Upgrade", "Upgrade: h2c") + get("/next"))
        assert await peer.hear() == answer(b"GET /up ") + answer(b"GET /next ")

    play(scenario())


def test_who_leaves_before_the_answer_is_told_to_what_stands_behind_it() -> None:
    async def scenario() -> None:
        told: list[str] = []
        gate = asyncio.Event()

        async def run(connection: Connection) -> None:
            told.append(f"upgrade {await connection.read()!r}")

        async def handler(request: Request) -> Response:
            try:
                await gate.wait()
            finally:
                told.append("cancelled")
            return Response()

        peer = Peer(handler)
        peer.say(get("/"))
        await peer.hear()
        peer.wire.protocol.connection_lost(None)
        await peer.hear()
        assert told == ["cancelled"]

        def closing(make: Callable[[], Response]) -> Handler:
            def late(request: Request) -> Response:
                peer.wire.closed = True
                return make()

            return late

        peer = Peer(closing(lambda: Response(101, upgrade=run)))
        peer.say(get("/", "Connection: Upgrade", "Upgrade: x"))
        await peer.hear()
        peer = Peer(closing(lambda: Response(stream=lambda sink: sink.on_close(lambda: told.append("stream")))))
        peer.say(get("/"))
        assert told[1:] == ["upgrade b''", "stream"]

    play(scenario())


def test_silence_is_limited() -> None:
    async def scenario() -> None:
        for opening in (b"", b"GET /", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", get("/done")):
            peer = Peer(echo, SMALL)
            peer.say(opening)
            await peer.wire.gone.wait()

    play(scenario())


def test_a_busy_server_refuses_more_connections() -> None:
    async def scenario() -> None:
        server = Server(echo, VirtualClock(), limits=Limits(connections=1))
        one, two = WireTransport(), WireTransport()
        one.connect(ServerConnection(server))
        two.connect(ServerConnection(server))
        assert two.aborted
        assert not one.closed
        await server.close()
        assert one.closed

    play(scenario())


def test_closing_lets_answers_end_and_ends_streams() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        sinks: list[Sink] = []

        async def handler(request: Request) -> Response:
            if request.path == "/stream":
                return Response(stream=sinks.append)
            await gate.wait()
            return echo(request)

        server = Server(handler, VirtualClock())
        wires = []
        for path in ("/slow", "/stream"):
            wire = WireTransport()
            wire.connect(ServerConnection(server))
            wire.protocol.data_received(get(path))
            wires.append(wire)
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0.01)
        assert wires[1].written.endswith(b"0\r\n\r\n")
        assert wires[1].closed
        assert not wires[0].closed
        gate.set()
        await closing
        assert b"Connection: close\r\n" in wires[0].written
        assert wires[0].written.endswith(b"GET /slow ")

    play(scenario())


def test_closing_cuts_what_does_not_end() -> None:
    async def scenario() -> None:
        async def handler(request: Request) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

        peer = Peer(handler)
        peer.say(get("/"))
        await peer.server.close(grace_seconds=0.01)
        assert peer.wire.aborted

    play(scenario())


def test_answers_say_what_caches_may_do_with_them() -> None:
    """Those that know better say it themselves, and it is said once."""

    def handler(request: Request) -> Response:
        headers = [("Cache-Control", "public")] if request.path == "/public" else [("Vary", "Accept")]
        return Response(content_type="text/plain", headers=headers)

    async def scenario() -> None:
        peer = Peer(handler, cache_control="no-cache, private")
        for path, expected in (("/", b"no-cache, private"), ("/public", b"public"), ("/", b"no-cache, private")):
            peer.say(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
            head = await peer.hear()
            assert re.findall(rb"Cache-Control: ([^\r]*)\r\n", head) == [expected]

    play(scenario())


def test_an_answer_can_be_named() -> None:
    """By the client's own word, cut to what upstream takes, else by a number that no other answer has."""

    def handler(request: Request) -> Response:
        return Response(headers=[("Audit-Id", "the log's")] if request.path == "/logged" else [])

    async def scenario() -> None:
        peer = Peer(handler, audit_ids="00000000-0000-4000-8000-fffffffffffe")
        ours = b"00000000-0000-4000-8000-"
        for path, header, expected in (
            ("/", b"", ours + b"ffffffffffff"),
            ("/", b"Audit-ID: mine\r\n", b"mine"),
            ("/", b"Audit-ID: %b\r\n" % (b"x" * 70), b"x" * 64),
            ("/logged", b"", b"the log's"),
            ("/", b"", ours + b"000000000000"),
        ):
            peer.say(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path.encode(), header))
            assert re.findall(rb"Audit-Id: ([^\r]*)\r\n", await peer.hear()) == [expected]

    play(scenario())

"""exec and attach in bytes: the same session whichever protocol carries it, at every cut of the bytes."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.wire.errors import ProtocolError
from carob.wire.remotecommand import (
    Finished,
    Left,
    Output,
    Ready,
    Resized,
    SpdyServerSession,
    Stdin,
    StdinClosed,
    Streams,
    WebSocketClientSession,
    WebSocketServerSession,
    exit_code_of,
    exited,
    failed,
    success,
)
from carob.wire.spdy import Data, Spdy, StreamAccepted
from carob.wire.websocket import Closed, Piece, WebSocket

ALL = Streams(stdin=True, stdout=True, stderr=True)
TTY = Streams(stdin=True, stdout=True, tty=True)


def masks() -> bytes:
    return b"\x11\x22\x33\x44"


class SpdyClient:
    """What kubectl does over SPDY."""

    def __init__(self, names: list[str]) -> None:
        self.spdy = Spdy(client=True)
        self.numbers = {name: self.spdy.open_stream({"streamType": name}) for name in names}
        self.got = dict.fromkeys(names, b"")
        self.ended: list[str] = []

    def receive(self, wire: bytes) -> None:
        names = {number: name for name, number in self.numbers.items()}
        for event in self.spdy.receive(wire):
            if isinstance(event, Data):
                self.got[names[event.stream]] += event.data
                if event.fin:
                    self.ended.append(names[event.stream])


def joined(events: list[Any]) -> list[Any]:
    """Adjacent bytes of one stream as one event."""
    out: list[Any] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Stdin) and isinstance(last, Stdin):
            out[-1] = Stdin(last.data + event.data)
        elif isinstance(event, Output) and isinstance(last, Output) and last.stream == event.stream:
            out[-1] = Output(event.stream, last.data + event.data)
        else:
            out.append(event)
    return out


def test_over_spdy_the_command_starts_when_every_stream_is_there() -> None:
    client = SpdyClient(["error", "stdin", "stdout"])
    server = SpdyServerSession("v4.channel.k8s.io", ALL)
    assert server.receive(client.spdy.take()) == []
    assert server.missing == {"stderr"}
    client.numbers["stderr"] = client.spdy.open_stream({"streamType": "stderr"})
    client.got["stderr"] = b""
    assert server.receive(client.spdy.take()) == [Ready()]
    accepted = [e for e in client.spdy.receive(server.take()) if isinstance(e, StreamAccepted)]
    assert len(accepted) == 4

    client.spdy.send(client.numbers["stdin"], b"in", fin=True)
    assert server.receive(client.spdy.take()) == [Stdin(b"in"), StdinClosed()]
    server.output(1, b"out")
    server.output(2, b"err")
    server.finish(exited(3))
    server.finish(success())
    server.output(1, b"late")
    client.receive(server.take())
    assert (client.got["stdout"], client.got["stderr"]) == (b"out", b"err")
    status = orjson.loads(client.got["error"])
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert set(client.ended) >= {"stdout", "stderr", "error"}


@pytest.mark.parametrize("protocol", ["channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io"])
def test_older_spdy_clients_get_the_failure_as_text(protocol: str) -> None:
    client = SpdyClient(["error", "stdout"])
    server = SpdyServerSession(protocol, Streams(stdout=True))
    assert server.receive(client.spdy.take()) == [Ready()]
    server.finish(exited(1))
    client.receive(server.take())
    assert client.got["error"] == b"command terminated with non-zero exit code: exit status 1"


def test_a_terminal_has_a_resize_stream_and_no_stderr() -> None:
    client = SpdyClient(["error", "stdin", "stdout", "resize"])
    server = SpdyServerSession("v4.channel.k8s.io", Streams(True, True, True, True))
    client.spdy.send(client.numbers["resize"], b'{"Width":80,"Height":24}\n{"Width":1')
    client.spdy.send(client.numbers["resize"], b'00,"Height":30}\n')
    assert server.receive(client.spdy.take()) == [Ready(), Resized(80, 24), Resized(100, 30)]


def test_unknown_and_repeated_streams_are_reset() -> None:
    client = SpdyClient(["error", "stdout"])
    client.spdy.open_stream({"streamType": "stdout"})
    client.spdy.open_stream({"streamType": "other"})
    server = SpdyServerSession("v4.channel.k8s.io", Streams(stdout=True))
    assert server.receive(client.spdy.take()) == [Ready()]
    client.spdy.receive(server.take())
    assert client.spdy.open_streams == 2


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("stdin"), st.binary(min_size=1, max_size=300)),
            st.tuples(st.just("resize"), st.integers(1, 65535), st.integers(1, 65535)),
        ),
        max_size=8,
    ),
    st.data(),
)
@pytest.mark.slow
def test_over_websocket_any_cut_gives_the_same_events(script: list[Any], data: st.DataObject) -> None:
    client = WebSocketClientSession("v5.channel.k8s.io", masks)
    expected: list[Any] = []
    for act in script:
        if act[0] == "stdin":
            client.stdin(act[1])
            expected.append(Stdin(act[1]))
        else:
            client.resize(act[1], act[2])
            expected.append(Resized(act[1], act[2]))
    client.close_stdin()
    client.close()
    wire = client.take()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    server = WebSocketServerSession("v5.channel.k8s.io", TTY)
    got = list(
        itertools.chain(
            *(server.receive(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)),
        )
    )
    assert joined(got) == joined([*expected, StdinClosed(), Left()])


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_over_websocket_the_client_reads_output_and_status(protocol: str) -> None:
    server = WebSocketServerSession(protocol, ALL)
    client = WebSocketClientSession(protocol, masks)
    server.open()
    server.output(1, b"out" * 50_000)
    server.output(2, b"err")
    server.finish(exited(7))
    events = joined(client.receive(server.take()))
    assert events[:2] == [Output(1, b"out" * 50_000), Output(2, b"err")]
    assert isinstance(events[2], Finished)
    assert exit_code_of(events[2].status) == 7
    assert events[3:] == [Left()]


def test_streams_that_were_not_asked_for_are_not_sent() -> None:
    server = WebSocketServerSession("v4.channel.k8s.io", Streams(stderr=True))
    client = WebSocketClientSession("v4.channel.k8s.io", masks)
    server.open()
    server.output(1, b"out")
    server.output(2, b"err")
    assert client.receive(server.take()) == [Output(2, b"err")]
    client.stdin(b"unasked")
    assert server.receive(client.take()) == []


def test_base64_messages_carry_a_digit_and_text() -> None:
    peer = WebSocket(masks)
    server = WebSocketServerSession("v4.base64.channel.k8s.io", ALL)
    server.open()
    server.output(1, b"\xff\x00")
    peer.send(b"0" + base64.b64encode(b"\x01\x02"), text=True)
    assert server.receive(peer.take()) == [Stdin(b"\x01\x02")]
    server.finish(success())
    events = peer.receive(server.take())
    assert [e.data for e in events if isinstance(e, Piece)][:2] == [b"1", b"1/wA="]
    assert isinstance(events[-1], Closed)
    peer = WebSocket(masks)
    peer.send(b"0%%%", text=True)
    with pytest.raises(ProtocolError):
        WebSocketServerSession("v4.base64.channel.k8s.io", ALL).receive(peer.take())


def test_the_oldest_websocket_form_says_nothing_about_success() -> None:
    server = WebSocketServerSession("", Streams(stdout=True))
    peer = WebSocket(masks)
    server.open()
    server.finish(success())
    assert [type(e) for e in peer.receive(server.take())] == [Piece, Closed]


@pytest.mark.parametrize("size", [b'{"Width":"x","Height":1}', b'{"Width":[],"Height":1}', b" " * 5000, b"{bad}"])
def test_a_malformed_size_is_refused(size: bytes) -> None:
    peer = WebSocket(masks)
    peer.send(b"\x04" + size)
    with pytest.raises(ProtocolError):
        WebSocketServerSession("v4.channel.k8s.io", TTY).receive(peer.take())


def test_sizes_that_no_terminal_has_are_ignored() -> None:
    peer = WebSocket(masks)
    peer.send(b'\x04{"Width":0,"Height":24}{"Width":99999,"Height":24}')
    assert WebSocketServerSession("v4.channel.k8s.io", TTY).receive(peer.take()) == []


def test_exit_codes_are_read_from_a_status() -> None:
    assert exit_code_of(success()) == exit_code_of(exited(0)) == 0
    assert exit_code_of(exited(137)) == 137
    assert exit_code_of(failed("no such container")) is None
    assert exit_code_of({"reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode"}]}}) is None

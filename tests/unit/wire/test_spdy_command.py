"""exec and attach from the client's end over SPDY, against our own server's end and as other servers behave."""

from __future__ import annotations

import orjson
import pytest

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
    exit_code_of,
    exited,
    failed,
    success,
)
from carob.wire.spdy import Spdy, StreamOpened
from carob.wire.spdy_command import PROTOCOL, SpdyClientSession

ALL = Streams(stdin=True, stdout=True, stderr=True)


def test_a_command_reads_says_and_ends() -> None:
    client, server = SpdyClientSession(ALL), SpdyServerSession(PROTOCOL, ALL)
    client.stdin(b"in")
    client.close_stdin()
    client.stdin(b"too late")
    client.resize(80, 24)
    assert server.receive(client.take()) == [Ready(), Stdin(b"in"), StdinClosed()]
    server.output(1, b"out")
    server.output(2, b"err")
    server.finish(exited(3))
    assert client.receive(server.take()) == [Output(1, b"out"), Output(2, b"err"), Finished(exited(3)), Left()]


def test_a_terminal_has_a_size_and_no_stderr() -> None:
    tty = Streams(stdout=True, stderr=True, tty=True)
    client, server = SpdyClientSession(tty), SpdyServerSession(PROTOCOL, tty)
    client.resize(80, 24)
    client.stdin(b"nobody asked for input")
    assert server.receive(client.take()) == [Ready(), Resized(80, 24)]
    server.output(2, b"both")
    server.finish(success())
    assert client.receive(server.take()) == [Finished(success()), Left()]


class Peer:
    """Another server: it accepts every stream, and sends what a test wants."""

    def __init__(self, client: SpdyClientSession) -> None:
        self.spdy = Spdy(client=False)
        opened = [event for event in self.spdy.receive(client.take()) if isinstance(event, StreamOpened)]
        self.numbers = {event.headers["streamtype"]: event.stream for event in opened}

    def say(self, name: str, data: bytes, *, fin: bool = False) -> bytes:
        self.spdy.send(self.numbers[name], data, fin=fin)
        return self.spdy.take()

    def end(self, *names: str) -> bytes:
        return b"".join(self.say(name, b"", fin=True) for name in names)


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_status_may_come_in_pieces_and_without_an_end(cut: int) -> None:
    client = SpdyClientSession(ALL)
    peer = Peer(client)
    wire = peer.end("stdout", "stderr") + peer.say("error", orjson.dumps(exited(7)))
    events = [event for at in range(0, len(wire), cut) for event in client.receive(wire[at : at + cut])]
    finished, left = events
    assert isinstance(finished, Finished)
    assert exit_code_of(finished.status) == 7
    assert left == Left()


def test_output_that_comes_after_the_status_is_not_lost() -> None:
    client = SpdyClientSession(ALL)
    peer = Peer(client)
    assert client.receive(peer.say("error", orjson.dumps(success()), fin=True)) == []
    assert client.receive(peer.say("stdout", b"late", fin=True)) == [Output(1, b"late")]
    assert client.receive(peer.end("stderr")) == [Finished(success()), Left()]
    assert client.ended() == []


def test_output_after_a_goaway_is_not_lost_and_the_end_of_the_connection_ends_all() -> None:
    client = SpdyClientSession(ALL)
    peer = Peer(client)
    peer.spdy.go_away()
    assert client.receive(peer.spdy.take() + peer.say("stdout", b"late")) == [Output(1, b"late")]
    assert client.receive(peer.say("error", orjson.dumps(exited(2)))) == []
    assert client.ended() == [Finished(exited(2)), Left()]


def test_a_connection_that_ends_in_the_middle_of_a_status_has_failed() -> None:
    client = SpdyClientSession(ALL)
    peer = Peer(client)
    assert client.receive(peer.say("error", b"container is go")) == []
    assert client.ended() == [Finished(failed("container is go")), Left()]


def test_a_connection_that_ends_without_a_word_is_lost() -> None:
    client = SpdyClientSession(ALL)
    Peer(client)
    assert client.ended() == [Left()]


def test_an_empty_error_stream_is_success() -> None:
    client = SpdyClientSession(ALL)
    assert client.receive(Peer(client).end("stdout", "stderr", "error")) == [Finished(success()), Left()]


def test_a_client_answers_data_with_nothing() -> None:
    """What a server leaves unread when it closes makes the kernel drop what it sent last."""
    client = SpdyClientSession(ALL)
    peer = Peer(client)
    client.take()
    client.receive(peer.spdy.take() + peer.say("stdout", b"x" * (1 << 20)))
    assert client.take() == b""

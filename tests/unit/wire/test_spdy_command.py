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


def error_stream(client: SpdyClientSession) -> tuple[Spdy, int]:
    """Another server, and the number of the stream on which it tells the end."""
    peer = Spdy(client=False)
    opened = [event for event in peer.receive(client.take()) if isinstance(event, StreamOpened)]
    return peer, next(event.stream for event in opened if event.headers["streamtype"] == "error")


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_status_may_come_in_pieces_and_without_an_end(cut: int) -> None:
    client = SpdyClientSession(ALL)
    peer, error = error_stream(client)
    peer.send(error, orjson.dumps(exited(7)))
    wire = peer.take()
    (finished,) = [event for at in range(0, len(wire), cut) for event in client.receive(wire[at : at + cut])]
    assert isinstance(finished, Finished)
    assert exit_code_of(finished.status) == 7


def test_a_server_that_goes_in_the_middle_of_a_status_has_failed() -> None:
    client = SpdyClientSession(ALL)
    peer, error = error_stream(client)
    peer.send(error, b"container is go")
    peer.go_away()
    assert client.receive(peer.take()) == [Finished(failed("container is go")), Left()]


def test_an_empty_error_stream_is_success() -> None:
    client = SpdyClientSession(ALL)
    peer, error = error_stream(client)
    peer.send(error, b"", fin=True)
    assert client.receive(peer.take()) == [Finished(success())]

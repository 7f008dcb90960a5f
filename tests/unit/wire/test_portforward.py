"""port-forward in bytes: bare, in a tunnel, and in the old form of two channels a port."""

from __future__ import annotations

import pytest

from carob.wire.errors import ProtocolError
from carob.wire.portforward import (
    BareTube,
    ChannelServerSession,
    Dropped,
    Failed,
    Left,
    Opened,
    Received,
    SpdyClientSession,
    SpdyServerSession,
    Tube,
    WebSocketTube,
    parse_ports,
)
from carob.wire.spdy import Data, Spdy
from carob.wire.websocket import Piece, WebSocket


def masks() -> bytes:
    return b"\x11\x22\x33\x44"


Ends = tuple[SpdyClientSession, SpdyServerSession]


@pytest.fixture(params=["bare", "tunnel"])
def ends(request: pytest.FixtureRequest) -> Ends:
    client: Tube = BareTube() if request.param == "bare" else WebSocketTube(masks)
    server: Tube = BareTube() if request.param == "bare" else WebSocketTube()
    return SpdyClientSession(client), SpdyServerSession(server)


def test_connections_come_and_go_each_on_its_own(ends: Ends) -> None:
    client, server = ends
    one, two = client.connect(80), client.connect(8080)
    client.send(one, b"GET")
    client.end(one)
    assert server.receive(client.take()) == [
        Opened(one, 80),
        Opened(two, 8080),
        Received(one, b"GET", False),
        Received(one, b"", True),
    ]
    server.send(one, b"200")
    server.end(one)
    server.close(one)
    server.close(two, "nobody listens")
    assert client.receive(server.take()) == [
        Received(one, b"200", False),
        Received(one, b"", True),
        Failed(two, "nobody listens"),
        Received(two, b"", True),
    ]


def test_why_a_connection_ended_may_come_after_its_end(ends: Ends) -> None:
    """containerd does it so; the end alone would look like a port that had nothing to say."""
    client, server = ends
    number = client.connect(80)
    server.receive(client.take())
    server.end(number)
    assert client.receive(server.take()) == []
    server.close(number, "connection refused")
    assert client.receive(server.take()) == [Failed(number, "connection refused")]


def test_a_dropped_connection_is_told(ends: Ends) -> None:
    client, server = ends
    number = client.connect(80)
    server.receive(client.take())
    client.drop(number)
    assert server.receive(client.take()) == [Dropped(number)]


def test_leaving_is_told(ends: Ends) -> None:
    client, server = ends
    client.leave()
    assert server.receive(client.take()) in ([], [Left()])
    server.leave()
    assert client.receive(server.take())[:1] in ([Left()], [])


def test_data_that_comes_before_its_error_stream_waits_for_it() -> None:
    peer, server = Spdy(client=True), SpdyServerSession(BareTube())
    data = peer.open_stream({"streamType": "data", "port": "80", "requestID": "5"})
    peer.send(data, b"early", fin=True)
    assert server.receive(peer.take()) == []
    peer.open_stream({"streamType": "error", "port": "80", "requestID": "5"})
    assert server.receive(peer.take()) == [Opened(data, 80), Received(data, b"early", True)]


def test_too_much_early_data_is_refused() -> None:
    peer, server = Spdy(client=True), SpdyServerSession(BareTube())
    data = peer.open_stream({"streamType": "data", "port": "80", "requestID": "5"})
    peer.send(data, b"x" * (2 << 20))
    with pytest.raises(ProtocolError):
        server.receive(peer.take())


def test_clients_without_request_ids_are_paired_by_order() -> None:
    peer, server = Spdy(client=True), SpdyServerSession(BareTube())
    peer.open_stream({"streamType": "error", "port": "80"})
    data = peer.open_stream({"streamType": "data", "port": "80"})
    assert server.receive(peer.take()) == [Opened(data, 80)]


def test_a_port_that_is_none_is_told_on_the_error_stream() -> None:
    peer, server = Spdy(client=True), SpdyServerSession(BareTube())
    error = peer.open_stream({"streamType": "error", "port": "x", "requestID": "0"})
    peer.open_stream({"streamType": "data", "port": "x", "requestID": "0"})
    peer.open_stream({"streamType": "nonsense"})
    assert server.receive(peer.take()) == []
    texts = [e.data for e in peer.receive(server.take()) if isinstance(e, Data) and e.stream == error]
    assert b"between 1 and 65535" in b"".join(texts)


@pytest.mark.parametrize(("protocol", "text"), [("v4.channel.k8s.io", False), ("v4.base64.channel.k8s.io", True)])
def test_the_old_form_names_its_ports_first(protocol: str, text: bool) -> None:
    server = ChannelServerSession(protocol, [80, 8080])
    assert server.open() == [Opened(0, 80), Opened(2, 8080)]
    peer = WebSocket(masks)
    greetings = [e.data for e in peer.receive(server.take()) if isinstance(e, Piece)]
    if text:
        assert greetings == [b"0UAA=", b"1UAA=", b"2kB8=", b"3kB8="]
        peer.send(b"2aGk=", text=True)
    else:
        assert greetings == [b"\0P\0", b"\1P\0", b"\2\x90\x1f", b"\3\x90\x1f"]
        peer.send(b"\2hi")
    peer.send(b"\7nobody" if not text else b"7aGk=", text=text)
    assert server.receive(peer.take()) == [Received(2, b"hi", False)]
    server.send(2, b"ok")
    server.close(0)
    server.close(2, "lost")
    events = peer.receive(server.take())
    assert [e.data for e in events if isinstance(e, Piece)] == (
        [b"2b2s=", b"3bG9zdA=="] if text else [b"\2ok", b"\3lost"]
    )
    assert not isinstance(events[-1], Piece)
    peer.close()
    assert server.receive(peer.take()) == [Left()]


def test_ports_are_read_from_the_query() -> None:
    assert parse_ports(["80", "8080,9090"]) == [80, 8080, 9090]
    for bad in (["x"], ["0"], ["65536"], [], ["1"] * 65):
        with pytest.raises(ValueError, match="port"):
            parse_ports(bad)

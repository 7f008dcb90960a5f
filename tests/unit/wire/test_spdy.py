"""SPDY/3.1: two ends understand each other however the bytes are cut, and a broken peer is refused."""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.wire.errors import ProtocolError
from carob.wire.spdy import (
    MAX_STREAMS,
    Data,
    GoAway,
    Spdy,
    StreamAccepted,
    StreamOpened,
    StreamReset,
)
from carob.wire.spdy_dictionary import DICTIONARY

names = st.text(st.characters(codec="utf-8", categories=("Ll", "Nd")), min_size=1, max_size=12)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
headers = st.dictionaries(names, values, max_size=5)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("open"), headers, st.booleans()),
        st.tuples(st.just("send"), st.integers(0, 5), st.binary(max_size=300), st.booleans()),
        st.tuples(st.just("reset"), st.integers(0, 5)),
        st.tuples(st.just("ping")),
        st.tuples(st.just("away")),
    ),
    max_size=20,
)


def merged(events: list[Any]) -> list[Any]:
    """Adjacent pieces of one stream joined: where a frame was cut is nobody's business."""
    out: list[Any] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream and not last.fin:
            out[-1] = Data(event.stream, last.data + event.data, event.fin)
        else:
            out.append(event)
    return out


def perform(spdy: Spdy, script: list[Any]) -> None:
    streams: list[int] = []
    for act in script:
        if act[0] == "open":
            streams.append(spdy.open_stream({name.lower(): value for name, value in act[1].items()}, fin=act[2]))
        elif act[0] == "send" and streams:
            spdy.send(streams[act[1] % len(streams)], act[2], fin=act[3])
        elif act[0] == "reset" and streams:
            spdy.reset(streams[act[1] % len(streams)])
        elif act[0] == "ping":
            spdy.ping()
        elif act[0] == "away":
            spdy.go_away()


@pytest.mark.slow
@given(acts, st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(script: list[Any], data: st.DataObject) -> None:
    client = Spdy(client=True)
    perform(client, script)
    wire = client.take()
    whole = Spdy(client=False).receive(wire)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    server = Spdy(client=False)
    pieces: list[Any] = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        pieces += server.receive(wire[start:end])
    assert merged(pieces) == merged(whole)


@pytest.mark.slow
@given(st.lists(headers, max_size=6))
def test_headers_arrive_as_they_were_sent(sent: list[dict[str, str]]) -> None:
    client, server = Spdy(client=True), Spdy(client=False)
    for one in sent:
        client.open_stream(one)
    opened = server.receive(client.take())
    assert [event.headers for event in opened if isinstance(event, StreamOpened)] == [
        {name.lower(): value for name, value in one.items()} for one in sent
    ]
    accepted = client.receive(server.take())
    assert accepted == [StreamAccepted(event.stream) for event in opened if isinstance(event, StreamOpened)]


def pair() -> tuple[Spdy, Spdy, int]:
    client, server = Spdy(client=True), Spdy(client=False)
    number = client.open_stream({"streamtype": "data"})
    server.receive(client.take())
    client.receive(server.take())
    return client, server, number


def test_streams_end_one_direction_at_a_time() -> None:
    client, server, number = pair()
    client.send(number, b"question", fin=True)
    client.send(number, b"ignored")
    assert server.receive(client.take()) == [Data(number, b"question", True)]
    server.send(number, b"answer")
    server.send(number, b"", fin=True)
    assert merged(client.receive(server.take())) == [Data(number, b"answer", True)]
    assert client.open_streams == server.open_streams == 0


def test_a_reset_ends_both_directions_and_late_data_is_dropped() -> None:
    client, server, number = pair()
    client.send(number, b"late")
    late = client.take()
    server.reset(number)
    assert client.receive(server.take()) == [StreamReset(number, 5)]
    assert server.receive(late) == []
    assert client.open_streams == server.open_streams == 0


def test_a_ping_is_answered_and_an_answer_is_not() -> None:
    client, server, _ = pair()
    client.ping()
    assert server.receive(client.take()) == []
    answer = server.take()
    assert answer
    assert client.receive(answer) == []
    assert client.take() == b""


def test_the_peer_hears_of_space_for_more() -> None:
    client, server, number = pair()
    client.send(number, b"x" * 40_000)
    server.receive(client.take())
    update = server.take()
    assert struct.unpack(">HHIII", update) == (0x8003, 9, 8, number, 40_000)
    assert client.receive(update) == []


def test_going_away_is_told_once() -> None:
    client, server, number = pair()
    server.go_away()
    server.go_away()
    assert client.receive(server.take()) == [GoAway(number)]


def test_too_many_streams_are_refused_one_by_one() -> None:
    client, server = Spdy(client=True), Spdy(client=False)
    for _ in range(MAX_STREAMS):
        client.open_stream({})
    server.receive(client.take())
    server.take()
    number = client.open_stream({})
    assert server.receive(client.take()) == []
    assert client.receive(server.take()) == [StreamReset(number, 3)]


def block(plain: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 8, 0, DICTIONARY)
    return deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)


def syn_stream(number: int, header_block: bytes) -> bytes:
    body = struct.pack(">IIBB", number, 0, 0, 0) + header_block
    return struct.pack(">HHI", 0x8003, 1, len(body)) + body


@pytest.mark.parametrize(
    "wire",
    [
        struct.pack(">HHI", 0x8002, 1, 0),
        struct.pack(">HHI", 0x8003, 1, 1 << 20),
        struct.pack(">HHI", 0x8003, 1, 4) + b"abcd",
        syn_stream(2, block(struct.pack(">I", 0))),
        syn_stream(1, b"no compressed data"),
        syn_stream(1, block(struct.pack(">I", 9))),
        syn_stream(1, block(struct.pack(">II", 1, 1 << 30))),
        syn_stream(1, block(struct.pack(">II", 1, 1 << 20) + b"a" * (1 << 20))),
        syn_stream(3, block(struct.pack(">I", 0))) + syn_stream(1, block(struct.pack(">I", 0))),
    ],
    ids=["version", "huge", "short", "parity", "garbage", "count", "length", "bomb", "order"],
)
def test_what_breaks_the_rules_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        Spdy(client=False).receive(wire)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_protocol_errors(wire: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Spdy(client=False).receive(wire)

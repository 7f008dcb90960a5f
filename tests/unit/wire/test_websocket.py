"""WebSocket frames: judged against an independent library, at every cut of the bytes."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from carob.wire.errors import ProtocolError
from carob.wire.websocket import Closed, Piece, WebSocket, accept_key, offered_protocols

messages = st.lists(st.tuples(st.binary(max_size=70_000) | st.binary(max_size=200), st.booleans()), max_size=5)


def cut(wire: bytes, data: st.DataObject) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


def whole(events: list[Any]) -> list[Any]:
    """Messages out of pieces; checks that starts and ends alternate."""
    out: list[Any] = []
    current: bytes | None = None
    for event in events:
        if isinstance(event, Closed):
            out.append(event)
            continue
        assert event.start == (current is None)
        current = (current or b"") + event.data
        if event.end:
            out.append((current, event.text))
            current = None
    assert current is None
    return out


@pytest.mark.slow
@given(messages, st.data())
def test_what_the_library_sends_is_understood(sent: list[tuple[bytes, bool]], data: st.DataObject) -> None:
    library = Protocol(CLIENT, max_size=None)
    for payload, text in sent:
        if len(payload) > 3:
            # in three fragments
            library.send_frame(Frame(Opcode.TEXT if text else Opcode.BINARY, payload[:1], fin=False))
            library.send_frame(Frame(Opcode.PING, b"beat"))
            library.send_frame(Frame(Opcode.CONT, payload[1:3], fin=False))
            library.send_frame(Frame(Opcode.CONT, payload[3:], fin=True))
        else:
            library.send_frame(Frame(Opcode.TEXT if text else Opcode.BINARY, payload))
    library.send_close(1000, "bye")
    ours = WebSocket()
    events = list(itertools.chain(*(ours.receive(piece) for piece in cut(b"".join(library.data_to_send()), data))))
    assert whole(events) == [*sent, Closed(1000, "bye")]
    library.receive_data(ours.take())
    answers = [event.opcode for event in library.events_received() if isinstance(event, Frame)]
    assert answers == [Opcode.PONG] * sum(len(payload) > 3 for payload, _ in sent) + [Opcode.CLOSE]


@pytest.mark.slow
@given(messages, st.booleans())
def test_the_library_understands_what_we_send(sent: list[tuple[bytes, bool]], client: bool) -> None:
    ours = WebSocket((lambda: b"\x01\xfe\x80\x7f") if client else None)
    for payload, text in sent:
        ours.send(payload[1:], prefix=payload[:1], text=text)
    ours.ping()
    ours.close(1001, "going")
    library = Protocol(SERVER if client else CLIENT, max_size=None)
    library.receive_data(ours.take())
    frames = [event for event in library.events_received() if isinstance(event, Frame)]
    assert [(bytes(frame.data), frame.opcode is Opcode.TEXT) for frame in frames[: len(sent)]] == sent
    assert [frame.opcode for frame in frames[len(sent) :]] == [Opcode.PING, Opcode.CLOSE]
    assert frames[-1].data == struct.pack(">H", 1001) + b"going"


def test_nothing_is_sent_or_read_behind_a_close() -> None:
    ours = WebSocket()
    ours.close()
    ours.close()
    ours.send(b"late")
    ours.ping()
    assert ours.take() == b"\x88\x02\x03\xe8"
    peer = WebSocket(lambda: b"abcd")
    peer.send(b"one")
    peer.close()
    assert [type(event) for event in ours.receive(peer.take() + b"\xff\xff")] == [Piece, Closed]
    assert ours.receive(b"more") == []


def masked(first: int, payload: bytes = b"") -> bytes:
    return bytes((first, 0x80 | len(payload))) + b"\0\0\0\0" + payload


@pytest.mark.parametrize(
    "wire",
    [
        bytes((0x82, 0)),
        masked(0xC2),
        masked(0x80),
        masked(0x02) + masked(0x82),
        masked(0x83),
        masked(0x8B),
        masked(0x09),
        bytes((0x89, 0x80 | 126, 0, 200)),
        masked(0x88, b"x"),
        bytes((0x82, 0xFF)) + b"\xff" * 8 + b"\0" * 4,
    ],
    ids=["unmasked", "reserved", "lonely", "inside", "op3", "op11", "fragment", "long", "code", "length"],
)
def test_what_breaks_the_rules_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        WebSocket().receive(wire)


def test_the_handshake_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert offered_protocols(" v5.channel.k8s.io,, v4.channel.k8s.io ") == ["v5.channel.k8s.io", "v4.channel.k8s.io"]

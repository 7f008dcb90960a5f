"""SPDY/3.1 as exec, attach and port-forward speak it: many streams on one upgraded connection.

Sans-IO: bytes in, events out, bytes to send in `take`. The other end is moby/spdystream (every kubectl before 1.30,
later ones for port-forward, older client libraries), which keeps no flow-control windows: so we never wait for a
WINDOW_UPDATE. As a server we send them all the same, for clients that do wait. As a client we send none: servers are
spdystream or our own, and a frame that lies unread where a server closes would cost us the last of what it has sent.

Invariants: a SYN_STREAM is answered by a SYN_REPLY at once; a PING of the peer is answered; data of a stream that was
reset or is unknown is dropped; streams, headers and control frames are bounded.

Source: SPDY protocol draft 3.1 (draft-mbelshe-httpbis-spdy-00 for the frames and the dictionary).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from carob.wire.errors import ProtocolError
from carob.wire.spdy_dictionary import DICTIONARY

if TYPE_CHECKING:
    from collections.abc import Mapping

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FLAG_FIN = 1
CANCEL, REFUSED_STREAM = 5, 3

VERSION = 3
MAX_FRAME_BYTES = (1 << 24) - 1
MAX_CONTROL_BYTES = 1 << 18
MAX_HEADER_BYTES = 1 << 18
MAX_STREAMS = 4096
WINDOW_UPDATE_BYTES = 32 << 10
"""Half of the initial window: the peer hears of space in time."""


class StreamOpened(Struct, frozen=True, gc=False):
    """The peer opened a stream; `fin`: it will send nothing on it."""

    stream: int
    headers: dict[str, str]
    fin: bool


class StreamAccepted(Struct, frozen=True, gc=False):
    """The peer answered the opening of our stream."""

    stream: int


class Data(Struct, frozen=True, gc=False):
    """Bytes of a stream, perhaps only part of a frame; `fin`: they are the last."""

    stream: int
    data: bytes
    fin: bool


class StreamReset(Struct, frozen=True, gc=False):
    """The peer cut a stream in both directions."""

    stream: int
    status: int


class GoAway(Struct, frozen=True, gc=False):
    """The peer opens no more streams and is about to leave."""

    last_stream: int


Event: TypeAlias = StreamOpened | StreamAccepted | Data | StreamReset | GoAway


class Spdy:
    """One end of a connection. Streams of the client have odd numbers, streams of the server even ones."""

    def __init__(self, *, client: bool) -> None:
        self._next_stream = 1 if client else 2
        self._next_ping = 1 if client else 2
        self._last_seen = 0
        self._peer_parity = 0 if client else 1
        self._rest = b""
        self._data_stream = 0
        self._data_left = 0
        self._data_fin = False
        self._unacknowledged: dict[int, int] = {}
        """Open streams, with the bytes of each that no WINDOW_UPDATE has told of yet."""
        self._local_fin: set[int] = set()
        self._remote_fin: set[int] = set()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
        self._out: list[bytes] = []
        self._gone_away = False

    def take(self) -> bytes:
        """What is to be sent now."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    # Sending.

    def open_stream(self, headers: Mapping[str, str], *, fin: bool = False) -> int:
        """Begin a stream and return its number; `fin`: nothing will be sent on it."""
        stream = self._next_stream
        self._next_stream += 2
        self._unacknowledged[stream] = 0
        if fin:
            self._local_fin.add(stream)
        body = struct.pack(">IIBB", stream, 0, 0, 0) + self._compress(headers)
        self._control(SYN_STREAM, FLAG_FIN if fin else 0, body)
        return stream

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Bytes on a stream; ignored on a stream that is over. `fin`: they are the last."""
        if stream not in self._unacknowledged or stream in self._local_fin:
            return
        while len(data) > MAX_FRAME_BYTES:
            self._out.append(struct.pack(">II", stream, MAX_FRAME_BYTES) + data[:MAX_FRAME_BYTES])
            data = data[MAX_FRAME_BYTES:]
        if data or fin:
            self._out.append(struct.pack(">II", stream, (FLAG_FIN << 24 if fin else 0) | len(data)) + data)
        if fin:
            self._local_fin.add(stream)
            self._forget_if_over(stream)

    def reset(self, stream: int, status: int = CANCEL) -> None:
        """Cut a stream in both directions."""
        if self._unacknowledged.pop(stream, None) is not None:
            self._control(RST_STREAM, 0, struct.pack(">II", stream, status))
            self._local_fin.discard(stream)
            self._remote_fin.discard(stream)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._control(PING, 0, struct.pack(">I", self._next_ping))
        self._next_ping += 2

    def go_away(self) -> None:
        """Tell the peer that we are leaving."""
        if not self._gone_away:
            self._gone_away = True
            self._control(GOAWAY, 0, struct.pack(">II", self._last_seen, 0))

    @property
    def open_streams(self) -> int:
        """Streams that are not over in both directions."""
        return len(self._unacknowledged)

    # Receiving.

    def receive(self, data: bytes) -> list[Event]:
        """What the peer said. Raises: ProtocolError; then nothing more can be received."""
        events: list[Event] = []
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        end = len(data)
        while True:
            if self._data_left:
                taken = min(self._data_left, end - position)
                if not taken:
                    break
                self._data_left -= taken
                fin = self._data_fin and not self._data_left
                self._on_data(self._data_stream, data[position : position + taken], fin, events)
                position += taken
                continue
            if end - position < 8:
                break
            first, second = struct.unpack_from(">II", data, position)
            flags, length = second >> 24, second & 0xFFFFFF
            if first & 0x80000000:
                if (first >> 16) & 0x7FFF != VERSION:
                    raise ProtocolError("the peer does not speak SPDY/3")
                if length > MAX_CONTROL_BYTES:
                    raise ProtocolError("a control frame is too large")
                if end - position - 8 < length:
                    break
                position += 8
                self._on_control(first & 0xFFFF, flags, data[position : position + length], events)
                position += length
            else:
                position += 8
                self._data_stream, self._data_left, self._data_fin = first, length, bool(flags & FLAG_FIN)
                if not length:
                    self._on_data(first, b"", self._data_fin, events)
        self._rest = data[position:] if position else data
        return events

    def _on_data(self, stream: int, data: bytes, fin: bool, events: list[Event]) -> None:
        received = self._unacknowledged.get(stream)
        if received is None or stream in self._remote_fin:
            return
        if data or fin:
            events.append(Data(stream, data, fin))
        received += len(data)
        if received >= WINDOW_UPDATE_BYTES and not fin and self._peer_parity:
            self._control(WINDOW_UPDATE, 0, struct.pack(">II", stream, received))
            received = 0
        self._unacknowledged[stream] = received
        if fin:
            self._remote_fin.add(stream)
            self._forget_if_over(stream)

    def _on_control(self, kind: int, flags: int, body: bytes, events: list[Event]) -> None:
        try:
            if kind == SYN_STREAM:
                self._on_syn_stream(flags, body, events)
            elif kind == SYN_REPLY:
                (stream,) = struct.unpack_from(">I", body)
                self._decompress(body[4:])
                events.append(StreamAccepted(stream))
                if flags & FLAG_FIN:
                    self._on_data(stream, b"", True, events)
            elif kind == RST_STREAM:
                stream, status = struct.unpack_from(">II", body)
                self._local_fin.discard(stream)
                self._remote_fin.discard(stream)
                if self._unacknowledged.pop(stream, None) is not None:
                    events.append(StreamReset(stream, status))
            elif kind == PING:
                (number,) = struct.unpack_from(">I", body)
                # what has our own parity is the answer to a ping of ours
                if number % 2 != self._next_ping % 2:
                    self._control(PING, 0, body[:4])
            elif kind == GOAWAY:
                (last,) = struct.unpack_from(">I", body)
                events.append(GoAway(last))
            elif kind == HEADERS:
                (stream,) = struct.unpack_from(">I", body)
                self._decompress(body[4:])
                if flags & FLAG_FIN:
                    self._on_data(stream, b"", True, events)
            # SETTINGS, WINDOW_UPDATE and what we do not know say nothing that concerns us
        except struct.error as error:
            raise ProtocolError("a control frame is too short") from error

    def _on_syn_stream(self, flags: int, body: bytes, events: list[Event]) -> None:
        stream, _ = struct.unpack_from(">II", body)
        headers = self._decompress(body[10:])
        if stream % 2 != self._peer_parity or stream <= self._last_seen:
            raise ProtocolError(f"stream {stream} is out of order")
        self._last_seen = stream
        if len(self._unacknowledged) >= MAX_STREAMS:
            self._control(RST_STREAM, 0, struct.pack(">II", stream, REFUSED_STREAM))
            return
        self._unacknowledged[stream] = 0
        fin = bool(flags & FLAG_FIN)
        self._control(SYN_REPLY, 0, struct.pack(">I", stream) + self._compress({}))
        events.append(StreamOpened(stream, headers, fin))
        if fin:
            self._remote_fin.add(stream)

    def _forget_if_over(self, stream: int) -> None:
        if stream in self._local_fin and stream in self._remote_fin:
            self._unacknowledged.pop(stream, None)
            self._local_fin.discard(stream)
            self._remote_fin.discard(stream)

    def _control(self, kind: int, flags: int, body: bytes) -> None:
        head = struct.pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(body))
        self._out.append(head + body)

    def _compress(self, headers: Mapping[str, str]) -> bytes:
        plain = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                plain += (struct.pack(">I", len(text)), text)
        return self._deflate.compress(b"".join(plain)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _decompress(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise ProtocolError("a header block cannot be decompressed") from error
        if self._inflate.unconsumed_tail:
            raise ProtocolError("a header block is too large")
        try:
            return _parse_headers(plain)
        except (struct.error, UnicodeDecodeError) as error:
            raise ProtocolError("a header block is malformed") from error


def _parse_headers(plain: bytes) -> dict[str, str]:
    """Names in lower case; several values of one name are joined by `, `, as in HTTP."""
    if not plain:
        return {}
    (count,) = struct.unpack_from(">I", plain)
    position = 4
    headers: dict[str, str] = {}
    for _ in range(count):
        texts = []
        for _ in range(2):
            (length,) = struct.unpack_from(">I", plain, position)
            position += 4
            if position + length > len(plain):
                raise ProtocolError("a header block is malformed")
            texts.append(plain[position : position + length].decode())
            position += length
        headers[texts[0].lower()] = texts[1].replace("\0", ", ")
    return headers

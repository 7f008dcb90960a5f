"""WebSocket frames (RFC 6455), either end, after the handshake; and the handshake's one computation.

Sans-IO: bytes in, events out, bytes to send in `take`. Our own, because the library costs 60 ms to import on the first
exec and keeps whole frames, while we pass a frame's bytes on as they come; the tests judge it against that library.

Invariants: pings are answered; a close is answered once; no extension is ever agreed to, so reserved bits are errors.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from carob.wire.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

NORMAL_CLOSURE, GOING_AWAY, PROTOCOL_ERROR, NO_STATUS = 1000, 1001, 1002, 1005

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_CONTROL_BYTES = 125


class Piece(Struct, frozen=True, gc=False):
    """Bytes of a message as they came: `start` with its first piece, `end` with its last."""

    data: bytes
    start: bool
    end: bool
    text: bool


class Closed(Struct, frozen=True, gc=False):
    """The peer closed; nothing follows. Code 1005: it gave none."""

    code: int
    reason: str


Event: TypeAlias = Piece | Closed


def accept_key(key: str) -> str:
    """The `Sec-WebSocket-Accept` that proves that `Sec-WebSocket-Key` was read (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def offered_protocols(header: str) -> list[str]:
    """The names in a `Sec-WebSocket-Protocol` header, in the client's order."""
    return [name for part in header.split(",") if (name := part.strip())]


class WebSocket:
    """One end. A client gives `masks`, which yields four random bytes a frame; a server gives None."""

    def __init__(self, masks: Callable[[], bytes] | None = None) -> None:
        self._masks = masks
        self._rest = b""
        self._out: list[bytes] = []
        self._message_open = False
        self._message_text = False
        self._message_started = False
        self._left = 0
        self._in_payload = False
        self._fin = False
        self._mask = b""
        self.close_sent = False
        self.close_received = False

    def take(self) -> bytes:
        """What is to be sent now."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    # Sending.

    def send(self, data: bytes, *, prefix: bytes = b"", text: bool = False) -> None:
        """One message of `prefix` and `data` (together copied once); ignored after `close`."""
        if not self.close_sent:
            self._frame(TEXT if text else BINARY, data, prefix)

    def ping(self) -> None:
        """Ask for a sign of life."""
        if not self.close_sent:
            self._frame(PING, b"")

    def close(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Say that nothing follows; idempotent."""
        if not self.close_sent:
            payload = struct.pack(">H", code) + reason.encode()[: _MAX_CONTROL_BYTES - 2]
            self._frame(CLOSE, payload)
            self.close_sent = True

    def _frame(self, opcode: int, data: bytes, prefix: bytes = b"") -> None:
        length = len(prefix) + len(data)
        mask_bit = 0x80 if self._masks is not None else 0
        if length < 126:
            head = struct.pack(">BB", 0x80 | opcode, mask_bit | length)
        elif length < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, mask_bit | 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, mask_bit | 127, length)
        if self._masks is not None:
            mask = self._masks()
            self._out.append(b"%b%b%b" % (head, mask, _apply_mask(prefix + data, mask)))
        else:
            self._out.append(b"%b%b%b" % (head, prefix, data))

    # Receiving.

    def receive(self, data: bytes) -> list[Event]:
        """What the peer said. Raises: ProtocolError; then close with 1002 and receive no more."""
        events: list[Event] = []
        if self.close_received:
            return events
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position, end = 0, len(data)
        while not self.close_received:
            if self._in_payload:
                taken = min(self._left, end - position)
                if not taken and self._left:
                    break
                self._on_payload(data[position : position + taken], events)
                position += taken
                continue
            used = self._read_head(data, position, events)
            if not used:
                break
            position += used
        self._rest = data[position:] if position else data
        return events

    def _read_head(self, data: bytes, position: int, events: list[Event]) -> int:
        """Read one frame's head (and all of a control frame); the bytes used, 0 if more must come first."""
        have = len(data) - position
        if have < 2:
            return 0
        first, second = data[position], data[position + 1]
        fin, opcode, length, size = bool(first & 0x80), first & 0x0F, second & 0x7F, 2
        if first & 0x70:
            raise ProtocolError("reserved bits are set")
        if bool(second & 0x80) == (self._masks is not None):
            raise ProtocolError("a client must mask its frames, a server must not")
        if opcode >= CLOSE and (not fin or length > _MAX_CONTROL_BYTES):
            raise ProtocolError("a control frame is fragmented or too long")
        if length == 126:
            size = 4
        elif length == 127:
            size = 10
        mask_size = 4 if second & 0x80 else 0
        if have < size + mask_size:
            return 0
        if size == 4:
            (length,) = struct.unpack_from(">H", data, position + 2)
        elif size == 10:
            (length,) = struct.unpack_from(">Q", data, position + 2)
            if length >> 63:
                raise ProtocolError("a frame is too long")
        mask = data[position + size : position + size + mask_size]
        size += mask_size
        if opcode >= CLOSE:
            if have < size + length:
                return 0
            payload = data[position + size : position + size + length]
            self._on_control(opcode, _apply_mask(payload, mask) if mask else payload, events)
            return size + length
        self._begin_data(opcode)
        self._in_payload, self._left, self._fin, self._mask = True, length, fin, mask
        return size

    def _begin_data(self, opcode: int) -> None:
        if opcode == CONTINUATION:
            if not self._message_open:
                raise ProtocolError("a continuation continues nothing")
        elif opcode in (TEXT, BINARY):
            if self._message_open:
                raise ProtocolError("a message began inside another")
            self._message_open, self._message_started, self._message_text = True, False, opcode == TEXT
        else:
            raise ProtocolError(f"opcode {opcode} is unknown")

    def _on_payload(self, data: bytes, events: list[Event]) -> None:
        mask = self._mask
        if mask:
            data = _apply_mask(data, mask)
            turn = len(data) % 4
            self._mask = mask[turn:] + mask[:turn]
        self._left -= len(data)
        complete = not self._left
        end = complete and self._fin
        if data or end:
            events.append(Piece(data, not self._message_started, end, self._message_text))
            self._message_started = True
        if complete:
            self._in_payload = False
        if end:
            self._message_open = False

    def _on_control(self, opcode: int, payload: bytes, events: list[Event]) -> None:
        if opcode == PING:
            if not self.close_sent:
                self._frame(PONG, payload)
        elif opcode == CLOSE:
            if len(payload) == 1:
                raise ProtocolError("a close code is cut short")
            code = struct.unpack_from(">H", payload)[0] if payload else NO_STATUS
            self.close_received = True
            events.append(Closed(code, payload[2:].decode("utf-8", "replace")))
            if not self.close_sent:
                self._frame(CLOSE, payload)
                self.close_sent = True
        elif opcode != PONG:
            raise ProtocolError(f"opcode {opcode} is unknown")


def _apply_mask(data: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one big integer: the fastest way that needs no extension module."""
    length = len(data)
    if not length:
        return data
    repeated = mask * (length // 4) + mask[: length % 4]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(length, "little")

"""gRPC health probes: one call of `grpc.health.v1.Health/Check` over HTTP/2, spoken here by hand. Touches the network.

A probe needs one request with fixed headers and one answer of two bytes, so a whole gRPC library (120 ms to load, tens
of megabytes) is not worth its price. Headers of the answer are not decoded: an answer without a message is a failure.
Source: kubelet `pkg/probe/grpc`; RFC 9113 (frames), RFC 7541 6.2.2 (literal headers), the gRPC wire format.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

from carob.kubelet.backoff import go_duration
from carob.kubelet.probes.http import USER_AGENT
from carob.kubelet.probes.outcome import Outcome

if TYPE_CHECKING:
    from carob.api.types import core_v1

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
STREAM = 1
MAX_FRAME_BYTES = 16 << 10
SERVING = 1
_STATES = {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class _NoAnswer(Exception):
    """The server ended the call without a message."""


async def grpc_check(host: str, action: core_v1.GRPCAction, seconds: float) -> tuple[Outcome, str]:
    """Ask, and say what the answer means."""
    try:
        async with asyncio.timeout(seconds):
            state = await _ask(host, action.port, (action.service or "").encode())
    except TimeoutError:
        return Outcome.FAILURE, f"timeout: health rpc did not complete within {go_duration(seconds)}"
    except _NoAnswer as error:
        return Outcome.FAILURE, f"error: health rpc probe failed: {error}"
    except (OSError, asyncio.IncompleteReadError):
        # upstream tries to connect until its time is over, and says so: here nobody waits for a closed port
        within = f"within {go_duration(seconds)}: context deadline exceeded"
        return Outcome.FAILURE, f'timeout: failed to connect service "{host}:{action.port}" {within}'
    if state == SERVING:
        return Outcome.SUCCESS, "service healthy"
    return Outcome.FAILURE, f'service unhealthy (responded with "{_STATES.get(state, state)}")'


async def _ask(host: str, port: int, service: bytes) -> int:
    """The state that the server answers: a `ServingStatus`."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_request(f"{host}:{port}", service))
        return _state(await _message(reader, writer))
    finally:
        writer.transport.abort()


def _request(authority: str, service: bytes) -> bytes:
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", USER_AGENT),
    ]
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)
    message = b"\x0a" + _length(len(service)) + service if service else b""
    return (
        PREFACE
        + _frame(SETTINGS, 0, 0)
        + _frame(HEADERS, END_HEADERS, STREAM, block)
        + _frame(DATA, END_STREAM, STREAM, struct.pack(">BI", 0, len(message)) + message)
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _text(text: str) -> bytes:
    """A literal of HPACK, without Huffman's code."""
    data = text.encode()
    assert len(data) < 127
    return bytes([len(data)]) + data


def _length(number: int) -> bytes:
    """A variable-length integer of protobuf."""
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


async def _message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The bytes of the answer's DATA frames; the connection's own frames are answered on the way."""
    out = b""
    while True:
        head = await reader.readexactly(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        if size > MAX_FRAME_BYTES:
            raise _NoAnswer("a frame is too large")
        payload = await reader.readexactly(size)
        if kind == SETTINGS and not flags & ACK:
            writer.write(_frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            writer.write(_frame(PING, ACK, 0, payload))
        elif kind == GOAWAY or (kind == RST_STREAM and stream == STREAM):
            raise _NoAnswer("the server has refused the call")
        elif kind == DATA and stream == STREAM:
            out += payload[1 : len(payload) - payload[0]] if flags & PADDED else payload
        if stream == STREAM and kind in (DATA, HEADERS) and flags & END_STREAM:
            return out


def _state(data: bytes) -> int:
    """The one field of a HealthCheckResponse. Raises: _NoAnswer when there is no message (an error in the trailers)."""
    if len(data) < 5:
        raise _NoAnswer("rpc error: this server does not implement the grpc health protocol (grpc.health.v1.Health)")
    message = data[5:]
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0

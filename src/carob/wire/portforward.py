"""port-forward: which stream or channel belongs to which connection to which port.

Three forms: SPDY streams (a data and an error stream a connection, paired by `requestID`), the same SPDY inside of
WebSocket messages, and the old WebSocket form with two channels a port. The first two are one session here, the tunnel
only wraps its bytes. Sans-IO: bytes in, events out, bytes to send in `take`.

Source: apimachinery `pkg/util/portforward`, kubelet `pkg/cri/streaming/portforward` (httpstream.go, websocket.go).
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct

from carob.wire.channels import ChannelMessages
from carob.wire.errors import ProtocolError
from carob.wire.spdy import Data, GoAway, Spdy, StreamOpened, StreamReset
from carob.wire.websocket import Closed, WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
MAX_CHANNEL_PORTS = 64
MAX_EARLY_BYTES = 1 << 20


class Opened(Struct, frozen=True, gc=False):
    """The client wants connection `number` to `port`."""

    number: int
    port: int


class Received(Struct, frozen=True, gc=False):
    """Bytes for the port; `end`: the client sends no more on this connection."""

    number: int
    data: bytes
    end: bool


class Dropped(Struct, frozen=True, gc=False):
    """The client cut this connection."""

    number: int


class Left(Struct, frozen=True, gc=False):
    """The peer has closed altogether."""


class Failed(Struct, frozen=True, gc=False):
    """For the client: the server could not reach the port, or lost it."""

    number: int
    message: str


ServerEvent: TypeAlias = Opened | Received | Dropped | Left
ClientEvent: TypeAlias = Received | Dropped | Failed | Left


class Tube(Protocol):
    """What carries SPDY: the connection itself, or WebSocket messages on it."""

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        """The SPDY bytes in what came, and whether the peer has closed. Raises: ProtocolError."""
        ...

    def wrap(self, data: bytes) -> bytes:
        """What is to be sent for these SPDY bytes, and for the tube itself."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


class BareTube:
    """SPDY straight on the connection."""

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        """As it is."""
        return data, False

    def wrap(self, data: bytes) -> bytes:
        """As it is."""
        return data

    def close(self) -> None:
        """Nothing to say."""


class WebSocketTube:
    """SPDY in binary messages, cut anywhere."""

    def __init__(self, masks: Callable[[], bytes] | None = None) -> None:
        self._websocket = WebSocket(masks)

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        """The payloads of the messages."""
        pieces: list[bytes] = []
        for event in self._websocket.receive(data):
            if isinstance(event, Closed):
                return b"".join(pieces), True
            pieces.append(event.data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), False

    def wrap(self, data: bytes) -> bytes:
        """One message, behind whatever pongs are due."""
        if data:
            self._websocket.send(data)
        return self._websocket.take()

    def close(self) -> None:
        """A close frame."""
        self._websocket.close()


class ServerSession(Protocol):
    """The server's end, whichever form the client chose."""

    def open(self) -> list[ServerEvent]:
        """The 101 is sent; what is wanted from the start."""
        ...

    def receive(self, data: bytes) -> list[ServerEvent]:
        """What the client said. Raises: ProtocolError."""
        ...

    def send(self, number: int, data: bytes) -> None:
        """Bytes from the port."""
        ...

    def end(self, number: int) -> None:
        """The port sends no more."""
        ...

    def close(self, number: int, error: str = "") -> None:
        """The connection is over in both directions; `error` says why, if it did not end well."""
        ...

    def leave(self) -> None:
        """The server goes."""
        ...

    def take(self) -> bytes:
        """What is to be sent now."""
        ...


class SpdyServerSession:
    """The server's end. A connection's number is the number of its data stream."""

    def __init__(self, tube: Tube) -> None:
        self._tube = tube
        self._spdy = Spdy(client=False)
        self._half: dict[str, tuple[str, int]] = {}
        """Request ids of which one stream has come: its type and number."""
        self._error_of: dict[int, int] = {}
        self._early: dict[int, list[Data]] = {}

    def open(self) -> list[ServerEvent]:
        """The 101 is sent; the client speaks first."""
        return []

    def receive(self, data: bytes) -> list[ServerEvent]:
        """What the client said. Raises: ProtocolError."""
        out: list[ServerEvent] = []
        plain, closed = self._tube.unwrap(data)
        for event in self._spdy.receive(plain):
            if isinstance(event, StreamOpened):
                self._opened(event, out)
            elif isinstance(event, Data):
                if event.stream in self._error_of:
                    out.append(Received(event.stream, event.data, event.fin))
                elif event.stream in self._early:
                    self._early[event.stream].append(event)
                    if sum(len(early.data) for early in self._early[event.stream]) > MAX_EARLY_BYTES:
                        raise ProtocolError("data came before its error stream")
            elif isinstance(event, StreamReset) and event.stream in self._error_of:
                out.append(Dropped(event.stream))
        if closed:
            out.append(Left())
        return out

    def _opened(self, event: StreamOpened, out: list[ServerEvent]) -> None:
        kind = event.headers.get("streamtype", "")
        request = event.headers.get("requestid", "")
        if kind not in ("data", "error"):
            self._spdy.reset(event.stream)
            return
        if not request:
            # the oldest clients open the error stream and then, as the next one, the data stream
            request = str(event.stream if kind == "error" else event.stream - 2)
        other = self._half.pop(request, None)
        if kind == "data":
            self._early[event.stream] = [Data(event.stream, b"", True)] if event.fin else []
        if other is None or other[0] == kind:
            self._half[request] = (kind, event.stream)
            return
        data, error = (event.stream, other[1]) if kind == "data" else (other[1], event.stream)
        port = _port(event.headers.get("port", ""))
        if not port:
            self._spdy.send(error, b"the port is not a number between 1 and 65535", fin=True)
            self._spdy.reset(data)
            return
        self._error_of[data] = error
        out.append(Opened(data, port))
        out.extend(Received(data, early.data, early.fin) for early in self._early.pop(data))

    def send(self, number: int, data: bytes) -> None:
        """Bytes from the port."""
        self._spdy.send(number, data)

    def end(self, number: int) -> None:
        """The port sends no more."""
        self._spdy.send(number, b"", fin=True)

    def close(self, number: int, error: str = "") -> None:
        """The connection is over in both directions; `error` says why, if it did not end well."""
        stream = self._error_of.pop(number, None)
        if stream is not None:
            self._spdy.send(stream, error.encode(), fin=True)
            self._spdy.send(number, b"", fin=True)

    def leave(self) -> None:
        """The server goes."""
        self._spdy.go_away()

    def take(self) -> bytes:
        """What is to be sent now."""
        return self._tube.wrap(self._spdy.take())


class ChannelServerSession:
    """The old WebSocket form: ports are named in the request; channel 2n is port n's data, 2n+1 its errors.

    A connection's number is its data channel; each port has one connection, opened at once.
    """

    def __init__(self, protocol: str, ports: Sequence[int]) -> None:
        self._base64 = "base64" in protocol
        self._ports = list(ports)
        self._websocket = WebSocket()
        self._messages = ChannelMessages(self._base64)

    def open(self) -> list[ServerEvent]:
        """The 101 is sent. Every channel begins with its port, two bytes, the lower one first."""
        for index, port in enumerate(self._ports):
            self._send(2 * index, struct.pack("<H", port))
            self._send(2 * index + 1, struct.pack("<H", port))
        return [Opened(2 * index, port) for index, port in enumerate(self._ports)]

    def receive(self, data: bytes) -> list[ServerEvent]:
        """What the client said. Raises: ProtocolError."""
        out: list[ServerEvent] = []
        for event in self._websocket.receive(data):
            if isinstance(event, Closed):
                out.append(Left())
                continue
            for channel, payload in self._messages.feed(event.data, start=event.start, end=event.end):
                if payload and channel % 2 == 0 and channel < 2 * len(self._ports):
                    out.append(Received(channel, payload, end=False))
        return out

    def send(self, number: int, data: bytes) -> None:
        """Bytes from the port."""
        self._send(number, data)

    def end(self, number: int) -> None:
        """This form cannot say so."""

    def close(self, number: int, error: str = "") -> None:
        """The connection is over; when it was the last one, so is the session."""
        if error:
            self._send(number + 1, error.encode())
        index = number // 2
        if self._ports[index]:
            self._ports[index] = 0
        if not any(self._ports):
            self.leave()

    def leave(self) -> None:
        """The server goes."""
        self._websocket.close()

    def take(self) -> bytes:
        """What is to be sent now."""
        return self._websocket.take()

    def _send(self, channel: int, data: bytes) -> None:
        if self._base64:
            self._websocket.send(base64.b64encode(data), prefix=b"%c" % (48 + channel), text=True)
        else:
            self._websocket.send(data, prefix=bytes((channel,)))


class SpdyClientSession:
    """The client's end, in a tunnel or bare. A connection's number is the number of its data stream."""

    def __init__(self, tube: Tube) -> None:
        self._tube = tube
        self._spdy = Spdy(client=True)
        self._next_request = 0
        self._data_of: dict[int, int] = {}
        self._errors: dict[int, bytes] = {}
        self._ended: set[int] = set()
        """Connections whose data has ended, while their error streams have not."""

    def connect(self, port: int) -> int:
        """Ask for one more connection to `port`; its number."""
        headers = {"streamtype": "error", "port": str(port), "requestid": str(self._next_request)}
        self._next_request += 1
        error = self._spdy.open_stream(headers, fin=True)
        number = self._spdy.open_stream({**headers, "streamtype": "data"})
        self._data_of[error] = number
        self._errors[error] = b""
        return number

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the server said. Raises: ProtocolError."""
        out: list[ClientEvent] = []
        plain, closed = self._tube.unwrap(data)
        for event in self._spdy.receive(plain):
            if isinstance(event, Data):
                if event.stream in self._data_of:
                    self._errors[event.stream] = (self._errors[event.stream] + event.data)[:MAX_EARLY_BYTES]
                    if event.fin:
                        self._judge(event.stream, out)
                elif event.fin and event.stream in self._data_of.values():
                    # why it has ended comes after its end with some servers; client-go waits for it too
                    self._ended.add(event.stream)
                    if event.data:
                        out.append(Received(event.stream, event.data, False))
                else:
                    out.append(Received(event.stream, event.data, event.fin))
            elif isinstance(event, StreamReset):
                if event.stream in self._data_of:
                    self._judge(event.stream, out)
                else:
                    out.append(Dropped(event.stream))
            elif isinstance(event, GoAway):
                out.append(Left())
        if closed:
            out.append(Left())
        return out

    def _judge(self, error: int, out: list[ClientEvent]) -> None:
        """Nothing more comes on a connection's error stream: it has failed, or its end may be told."""
        text = self._errors.pop(error).decode("utf-8", "replace")
        number = self._data_of.pop(error)
        if text:
            out.append(Failed(number, text))
        elif number in self._ended:
            out.append(Received(number, b"", True))
        self._ended.discard(number)

    def send(self, number: int, data: bytes) -> None:
        """Bytes for the port."""
        self._spdy.send(number, data)

    def end(self, number: int) -> None:
        """We send no more on this connection."""
        self._spdy.send(number, b"", fin=True)

    def drop(self, number: int) -> None:
        """Cut this connection."""
        self._spdy.reset(number)

    def leave(self) -> None:
        """The client goes."""
        self._spdy.go_away()
        self._tube.close()

    def take(self) -> bytes:
        """What is to be sent now."""
        return self._tube.wrap(self._spdy.take())


def parse_ports(texts: Sequence[str]) -> list[int]:
    """The ports of a request's `ports` or `port` parameters, which may be repeated or joined by commas.

    Raises: ValueError naming the first that is none.
    """
    ports = []
    for text in texts:
        for part in text.split(","):
            port = _port(part.strip())
            if not port:
                raise ValueError(f'unable to parse "{part}" as a port')
            ports.append(port)
    if not ports:
        raise ValueError('query parameter "port" is required')
    if len(ports) > MAX_CHANNEL_PORTS:
        raise ValueError(f"at most {MAX_CHANNEL_PORTS} ports can be forwarded at once")
    return ports


def _port(text: str) -> int:
    """0 for what is no port."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536 else 0

"""exec and attach: what travels on which stream or channel, over SPDY/3.1 and over WebSocket, server's and client's end.

Sans-IO: a session takes the bytes behind the 101 and yields events; `take` yields the bytes to send.

Source: apimachinery `pkg/util/remotecommand` (names, channel numbers, reasons), kubelet `pkg/cri/streaming/remotecommand`
(which streams a server waits for, what it writes at the end), client-go `tools/remotecommand`.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import orjson
from msgspec import Struct

from carob.wire.channels import MAX_TEXT_MESSAGE_BYTES, ChannelMessages
from carob.wire.errors import ProtocolError
from carob.wire.spdy import Data, Spdy, StreamOpened, StreamReset
from carob.wire.websocket import Closed, WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
"""Channel numbers. CLOSE (v5 only) carries one byte: the channel of which nothing more comes."""

SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
WEBSOCKET_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
MAX_RESIZE_BYTES = 4096

Status: TypeAlias = dict[str, Any]
"""A `metav1.Status` tree: how the command ended."""


class Streams(Struct, frozen=True, gc=False):
    """Which streams the client asked for. With `tty` there is no stderr of its own."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Ready(Struct, frozen=True, gc=False):
    """Every stream is there: the command may start."""


class Stdin(Struct, frozen=True, gc=False):
    data: bytes


class StdinClosed(Struct, frozen=True, gc=False):
    """The client sends no more input."""


class Resized(Struct, frozen=True, gc=False):
    """The client's terminal, in characters."""

    width: int
    height: int


class Output(Struct, frozen=True, gc=False):
    """For the client: bytes of stdout (1) or stderr (2)."""

    stream: int
    data: bytes


class Finished(Struct, frozen=True, gc=False):
    """For the client: how the command ended."""

    status: Status


class Left(Struct, frozen=True, gc=False):
    """The peer has closed."""


ServerEvent: TypeAlias = Ready | Stdin | StdinClosed | Resized | Left
ClientEvent: TypeAlias = Output | Finished | Left


def success() -> Status:
    """The command ended with 0."""
    return {"metadata": {}, "status": "Success"}


def exited(code: int) -> Status:
    """The command ended with `code`."""
    if code == 0:
        return success()
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(message: str) -> Status:
    """The command could not be run, or was lost."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


def exit_code_of(status: Status) -> int | None:
    """0 for success, the command's code where the status tells it, None where the command did not run to an end."""
    if status.get("status") == "Success":
        return 0
    if status.get("reason") == "NonZeroExitCode":
        for cause in (status.get("details") or {}).get("causes") or []:
            if cause.get("reason") == "ExitCode":
                try:
                    return int(cause.get("message", ""))
                except ValueError:
                    return None
    return None


class ServerSession(Protocol):
    """The server's end, whichever protocol the client chose."""

    def open(self) -> None:
        """The 101 is sent."""
        ...

    def receive(self, data: bytes) -> list[ServerEvent]:
        """What the client said. Raises: ProtocolError."""
        ...

    def output(self, stream: int, data: bytes) -> None:
        """Bytes of stdout (1) or stderr (2); dropped where the client did not ask for the stream."""
        ...

    def finish(self, status: Status) -> None:
        """Tell how the command ended, and close; idempotent."""
        ...

    def take(self) -> bytes:
        """What is to be sent now."""
        ...


_RESIZE = re.compile(rb"\s*\{[^{}]*\}")


class _Sizes:
    """Terminal sizes: JSON objects one after the other, cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Resized]:
        self._rest += data
        if len(self._rest) > MAX_RESIZE_BYTES:
            raise ProtocolError("a terminal size is too long")
        found = []
        while match := _RESIZE.match(self._rest):
            self._rest = self._rest[match.end() :]
            try:
                size = orjson.loads(match.group())
                width, height = int(size.get("Width", 0)), int(size.get("Height", 0))
            except (ValueError, TypeError) as error:
                raise ProtocolError("a terminal size is malformed") from error
            if 0 < width < 1 << 16 and 0 < height < 1 << 16:
                found.append(Resized(width, height))
        return found


class SpdyServerSession:
    """The client opens a stream each for error, stdin, stdout, stderr and resize; `protocol` is its version."""

    def __init__(self, protocol: str, streams: Streams) -> None:
        self._version = SPDY_PROTOCOLS.index(protocol)
        self._json = protocol == "v4.channel.k8s.io"
        self._spdy = Spdy(client=False)
        self._sizes = _Sizes()
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._finished = False
        self._wanted = {"error"}
        for name, asked in (
            ("stdin", streams.stdin),
            ("stdout", streams.stdout),
            ("stderr", streams.stderr and not streams.tty),
            ("resize", streams.tty and protocol in ("v3.channel.k8s.io", "v4.channel.k8s.io")),
        ):
            if asked:
                self._wanted.add(name)

    def open(self) -> None:
        """Nothing to say: the client speaks first."""

    @property
    def missing(self) -> set[str]:
        """The streams that the client has not opened yet."""
        return self._wanted - self._numbers.keys()

    def receive(self, data: bytes) -> list[ServerEvent]:
        """See ServerSession."""
        out: list[ServerEvent] = []
        for event in self._spdy.receive(data):
            if isinstance(event, StreamOpened):
                self._opened(event, out)
            elif isinstance(event, Data):
                self._data(event, out)
            elif isinstance(event, StreamReset) and self._names.get(event.stream) == "stdin":
                out.append(StdinClosed())
        return out

    def _opened(self, event: StreamOpened, out: list[ServerEvent]) -> None:
        name = event.headers.get("streamtype", "")
        if name not in ("error", "stdin", "stdout", "stderr", "resize") or name in self._numbers:
            self._spdy.reset(event.stream)
            return
        self._numbers[name] = event.stream
        self._names[event.stream] = name
        if name in self._wanted and not self.missing:
            out.append(Ready())
        if event.fin and name == "stdin":
            out.append(StdinClosed())

    def _data(self, event: Data, out: list[ServerEvent]) -> None:
        name = self._names.get(event.stream)
        if name == "stdin":
            if event.data:
                out.append(Stdin(event.data))
            if event.fin:
                out.append(StdinClosed())
        elif name == "resize":
            out.extend(self._sizes.feed(event.data))

    def output(self, stream: int, data: bytes) -> None:
        """See ServerSession."""
        number = self._numbers.get("stdout" if stream == STDOUT else "stderr")
        if number is not None:
            self._spdy.send(number, data)

    def finish(self, status: Status) -> None:
        """See ServerSession."""
        if self._finished:
            return
        self._finished = True
        for name in ("stdout", "stderr", "stdin", "resize"):
            if name in self._numbers:
                self._spdy.send(self._numbers[name], b"", fin=True)
        if "error" in self._numbers:
            self._spdy.send(self._numbers["error"], _status_bytes(status, as_json=self._json), fin=True)
        self._spdy.go_away()

    def take(self) -> bytes:
        """See ServerSession."""
        return self._spdy.take()


class WebSocketServerSession:
    """One channel number in front of every message; `protocol` is the agreed one, empty for none (the oldest)."""

    def __init__(self, protocol: str, streams: Streams) -> None:
        self._streams = streams
        self._base64 = "base64" in protocol
        self._json = protocol.startswith(("v4", "v5"))
        self._websocket = WebSocket()
        self._messages = ChannelMessages(self._base64)
        self._sizes = _Sizes()
        self._stdin_closed = False
        self._finished = False

    def open(self) -> None:
        """An empty message tells clients that wait for a first byte that all is well."""
        if self._streams.stdout:
            self._send(STDOUT, b"")
        elif self._streams.stderr:
            self._send(STDERR, b"")
        else:
            self._send(ERROR, b"")

    def receive(self, data: bytes) -> list[ServerEvent]:
        """See ServerSession."""
        out: list[ServerEvent] = []
        for event in self._websocket.receive(data):
            if isinstance(event, Closed):
                self._close_stdin(out)
                out.append(Left())
                continue
            for channel, payload in self._messages.feed(event.data, start=event.start, end=event.end):
                if channel == STDIN and payload and self._streams.stdin and not self._stdin_closed:
                    out.append(Stdin(payload))
                elif channel == RESIZE:
                    out.extend(self._sizes.feed(payload))
                elif channel == CLOSE and payload[:1] == bytes((STDIN,)):
                    self._close_stdin(out)
        return out

    def _close_stdin(self, out: list[ServerEvent]) -> None:
        if self._streams.stdin and not self._stdin_closed:
            self._stdin_closed = True
            out.append(StdinClosed())

    def output(self, stream: int, data: bytes) -> None:
        """See ServerSession."""
        if data and (self._streams.stdout if stream == STDOUT else self._streams.stderr and not self._streams.tty):
            self._send(stream, data)

    def finish(self, status: Status) -> None:
        """See ServerSession."""
        if self._finished:
            return
        self._finished = True
        body = _status_bytes(status, as_json=self._json)
        if body:
            self._send(ERROR, body)
        self._websocket.close()

    def take(self) -> bytes:
        """See ServerSession."""
        return self._websocket.take()

    def _send(self, channel: int, data: bytes) -> None:
        if self._base64:
            self._websocket.send(base64.b64encode(data), prefix=b"%d" % channel, text=True)
        else:
            self._websocket.send(data, prefix=bytes((channel,)))


class ClientSession(Protocol):
    """The client's end, whatever carries it."""

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the server said. Raises: ProtocolError."""
        ...

    def ended(self) -> list[ClientEvent]:
        """The connection has ended: what is still to be told."""
        ...

    def stdin(self, data: bytes) -> None:
        """Bytes for the command."""
        ...

    def close_stdin(self) -> None:
        """No more input."""
        ...

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters."""
        ...

    def close(self) -> None:
        """Leave."""
        ...

    def take(self) -> bytes:
        """What is to be sent now."""
        ...


class WebSocketClientSession:
    """The client's end over WebSocket, for `v5.channel.k8s.io` and `v4.channel.k8s.io`."""

    def __init__(self, protocol: str, masks: Callable[[], bytes]) -> None:
        self._can_close = protocol == "v5.channel.k8s.io"
        self._websocket = WebSocket(masks)
        self._messages = ChannelMessages(encoded=False)
        self._error = b""

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the server said. Raises: ProtocolError."""
        out: list[ClientEvent] = []
        for event in self._websocket.receive(data):
            if isinstance(event, Closed):
                if self._error:
                    out.append(Finished(parse_status(self._error)))
                    self._error = b""
                out.append(Left())
                continue
            for channel, payload in self._messages.feed(event.data, start=event.start, end=event.end):
                if channel in (STDOUT, STDERR) and payload:
                    out.append(Output(channel, payload))
                elif channel == ERROR:
                    self._error += payload
                    if len(self._error) > MAX_TEXT_MESSAGE_BYTES:
                        raise ProtocolError("the status is too long")
            if event.end and self._error:
                out.append(Finished(parse_status(self._error)))
                self._error = b""
        return out

    def ended(self) -> list[ClientEvent]:
        """Nothing: a WebSocket says itself when it closes."""
        return []

    def stdin(self, data: bytes) -> None:
        """Bytes for the command."""
        if data:
            self._websocket.send(data, prefix=bytes((STDIN,)))

    def close_stdin(self) -> None:
        """No more input. Only v5 can say so; with v4 the command never sees the end."""
        if self._can_close:
            self._websocket.send(bytes((CLOSE, STDIN)))

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters."""
        self._websocket.send(b'{"Width":%d,"Height":%d}\n' % (width, height), prefix=bytes((RESIZE,)))

    def ping(self) -> None:
        """Keep the road open."""
        self._websocket.ping()

    def close(self) -> None:
        """Leave."""
        self._websocket.close()

    def take(self) -> bytes:
        """What is to be sent now."""
        return self._websocket.take()


def _status_bytes(status: Status, *, as_json: bool) -> bytes:
    """The fourth version of the protocol sends the Status itself, earlier ones only the text of a failure."""
    if as_json:
        return orjson.dumps(status)
    return b"" if status.get("status") == "Success" else str(status.get("message", "")).encode()


def parse_status(body: bytes) -> Status:
    """What a server wrote at the end; a text that is no Status is a failure's."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    return status if isinstance(status, dict) else failed(body.decode("utf-8", "replace"))

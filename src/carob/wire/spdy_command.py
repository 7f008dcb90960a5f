"""exec and attach from the client's end over SPDY/3.1: for servers whose WebSocket cannot say that input has ended.

Sans-IO, as `remotecommand`. Source: client-go `tools/remotecommand/v4.go` (which streams, in which order).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from carob.wire.channels import MAX_TEXT_MESSAGE_BYTES
from carob.wire.errors import ProtocolError
from carob.wire.remotecommand import STDERR, STDOUT, Finished, Left, Output, parse_status, success
from carob.wire.spdy import Data, GoAway, Spdy, StreamReset

if TYPE_CHECKING:
    from carob.wire.remotecommand import ClientEvent, Streams

PROTOCOL = "v4.channel.k8s.io"


class SpdyClientSession:
    """Opens the streams that are asked for at once; the server starts when it has seen them all."""

    def __init__(self, streams: Streams) -> None:
        self._spdy = Spdy(client=True)
        self._numbers: dict[str, int] = {}
        self._error = b""
        for name, asked in (
            ("error", True),
            ("stdin", streams.stdin),
            ("stdout", streams.stdout),
            ("stderr", streams.stderr and not streams.tty),
            ("resize", streams.tty),
        ):
            if asked:
                self._numbers[name] = self._spdy.open_stream({"streamtype": name})
        self._names = {number: name for name, number in self._numbers.items()}

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the server said. Raises: ProtocolError."""
        out: list[ClientEvent] = []
        for event in self._spdy.receive(data):
            if isinstance(event, Data):
                self._data(event, out)
            elif isinstance(event, GoAway) or (
                isinstance(event, StreamReset) and self._names.get(event.stream) == "error"
            ):
                if self._error:
                    out.append(self._finished())
                out.append(Left())
        return out

    def _data(self, event: Data, out: list[ClientEvent]) -> None:
        name = self._names.get(event.stream)
        if name == "stdout" and event.data:
            out.append(Output(STDOUT, event.data))
        elif name == "stderr" and event.data:
            out.append(Output(STDERR, event.data))
        elif name == "error":
            self._error += event.data
            if len(self._error) > MAX_TEXT_MESSAGE_BYTES:
                raise ProtocolError("the status is too long")
            # not every server ends this stream before it ends the connection
            if event.fin or _is_whole(self._error):
                out.append(self._finished())

    def _finished(self) -> Finished:
        """Where nothing was said it went well."""
        said, self._error = self._error, b""
        return Finished(parse_status(said) if said else success())

    def stdin(self, data: bytes) -> None:
        """Bytes for the command."""
        if data and "stdin" in self._numbers:
            self._spdy.send(self._numbers["stdin"], data)

    def close_stdin(self) -> None:
        """No more input."""
        if "stdin" in self._numbers:
            self._spdy.send(self._numbers["stdin"], b"", fin=True)

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters."""
        if "resize" in self._numbers:
            self._spdy.send(self._numbers["resize"], b'{"Width":%d,"Height":%d}\n' % (width, height))

    def close(self) -> None:
        """Leave."""
        self._spdy.go_away()

    def take(self) -> bytes:
        """What is to be sent now."""
        return self._spdy.take()


def _is_whole(said: bytes) -> bool:
    try:
        return bool(orjson.loads(said))
    except orjson.JSONDecodeError:
        return False

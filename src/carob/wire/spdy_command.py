"""exec and attach from the client's end over SPDY/3.1: for servers whose WebSocket cannot say that input has ended.

Sans-IO, as `remotecommand`. Source: client-go `tools/remotecommand/v4.go` (which streams, in which order).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from carob.wire.channels import MAX_TEXT_MESSAGE_BYTES
from carob.wire.errors import ProtocolError
from carob.wire.remotecommand import STDERR, STDOUT, Finished, Left, Output, parse_status, success
from carob.wire.spdy import Data, Spdy, StreamReset

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
        self._outputs = {"stdout", "stderr"} & self._numbers.keys()
        """Streams from which more may come."""
        self._told = False
        """How it ended is known; it is said once all output is there."""
        self._finished = False

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the server said. Raises: ProtocolError."""
        out: list[ClientEvent] = []
        for event in self._spdy.receive(data):
            if isinstance(event, Data):
                self._data(event, out)
            elif isinstance(event, StreamReset):
                self._over(self._names.get(event.stream, ""))
            # a GOAWAY overtakes data: Go's spdystream sends it first, whatever still waits
        if self._told and not self._outputs and not self._finished:
            out += self.ended()
        return out

    def ended(self) -> list[ClientEvent]:
        """The connection has ended, and with it whatever the server had to say."""
        if self._finished:
            return []
        self._finished = True
        if not self._told and not self._error:
            return [Left()]
        # where nothing was said it went well
        return [Finished(parse_status(self._error) if self._error else success()), Left()]

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
            self._told = self._told or _is_whole(self._error)
        if event.fin:
            self._over(name or "")

    def _over(self, name: str) -> None:
        self._outputs.discard(name)
        self._told = self._told or name == "error"

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

"""HTTP/1.1 over one blocking socket, parsed by httptools: what the command line needs of it and no more.

The standard library's http.client costs 30 ms to import (it parses headers as e-mail); a command that lists Pods must
not take longer than kubectl does.
"""

from __future__ import annotations

# the package's own module would load its URL parser as well
from httptools.parser.errors import HttpParserUpgrade
from httptools.parser.parser import HttpResponseParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

RECEIVE_BYTES = 256 * 1024


class Answer:
    """One answer; its body is read as it comes."""

    def __init__(self, sock: socket.socket) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.warnings: list[str] = []
        self.keep_alive = True
        self.rest = b""
        """Behind a 101: what came of the other protocol already."""
        self._socket = sock
        self._pieces: list[bytes] = []
        self._buffer = b""
        self._headed = False
        self._complete = False
        self._parser = HttpResponseParser(self)
        while not self._headed:
            self._receive()

    # -- what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("utf-8", "replace")
        if key == "warning":
            self.warnings.append(text)
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status == 100:
            self.headers.clear()
            return
        self._headed = True

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self.status != 100:
            self._complete = True
            self.keep_alive = self._parser.should_keep_alive()

    # -- reading

    def _receive(self) -> None:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            if self._headed and "content-length" not in self.headers and "transfer-encoding" not in self.headers:
                self._complete, self.keep_alive = True, False
                return
            raise ConnectionResetError("the server closed the connection before it had answered")
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._complete, self.keep_alive, self.rest = True, False, data[upgrade.args[0] :]

    def read_some(self) -> bytes:
        """The next piece; empty at the end. Raises: ConnectionError when it was cut."""
        if self._buffer:
            piece, self._buffer = self._buffer, b""
            return piece
        while not self._pieces and not self._complete:
            self._receive()
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read(self) -> bytes:
        """The whole rest."""
        pieces = []
        while piece := self.read_some():
            pieces.append(piece)
        return b"".join(pieces)

    def readline(self) -> bytes:
        """One line with its newline, or what is left at the end; empty at the end."""
        pieces = []
        while piece := self.read_some():
            line, newline, rest = piece.partition(b"\n")
            pieces.append(line + newline)
            if newline:
                self._buffer = rest
                break
        return b"".join(pieces)


def send(
    sock: socket.socket, method: str, target: str, host: str, headers: Sequence[tuple[str, str]], body: bytes | None
) -> None:
    """Write one request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body or b'')}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    sock.sendall(head + body if body else head)

"""HTTP/1.1 over one blocking socket: what the command line needs of it, and no more.

Our own, because of what a command costs to start: the standard library's http.client takes 30 ms to import (it parses
headers as e-mail), httptools 6 ms; a command that lists Pods must not take longer than kubectl does.

Source: RFC 9112.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

RECEIVE_BYTES = 256 * 1024
MAX_HEAD_BYTES = 256 * 1024
MAX_LINE_BYTES = 64 * 1024


class Answer:
    """One answer; its body is read as it comes. Raises: ConnectionError when it is cut or makes no sense."""

    def __init__(self, sock: socket.socket) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.warnings: list[str] = []
        self._socket = sock
        self._data = b""
        self._line = b""
        self._left = 0
        """Bytes of the body (or of the chunk) that are still to come; -1: all until the connection ends."""
        self._chunked = False
        self._complete = False
        self._closes = False
        while not self.status or (100 <= self.status < 200 and self.status != 101):
            self._read_head()
        self._begin_body()

    @property
    def keep_alive(self) -> bool:
        """Whether the next request may use this connection."""
        return self._complete and not self._closes

    @property
    def rest(self) -> bytes:
        """Behind a 101: what came of the other protocol already."""
        return self._data

    # -- the head

    def _receive(self) -> bool:
        """False at the connection's end."""
        data = self._socket.recv(RECEIVE_BYTES)
        self._data += data
        return bool(data)

    def _read_head(self) -> None:
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            if len(self._data) > MAX_HEAD_BYTES:
                raise ConnectionError("the server's answer has too long a head")
            if not self._receive():
                raise ConnectionResetError("the server closed the connection before it had answered")
        lines = self._data[:end].decode("latin-1").split("\r\n")
        self._data = self._data[end + 4 :]
        version, _, status = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise ConnectionError("the server does not speak HTTP/1.1")
        self.status = int(status[:3])
        self._closes = version == "HTTP/1.0"
        self.headers, self.warnings = {}, []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self._header(name.lower(), value.strip().encode("latin-1").decode("utf-8", "replace"))

    def _header(self, name: str, value: str) -> None:
        if name == "warning":
            self.warnings.append(value)
        elif name == "connection" and "close" in value.lower():
            self._closes = True
        self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value

    def _begin_body(self) -> None:
        length = self.headers.get("content-length")
        if self.status in (101, 204, 304):
            self._complete = True
            self._closes = self._closes or self.status == 101
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._chunked = True
        elif length is not None and length.isdigit():
            self._left = int(length)
            self._complete = not self._left
        else:
            self._left, self._closes = -1, True

    # -- the body

    def read_some(self) -> bytes:
        """The next piece; empty at the end."""
        if self._line:
            piece, self._line = self._line, b""
            return piece
        if self._complete:
            return b""
        if self._chunked and not self._left and not self._next_chunk():
            self._complete = True
            return b""
        if not self._data and not self._receive():
            if self._left < 0:
                self._complete = True
                return b""
            raise ConnectionResetError("the server closed the connection before it had answered")
        if self._left < 0:
            piece, self._data = self._data, b""
            return piece
        piece, self._data = self._data[: self._left], self._data[self._left :]
        self._left -= len(piece)
        if not self._left:
            if self._chunked:
                self._chunk_line()
            else:
                self._complete = True
        return piece

    def _next_chunk(self) -> bool:
        """False behind the last one."""
        size = self._chunk_line().partition(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            raise ConnectionError("the server's answer is cut into pieces wrongly") from None
        if self._left:
            return True
        while self._chunk_line():
            pass  # trailers, which say nothing to us
        return False

    def _chunk_line(self) -> bytes:
        while (end := self._data.find(b"\r\n")) < 0:
            if len(self._data) > MAX_LINE_BYTES:
                raise ConnectionError("the server's answer is cut into pieces wrongly")
            if not self._receive():
                raise ConnectionResetError("the server closed the connection before it had answered")
        line, self._data = self._data[:end], self._data[end + 2 :]
        return line

    def read(self) -> bytes:
        """The whole rest."""
        pieces = []
        while piece := self.read_some():
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readline(self) -> bytes:
        """One line with its newline, or what is left at the end; empty at the end."""
        pieces = []
        while piece := self.read_some():
            line, newline, rest = piece.partition(b"\n")
            pieces.append(line + newline)
            if newline:
                self._line = rest
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

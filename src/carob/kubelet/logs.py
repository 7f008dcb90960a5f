"""Container logs in the CRI format: one line of a file is `<time> <stdout|stderr> <F|P> <content>`. Pure over bytes.

Source: kubelet `kuberuntime/logs/logs.go`; a `P` line is a part of a line whose end follows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_BYTES = 64 << 10


class LogOptions(Struct, frozen=True):
    """What is asked for. `since` seconds since 1970; `tail_lines` and `limit_bytes` None: all; `stream` empty: both."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: float | None = None
    stream: str = ""


class LogWriter:
    """Turns pieces of a log file into what a client sees; keeps the unfinished last line until its end has come."""

    def __init__(self, options: LogOptions, write: Callable[[bytes], None]) -> None:
        self._options = options
        self._write = write
        self._rest = b""
        self._left = options.limit_bytes
        self._line_start = True

    @property
    def full(self) -> bool:
        """Nothing more may be written: the limit is reached."""
        return self._left is not None and self._left <= 0

    def feed(self, data: bytes) -> None:
        """The next bytes of the file."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        out = []
        for line in lines:
            text = self._line(line)
            if text:
                out.append(text)
            if self.full:
                break
        if out:
            self._write(b"".join(out))

    def finish(self) -> None:
        """The file ends here: an unfinished line is shown as it is."""
        if self._rest and not self.full:
            text = self._line(self._rest)
            if text:
                self._write(text)
        self._rest = b""

    def _line(self, line: bytes) -> bytes:
        parts = line.split(b" ", 3)
        if len(parts) < 3:
            return b""
        stamp, stream, tag = parts[0], parts[1], parts[2]
        content = parts[3] if len(parts) == 4 else b""
        if self._options.stream and stream.decode("ascii", "replace") != self._options.stream:
            return b""
        if self._options.since is not None and not _not_before(stamp, self._options.since):
            return b""
        text = content if tag.startswith(b"P") else content + b"\n"
        if self._options.timestamps and self._line_start:
            # conmon writes UTC as an offset, Go writes it as Z
            text = stamp.replace(b"+00:00", b"Z") + b" " + text
        self._line_start = not tag.startswith(b"P")
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text


def _not_before(stamp: bytes, since: float) -> bool:
    try:
        return parse_rfc3339(_microseconds(stamp.decode("ascii"))) >= since
    except ValueError:
        return True


def _microseconds(text: str) -> str:
    """Nanoseconds are more than Python's dates hold."""
    dot = text.find(".")
    if dot < 0:
        return text
    end = dot + 1
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[: min(end, dot + 7)] + text[end:]


def seek_tail(stream: BinaryIO, lines: int | None) -> None:
    """Go to the beginning of the last `lines` lines; None: the beginning of the file."""
    if lines is None:
        stream.seek(0)
        return
    position = end = stream.seek(0, os.SEEK_END)
    if lines <= 0:
        return
    # the newline that ends the last line is not a boundary between two
    wanted = lines + 1
    first = True
    while position > 0:
        size = min(BLOCK_BYTES, position)
        position -= size
        stream.seek(position)
        block = stream.read(size)
        if first:
            first = False
            if not block.endswith(b"\n"):
                wanted -= 1
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if wanted == 0:
                stream.seek(position + at + 1)
                return
    assert end >= 0
    stream.seek(0)

"""The terminal that this command was started from: raw while a remote one is shown in it, and its size.

Leaves the terminal as it found it, also when the command is told to end.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def is_terminal(fd: int) -> bool:
    """Whether somebody sits at the other end."""
    return os.isatty(fd)


def size(fd: int) -> tuple[int, int] | None:
    """Width and height in characters; None for what is no terminal or has no size."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return None
    return (found.columns, found.lines) if found.columns > 0 and found.lines > 0 else None


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """Every key goes to the other side as it is, Ctrl-C too, until the block ends."""
    before = termios.tcgetattr(fd)
    handlers = {number: signal.signal(number, _leave) for number in _ENDINGS}
    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, _raw_mode(before))
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _raw_mode(mode: Any) -> Any:
    """As cfmakeraw(3)."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = mode
    t = termios
    iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
    oflag &= ~t.OPOST
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    cflag = cflag & ~(t.CSIZE | t.PARENB) | t.CS8
    cc = list(cc)
    cc[t.VMIN], cc[t.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, cc]


class ResizeSignals:
    """SIGWINCH as something that can be polled: `fd` is readable after each."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = signal.signal(signal.SIGWINCH, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        # full: the reader knows already
        with suppress(BlockingIOError):
            os.write(self._write, b"w")

    def take(self) -> None:
        """Forget the signals that came so far."""
        with suppress(BlockingIOError):
            while os.read(self.fd, 64):
                pass

    def close(self) -> None:
        """Listen no more."""
        signal.signal(signal.SIGWINCH, self._before)
        os.close(self.fd)
        os.close(self._write)

"""Programs on terminals of their own, as a person sits in front of them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Terminal:
    """One program, its keys and what it shows."""

    def __init__(self, command: Sequence[str | Path], environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        self._slave = slave
        self.seen = b""

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self.master, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Draw the window to another size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.killpg(self.process.pid, signal.SIGWINCH)

    def expect(self, text: str, seconds: float = 15) -> str:
        """What was shown up to `text`, once it is shown. Fails after a while."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 4096)
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode(errors="replace")

    def mode(self) -> Any:
        """The terminal's settings as they are."""
        return termios.tcgetattr(self._slave)

    def end(self) -> int:
        """The program's exit code; the terminal is closed."""
        code = self.process.wait(timeout=15)
        os.close(self.master)
        os.close(self._slave)
        return code

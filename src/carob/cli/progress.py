"""Progress of long work: one living line a step on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress:
    """Steps, each with the seconds that it took."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show `text` while the block runs, and a mark with its duration when it has ended."""
        started = time.monotonic()
        if self._terminal and not self._quiet:
            sys.stderr.write(f"  … {text}")
            sys.stderr.flush()
        try:
            yield
        except BaseException:
            self._end("✗", text, started)
            raise
        self._end("✓", text, started)

    def note(self, text: str) -> None:
        """A line that is no step."""
        if not self._quiet:
            print(text, file=sys.stderr)

    def _end(self, mark: str, text: str, started: float) -> None:
        if self._quiet:
            return
        start_of_line = "\r\x1b[K" if self._terminal else ""
        print(f"{start_of_line}  {mark} {text} ({time.monotonic() - started:.2f} s)", file=sys.stderr)

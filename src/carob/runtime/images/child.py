"""Run a command to its end and collect what it says. Cancelling the caller kills the command."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from carob.host.events import wait_child
from carob.host.types import Host, Redirect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_OUTPUT_BYTES = 8 << 20


class Ended(NamedTuple):
    """How a command ended. `code` is minus the signal's number if one ended it."""

    code: int
    output: bytes
    errors: str


async def run(
    host: Host, argv: Sequence[str], environment: Mapping[str, str], on_line: Callable[[str], None] | None = None
) -> Ended:
    """Run `argv` (an absolute path first); `on_line` hears each line of its output as it comes.

    Of each stream at most 8 MiB are kept. Raises: OSError when it cannot be started.
    """
    output, errors = _Pipe(on_line), _Pipe(None)
    try:
        pid = host.spawn(argv, environment, [Redirect(1, output.inlet), Redirect(2, errors.inlet)])
        process = host.identity(pid)
        output.start()
        errors.start()
        try:
            await asyncio.gather(output.ended, errors.ended)
            code = await wait_child(pid)
        except asyncio.CancelledError:
            if process is not None:
                host.kill(process, signal.SIGKILL)
            await wait_child(pid)
            raise
    finally:
        output.close()
        errors.close()
    return Ended(code, bytes(output.data), errors.data.decode(errors="replace"))


class _Pipe:
    """One stream of a child, read as it comes; `ended` resolves when the child and its children have closed it."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._outlet, self.inlet = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._outlet, False)
        self._loop = asyncio.get_running_loop()
        self._on_line = on_line
        self._line = b""
        self.data = bytearray()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        os.close(self.inlet)
        self.inlet = -1
        self._loop.add_reader(self._outlet, self._readable)

    def _readable(self) -> None:
        try:
            piece = os.read(self._outlet, 65536)
        except BlockingIOError:
            return
        if not piece:
            self._loop.remove_reader(self._outlet)
            if not self.ended.done():
                self.ended.set_result(None)
            return
        self.data += piece[: MAX_OUTPUT_BYTES - len(self.data)]
        if self._on_line is not None:
            *lines, self._line = (self._line + piece).split(b"\n")
            for line in lines:
                self._on_line(line.decode(errors="replace"))

    def close(self) -> None:
        if self._outlet >= 0:
            self._loop.remove_reader(self._outlet)
            os.close(self._outlet)
            self._outlet = -1
        if self.inlet >= 0:
            os.close(self.inlet)
            self.inlet = -1
        if not self.ended.done():
            self.ended.cancel()

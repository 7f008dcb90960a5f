"""Sends a container's log to a client: what is there, and with `follow` what comes, until the container has ended.

Slow readers are waited for (`drain`), so at most a block is in memory for each. Touches log files only.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from carob.base.tasks import Signal
from carob.host.events import watch_change
from carob.host.syscalls import IN_CREATE, IN_MODIFY, IN_MOVED_FROM
from carob.kubelet.logs import BLOCK_BYTES, LogWriter, seek_tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.kubelet.logs import LogOptions
    from carob.transport.http import Sink


class LogStream:
    """One client's look at one log file."""

    def __init__(self, path: str, options: LogOptions, sink: Sink, running: Callable[[], bool]) -> None:
        self._path = path
        self._options = options
        self._sink = sink
        self._running = running
        self._signal = Signal()
        self._closed = False
        self._writer = LogWriter(options, sink.write)
        sink.on_close(self._on_close)

    def wake(self) -> None:
        """The container may have ended."""
        self._signal.set()

    async def run(self) -> None:
        """Send until there is nothing more to come; closes the sink."""
        try:
            with _opened(self._path) as stream:
                seek_tail(stream, self._options.tail_lines)
                if self._options.follow:
                    await self._follow(stream)
                else:
                    await self._copy(stream)
            if not self._closed:
                self._writer.finish()
        except ConnectionError:
            return
        finally:
            self._sink.close()

    def _on_close(self) -> None:
        self._closed = True
        self._signal.set()

    async def _copy(self, stream: BinaryIO) -> bool:
        """Send up to the present end of the file; True if something was sent."""
        sent = False
        while not self._closed and not self._writer.full:
            data = stream.read(BLOCK_BYTES)
            if not data:
                return sent
            sent = True
            self._writer.feed(data)
            await self._sink.drain()
        return sent

    async def _follow(self, stream: BinaryIO) -> None:
        # grown, moved away by the rotation, made anew
        mask = IN_MODIFY | IN_MOVED_FROM | IN_CREATE
        watch = watch_change(os.path.dirname(self._path), mask, self._signal.set)
        current: BinaryIO = stream
        try:
            while not self._closed and not self._writer.full:
                # asked before the file is read, so that its last words are not missed
                running = self._running()
                if await self._copy(current):
                    continue
                newer = self._newer(current)
                if newer is not None:
                    if current is not stream:
                        current.close()
                    current = newer
                elif not running:
                    return
                else:
                    await self._signal.wait()
        finally:
            watch.close()
            if current is not stream:
                current.close()

    def _newer(self, current: BinaryIO) -> BinaryIO | None:
        """The file that has taken the place of the one being read (rotation)."""
        try:
            if os.stat(self._path).st_ino == os.fstat(current.fileno()).st_ino:
                return None
            return _opened(self._path)
        except FileNotFoundError:
            # between the rename and the new file
            return None


def _opened(path: str) -> BinaryIO:
    # logs lie in the page cache: what was written a moment ago is read without waiting for a disk
    return open(path, "rb")

"""Wakes somebody when a file of a folder changes, such as a log that grows or is replaced: inotify, no polling."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from carob.host import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

IN_MODIFY = 0x2
IN_MOVED_FROM = 0x40
IN_CREATE = 0x100
BUFFER_BYTES = 64 << 10


class LogWatch:
    """Calls `changed` on the loop when something in the folder has changed in a way that `mask` names."""

    def __init__(
        self, folder: str, changed: Callable[[], None], *, mask: int = IN_MODIFY | IN_MOVED_FROM | IN_CREATE
    ) -> None:
        self._changed = changed
        self._descriptor = syscalls.inotify_init()
        try:
            syscalls.inotify_add_watch(self._descriptor, folder, mask)
        except OSError:
            os.close(self._descriptor)
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._readable)

    def close(self) -> None:
        """No call after this; idempotent."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _readable(self) -> None:
        # what exactly has changed does not matter: the follower looks at the file
        try:
            os.read(self._descriptor, BUFFER_BYTES)
        except BlockingIOError:
            return
        self._changed()

"""A file lock that says who holds it: one process at a time owns a store."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from carob.store.types import StoreError

if TYPE_CHECKING:
    from pathlib import Path


class Ownership:
    """Held until `release` or the end of the process, whichever way it ends.

    The file stays when the lock is let go: removing it would race with the next owner.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises: StoreError with the holder's process id."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreError(f"the store is in use by process {holder} ({path})") from error
        os.ftruncate(self._descriptor, 0)
        try:
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            # a full disk: the lock holds all the same, only its holder's name is missing
            os.ftruncate(self._descriptor, 0)

    def release(self) -> None:
        """Let go; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

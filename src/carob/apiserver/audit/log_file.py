"""The file of the audit log: a line an event, put aside when it is full, old ones removed.

A line is written in the very call: it lies in the kernel's memory then, as upstream's does in its blocking mode. A file that
is put aside is called after the moment: `audit-2026-11-29T10-00-00.000.log`.
May touch: its files. Source: kube-apiserver `--audit-log-*`, lumberjack v2.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from carob.base.log import get_logger

if TYPE_CHECKING:
    from carob.base.clock import Clock

STANDARD_OUTPUT = "-"
DEFAULT_MEGABYTES = 100
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}")

_log = get_logger("audit")


class AuditLog:
    """Where events go. `max_days` and `max_backups` of 0 keep every file that was put aside."""

    def __init__(
        self, path: str, clock: Clock, *, max_days: int = 0, max_backups: int = 0, max_megabytes: int = 0
    ) -> None:
        self._path = Path(path)
        self._clock = clock
        self._max_seconds = max_days * 86400
        self._max_backups = max_backups
        self._max_bytes = (max_megabytes or DEFAULT_MEGABYTES) << 20
        self._file = 1 if path == STANDARD_OUTPUT else -1
        self._rotates = path != STANDARD_OUTPUT
        self._size = 0
        self._failing = False
        self.lost = 0
        """Lines that could not be written."""

    def write(self, line: bytes) -> None:
        """Append a line. What cannot be written is lost, as upstream's default is, and said once."""
        try:
            if self._rotates:
                self._make_room(len(line))
            while line:
                written = os.write(self._file, line)
                self._size += written
                line = line[written:]
        except OSError as error:
            if not self._failing:
                _log.error("events are lost: %s", error)
            self._failing = True
            self.lost += 1
        else:
            self._failing = False

    def _make_room(self, size: int) -> None:
        if self._file < 0:
            self._open()
        if self._size and self._size + size > self._max_bytes:
            self.close()
            now = self._clock.now()
            whole = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(now))
            stem, suffix = self._path.stem, self._path.suffix
            self._path.rename(self._path.with_name(f"{stem}-{whole}.{int(now % 1 * 1000):03d}{suffix}"))
            self._open()
            self._remove_old(now)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def _remove_old(self, now: float) -> None:
        prefix, suffix = f"{self._path.stem}-", self._path.suffix
        aside = sorted(
            (one for one in self._path.parent.iterdir() if one.name.startswith(prefix) and one.suffix == suffix),
            reverse=True,
        )
        ours = [one for one in aside if _STAMP.fullmatch(one.name[len(prefix) : len(one.name) - len(suffix)])]
        for number, file in enumerate(ours):
            too_many = self._max_backups and number >= self._max_backups
            if too_many or (self._max_seconds and file.stat().st_mtime < now - self._max_seconds):
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; idempotent."""
        if self._rotates and self._file >= 0:
            os.close(self._file)
            self._file = -1

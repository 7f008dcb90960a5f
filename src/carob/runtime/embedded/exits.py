"""How the agent learns that a container has ended: conmon's exit file, and the end of conmon itself.

The exit file is renamed into place after the log is drained, so it is the truth. A conmon that ends without one was
killed: its container runs on, unseen. Both are told once per container.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from carob.host.events import FolderWatch, pidfd_of, watch_arrivals, watch_end
from carob.host.types import Host, Identity


class Exits:
    """Watches the folder of exit files and one pidfd per monitor. Everything happens on the loop."""

    def __init__(
        self, host: Host, folder: str, ended: Callable[[str, int, float], None], lost: Callable[[str], None]
    ) -> None:
        self._host = host
        self._folder = folder
        self._ended = ended
        self._lost = lost
        self._monitors: dict[str, Callable[[], None]] = {}
        self._watch: FolderWatch | None = None

    def start(self) -> None:
        """Begin to watch; look at what was there before with `collect`. Raises: OSError."""
        self._watch = watch_arrivals(self._folder, self._appeared, self._sweep)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        for stop in self._monitors.values():
            stop()
        self._monitors.clear()

    def follow(self, container_id: str, monitor: Identity | None) -> None:
        """Tell of this container's end; at once when it has ended already."""
        if self.collect(container_id):
            return
        descriptor = pidfd_of(self._host, monitor)
        if descriptor is None:
            self._gone(container_id)
            return
        self._monitors[container_id] = watch_end(descriptor, lambda: self._gone(container_id))

    def forget(self, container_id: str) -> None:
        """No more about this one; idempotent."""
        stop = self._monitors.pop(container_id, None)
        if stop is not None:
            stop()

    def collect(self, container_id: str) -> bool:
        """Tell of the container's end if its exit file is there."""
        path = f"{self._folder}/{container_id}"
        try:
            code = int(self._host.read(path))
            finished_at = os.stat(path).st_mtime
        except (OSError, ValueError):
            return False
        self.forget(container_id)
        self._ended(container_id, code, finished_at)
        return True

    def _appeared(self, name: str) -> None:
        if name in self._monitors:
            self.collect(name)

    def _sweep(self) -> None:
        for container_id in list(self._monitors):
            self.collect(container_id)

    def _gone(self, container_id: str) -> None:
        self._monitors.pop(container_id, None)
        if not self.collect(container_id):
            self._lost(container_id)

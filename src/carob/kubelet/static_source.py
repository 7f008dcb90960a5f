"""The folder of static Pods: read at the start and whenever something in it changes; no polling.

Touches the folder, in a thread. A file that makes no sense is told of in the log and is as good as absent; of two files
with one Pod's name the first by name counts. Source: kubelet `config/file_linux.go`.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from carob.base.log import get_logger, pairs
from carob.base.tasks import Signal
from carob.client.informer import key_of
from carob.host.events import watch_change
from carob.host.syscalls import IN_CLOSE_WRITE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO
from carob.kubelet.static_pods import BadManifest, static_pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.types import core_v1
    from carob.base.clock import Clock

_log = get_logger("kubelet.static")
MAX_FILE_BYTES = 10 << 20
MAX_FILES = 1000


class StaticSource:
    """`pods` are those of the folder, by uid; `changed` is called with the old or the new Pod for every difference."""

    def __init__(
        self,
        folder: str,
        node_name: str,
        clock: Clock,
        changed: Callable[[core_v1.Pod | None, core_v1.Pod | None], None],
    ) -> None:
        self._folder = folder
        self._node_name = node_name
        self._clock = clock
        self._changed = changed
        self._signal = Signal()
        self._complaints: dict[str, str] = {}
        self.pods: dict[str, core_v1.Pod] = {}

    def by_key(self, key: str) -> core_v1.Pod | None:
        """The Pod of this namespace and name."""
        return next((pod for pod in self.pods.values() if key_of(pod) == key), None)

    async def run(self) -> None:
        """Read the folder, then again at every change; until cancelled."""
        mask = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        watch = watch_change(self._folder, mask, self._signal.set)
        try:
            while True:
                await self.read()
                await self._signal.wait()
        finally:
            watch.close()

    async def read(self) -> None:
        """Bring `pods` up to date and tell the differences: first who goes, then who comes."""
        found = await asyncio.to_thread(self._read)
        gone = [pod for uid, pod in self.pods.items() if uid not in found]
        come = [pod for uid, pod in found.items() if uid not in self.pods]
        self.pods = {uid: self.pods.get(uid, pod) for uid, pod in found.items()}
        for pod in gone:
            self._changed(pod, None)
        for pod in come:
            self._changed(None, pod)

    def _read(self) -> dict[str, core_v1.Pod]:
        try:
            names = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))[:MAX_FILES]
        except FileNotFoundError:
            return {}
        out: dict[str, core_v1.Pod] = {}
        taken: set[str] = set()
        for name in names:
            path = f"{self._folder}/{name}"
            try:
                if os.path.isdir(path):
                    continue
                with open(path, "rb") as stream:
                    pod = static_pod(stream.read(MAX_FILE_BYTES), path, self._node_name, self._clock.now())
            except FileNotFoundError:
                continue
            except (BadManifest, OSError) as error:
                self._complain(path, str(error))
                continue
            self._complaints.pop(path, None)
            if key_of(pod) not in taken:
                taken.add(key_of(pod))
                out[pod.metadata.uid] = pod
        return out

    def _complain(self, path: str, why: str) -> None:
        if self._complaints.get(path) != why:
            self._complaints[path] = why
            _log.warning("can't process manifest file %s", pairs(path=path, error=why))

"""Rotates container logs that have grown too large, so that no container fills the disk.

Source: kubelet `logs/container_log_manager.go`: `<n>.log` becomes `<n>.log.<time>`, older ones are compressed, at most
`log_max_files` are kept.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import time
from typing import TYPE_CHECKING

from carob.base.log import get_logger, pairs
from carob.runtime.types import ContainerState, RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.base.clock import Clock
    from carob.kubelet.options import KubeletOptions
    from carob.runtime.types import ContainerStatus, Runtime

_log = get_logger("kubelet.logs")
CHECK_SECONDS = 10.0


class LogRotation:
    """Looks at the sizes every ten seconds, as upstream does; a stat a container is all it costs."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        options: KubeletOptions,
        containers: Callable[[], Iterable[ContainerStatus]],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._options = options
        self._containers = containers

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            for status in list(self._containers()):
                if status.state is ContainerState.RUNNING and _size(status.log_path) >= self._options.log_max_bytes:
                    await self._rotate(status)

    async def _rotate(self, status: ContainerStatus) -> None:
        path = status.log_path
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._clock.now()))
        try:
            os.rename(path, f"{path}.{stamp}")
            await self._runtime.reopen_log(status.id)
            await asyncio.to_thread(tidy, path, self._options.log_max_files)
        except (OSError, RuntimeFailure) as error:
            _log.warning("cannot rotate %s", pairs(log=path, error=error))


def tidy(path: str, max_files: int) -> None:
    """Remove the oldest rotated logs and compress all but the newest of them. Blocking."""
    folder, name = os.path.split(path)
    rotated = sorted(one for one in os.listdir(folder) if one.startswith(name + ".") and not one.endswith(".tmp"))
    for old in rotated[: max(0, len(rotated) - (max_files - 1))]:
        os.unlink(os.path.join(folder, old))
    for one in rotated[max(0, len(rotated) - (max_files - 1)) : -1]:
        if not one.endswith(".gz"):
            _compress(os.path.join(folder, one))


def _compress(path: str) -> None:
    with open(path, "rb") as source, gzip.open(f"{path}.tmp", "wb") as target:
        shutil.copyfileobj(source, target)
    os.replace(f"{path}.tmp", f"{path}.gz")
    os.unlink(path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0

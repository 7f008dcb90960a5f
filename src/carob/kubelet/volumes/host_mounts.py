"""`Mounts` on the real node, through the one door to the kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from carob.host.types import MNT_DETACH, MS_BIND, MS_NODEV, MS_NOSUID, MS_REC

if TYPE_CHECKING:
    from carob.host.types import Host


class HostMounts:
    """Mounts in the mount namespace of this process, which is the one that containers are made in."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def mount_tmpfs(self, path: str, *, size_bytes: int = 0, mode: int = 0o755) -> None:
        data = f"mode={mode:04o}" + (f",size={size_bytes}" if size_bytes else "")
        self._host.mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, data)

    def bind(self, source: str, target: str, *, recursive: bool = True) -> None:
        self._host.mount(source, target, "none", MS_BIND | (MS_REC if recursive else 0), "")

    def unmount(self, path: str) -> None:
        self._host.umount(path, MNT_DETACH)

    def is_mounted(self, path: str) -> bool:
        try:
            return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
        except FileNotFoundError:
            return False

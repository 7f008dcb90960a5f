"""What the volumes need of the node's kernel: mounts. The process that starts the kubelet brings them."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Mounts(Protocol):
    """Mounting in the mount namespace in which containers are made. Blocking; raises OSError."""

    def mount_tmpfs(self, path: str, *, size_bytes: int = 0, mode: int = 0o755) -> None:
        """A file system in memory on the folder `path`; size 0: the kernel's default (half of the memory)."""
        ...

    def mount_hugetlbfs(self, path: str, *, page_bytes: int, mode: int = 0o755) -> None:
        """Huge pages of this size as a file system on the folder `path`."""
        ...

    def bind(self, source: str, target: str, *, recursive: bool = True) -> None:
        """Make `source` visible at `target` too."""
        ...

    def unmount(self, path: str) -> None:
        """Take the topmost mount off `path`, also while it is in use; nothing happens when there is none."""
        ...

    def is_mounted(self, path: str) -> bool:
        """Whether something is mounted exactly at `path`."""
        ...


class PreparedVolume(Struct, frozen=True):
    """A volume that stands: where it lies on the node, and whether it may be written to at all."""

    name: str
    path: str
    readonly: bool = False
    is_file: bool = False
    image: str = ""
    """The image whose files it is, as the Pod names it; `path` is then empty."""
    pull_policy: str = ""
    relabel: bool = True
    """Whether its files may get the label of SELinux that a container has; those of a hostPath are the machine's."""
    is_device: bool = False
    """A block device, given to containers as `volumeDevices`."""

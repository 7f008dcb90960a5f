"""Mounts that are only remembered: for tests of volumes without root."""

from __future__ import annotations


class FakeMounts:
    """Implements the kubelet's `Mounts`; `points` maps each mount point to what is mounted there."""

    def __init__(self) -> None:
        self.points: dict[str, str] = {}

    def mount_tmpfs(self, path: str, *, size_bytes: int = 0, mode: int = 0o755) -> None:
        self.points[path] = f"tmpfs size={size_bytes} mode={mode:o}"

    def mount_hugetlbfs(self, path: str, *, page_bytes: int, mode: int = 0o755) -> None:
        self.points[path] = f"hugetlbfs page={page_bytes} mode={mode:o}"

    def bind(self, source: str, target: str, *, recursive: bool = True) -> None:
        self.points[target] = source

    def unmount(self, path: str) -> None:
        self.points.pop(path, None)

    def is_mounted(self, path: str) -> bool:
        return path in self.points

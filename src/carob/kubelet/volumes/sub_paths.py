"""subPath: a part of a volume, mounted so that no symbolic link inside the volume can lead out of it. Blocking.

The part is opened step by step without following links and the open descriptor is what gets bound, so that a process
in the Pod that swaps a folder for a link in between gains nothing.
Source: kubelet `mount-utils/subpath/subpath_linux.go` (SafeMakeDir, doBindSubPath).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.kubelet.volumes.types import Mounts

FOLDER_MODE = 0o750


def bind(volume: str, path: str, target: str, mounts: Mounts) -> str:
    """Make `path` of `volume` visible at `target` and return it; folders that are missing are made.

    Raises: ValueError when the path leads out of the volume, OSError.
    """
    base = os.path.realpath(volume)
    wanted = os.path.realpath(os.path.join(base, path))
    if wanted != base and not wanted.startswith(base + "/"):
        raise ValueError(f"subpath {path} not within volume path {volume}")
    parts = [part for part in os.path.relpath(wanted, base).split("/") if part != "."]
    descriptor = _open(base, parts)
    try:
        _target_like(descriptor, target)
        mounts.unmount(target)
        mounts.bind(f"/proc/self/fd/{descriptor}", target)
    finally:
        os.close(descriptor)
    return target


def mounted(pod_folder: str) -> list[str]:
    """Every place where a part of a volume may be mounted."""
    out = []
    for parent, folders, files in os.walk(f"{pod_folder}/volume-subpaths"):
        if parent.count("/") - pod_folder.count("/") == 3:
            out += [os.path.join(parent, name) for name in folders + files]
            folders.clear()
    return out


def _open(base: str, parts: list[str]) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open(base, flags)
    try:
        mode = os.fstat(current).st_mode & 0o7777 or FOLDER_MODE
        for part in parts:
            try:
                following = os.open(part, flags, dir_fd=current)
            except FileNotFoundError:
                os.mkdir(part, FOLDER_MODE, dir_fd=current)
                os.chmod(part, mode, dir_fd=current)
                following = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = following
            if _is_link(current):
                raise ValueError(f"unexpected symlink found {part}")
    except BaseException:
        os.close(current)
        raise
    return current


def _is_link(descriptor: int) -> bool:
    return os.fstat(descriptor).st_mode & 0o170000 == 0o120000


def _target_like(descriptor: int, target: str) -> None:
    """An empty file or folder to mount on, of the same kind as what is mounted."""
    if os.fstat(descriptor).st_mode & 0o170000 == 0o040000:
        os.makedirs(target, mode=FOLDER_MODE, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target), mode=FOLDER_MODE, exist_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o640))

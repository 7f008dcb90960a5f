"""hostPath volumes: the check or the creation that the type asks for. Blocking.

Source: kubelet `volume/hostpath/host_path.go`; the messages are upstream's.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "FileOrCreate": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


class Mismatch(Exception):
    """The path is not what the type says."""


def prepare(path: str, kind: str) -> bool:
    """Check or make `path`; True when it is a folder. Raises: Mismatch, OSError."""
    if kind == "DirectoryOrCreate" and not os.path.lexists(path):
        os.makedirs(path, mode=0o755, exist_ok=True)
    elif kind == "FileOrCreate" and not os.path.lexists(path):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if kind == "":
            # upstream lets the runtime make the folder
            os.makedirs(path, mode=0o755, exist_ok=True)
            return True
        raise Mismatch(f"hostPath type check failed: {path} {_CHECKS[kind][1]}") from None
    check = _CHECKS.get(kind)
    if check is not None and not check[0](mode):
        raise Mismatch(f"hostPath type check failed: {path} {check[1]}")
    return stat.S_ISDIR(mode)

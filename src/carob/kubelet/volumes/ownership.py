"""fsGroup: the volume's files belong to a group that all of the Pod's containers are in. Blocking.

Source: kubelet `volume/volume_linux.go` (SetVolumeOwnership): group, rw for it, setgid on folders.
"""

from __future__ import annotations

import os
import stat

READ_WRITE = 0o660
READ_ONLY = 0o440
EXECUTE = 0o110
SETGID = stat.S_ISGID


def give_to_group(root: str, group: int, *, readonly: bool = False, on_root_mismatch: bool = False) -> None:
    """Hand everything below `root` to `group`; symbolic links are not followed.

    Shape: with `on_root_mismatch` nothing is done when the root already has the right group and bits.
    """
    if on_root_mismatch and _right(root, group, readonly):
        return
    for parent, folders, files in os.walk(root, topdown=False):
        for name in files:
            _give(os.path.join(parent, name), group, readonly)
        for name in folders:
            _give(os.path.join(parent, name), group, readonly)
    # the root last: its bits tell that all below is done
    _give(root, group, readonly)


def _give(path: str, group: int, readonly: bool) -> None:
    status = os.lstat(path)
    os.chown(path, -1, group, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return
    mask = READ_ONLY if readonly else READ_WRITE
    if stat.S_ISDIR(status.st_mode):
        mask |= SETGID | EXECUTE
    os.chmod(path, stat.S_IMODE(status.st_mode) | mask)


def _right(root: str, group: int, readonly: bool) -> bool:
    status = os.lstat(root)
    mask = (READ_ONLY if readonly else READ_WRITE) | EXECUTE | SETGID
    return status.st_gid == group and status.st_mode & mask == mask

"""PersistentVolumes on this node: folders and block devices of the node itself. Blocking.

Nothing is mounted here: a folder is handed to containers as it lies there, so that there is nothing to take back.
Source: kubelet `volume/local/local.go`, `volume/hostpath`. Differs: no mount options, no formatting of devices.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from carob.api.claims import mode
from carob.kubelet.volumes import host_path, ownership
from carob.kubelet.volumes.types import PreparedVolume

if TYPE_CHECKING:
    from carob.api.types import core_v1

FOLDER_MODE = 0o777
LONGEST_NAME = 253


def set_up(
    name: str, volume: core_v1.PersistentVolume, security: core_v1.PodSecurityContext | None, *, readonly: bool
) -> PreparedVolume:
    """Check that it is there and hand it to the Pod's group. Raises: OSError, ValueError, Mismatch."""
    spec = volume.spec
    if spec.host_path is not None:
        is_folder = host_path.prepare(spec.host_path.path, spec.host_path.type or "")
        path = spec.host_path.path
        return PreparedVolume(name, path, readonly=readonly, is_file=not is_folder, relabel=False)
    if spec.local is None:
        raise ValueError("no volume plugin matched")
    path = spec.local.path
    if not os.path.exists(path):
        raise ValueError(f'path "{path}" does not exist')
    if mode(spec.volume_mode) == "Block":
        if not stat.S_ISBLK(os.stat(path).st_mode):
            raise ValueError(f"path {path} is not a block device")
        return PreparedVolume(name, path, readonly=readonly, is_file=True, is_device=True)
    if not os.path.isdir(path):
        raise ValueError(f'only folders can be mounted here: path "{path}" is none')
    group = security.fs_group if security is not None else None
    if group is not None and not readonly:
        lazy = security is not None and security.fs_group_change_policy == "OnRootMismatch"
        ownership.give_to_group(path, group, on_root_mismatch=lazy)
    return PreparedVolume(name, path, readonly=readonly)


def make_folder(root: str, name: str) -> str:
    """The folder of a new volume; one that is there already stays as it is. Raises: ValueError, OSError."""
    path = f"{root}/{_checked(name)}"
    if not os.path.isdir(path):
        os.makedirs(path, mode=0o755, exist_ok=True)
        # whoever a container runs as must be able to write; the umask does not count here
        os.chmod(path, FOLDER_MODE)
    return path


def remove_folder(root: str, name: str) -> None:
    """The folder and what is in it is gone; links are not followed. Raises: ValueError, OSError."""
    path = f"{root}/{_checked(name)}"
    if os.path.lexists(path):
        shutil.rmtree(path)


def _checked(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name) > LONGEST_NAME:
        raise ValueError(f"invalid volume name {name!r}")
    return name

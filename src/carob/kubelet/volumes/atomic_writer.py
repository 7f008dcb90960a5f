"""Writes the files of a configMap, secret, downwardAPI or projected volume so that readers see all old or all new.

Every file is a symbolic link through `..data` to a folder with a time stamp; an update fills a new folder and swaps
`..data` by one rename. Touches files below one folder only. Blocking.

Source: kubelet `volume/util/atomic_writer.go`.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.base.clock import rfc3339_micro

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = "..data"
NEW_DATA = "..data_tmp"
LONGEST_PATH = 4096


class File(Struct, frozen=True):
    """One file's content. `mode` are permission bits; `owner` the user it belongs to, None: root."""

    data: bytes
    mode: int
    owner: int | None = None


def check_paths(paths: list[str]) -> None:
    """Raises: ValueError for a path that leads out of the volume. Source: `validatePayload`."""
    for path in paths:
        parts = path.split("/")
        if not path or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
            raise ValueError(f"invalid path: {path}: must be relative and must not contain '..' elements")
        if len(path) > LONGEST_PATH:
            raise ValueError(f"invalid path: must be less than or equal to {LONGEST_PATH} characters")


def write(folder: str, files: Mapping[str, File], now: float, *, group: int | None = None) -> bool:
    """Make the files below `folder` exactly these; False when they were so already.

    Shape: `files` by their path relative to the folder; `group` owns them where fsGroup says so.
    Raises: ValueError for a bad path, OSError.
    """
    check_paths(list(files))
    data_link = os.path.join(folder, DATA)
    old = _target(data_link)
    if old is not None and _same(os.path.join(folder, old), files, group):
        return False
    stamp = _new_folder(folder, now)
    try:
        for path, file in files.items():
            _write_file(os.path.join(folder, stamp), path, file, group)
        os.symlink(stamp, os.path.join(folder, NEW_DATA))
        os.replace(os.path.join(folder, NEW_DATA), data_link)
    except OSError:
        shutil.rmtree(os.path.join(folder, stamp), ignore_errors=True)
        raise
    _link_names(folder, {path.split("/", 1)[0] for path in files})
    if old is not None:
        shutil.rmtree(os.path.join(folder, old), ignore_errors=True)
    return True


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def _new_folder(folder: str, now: float) -> str:
    base = "..{}".format(rfc3339_micro(now).replace("-", "_").replace(":", "_").removesuffix("Z"))
    for attempt in range(100):
        name = base if attempt == 0 else f"{base}.{attempt}"
        try:
            os.mkdir(os.path.join(folder, name), 0o755)
        except FileExistsError:
            continue
        os.chmod(os.path.join(folder, name), 0o755)
        return name
    raise FileExistsError(f"no free name for a new version in {folder}")


def _write_file(root: str, path: str, file: File, group: int | None) -> None:
    full = os.path.join(root, path)
    if "/" in path:
        os.makedirs(os.path.dirname(full), mode=0o755, exist_ok=True)
    descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(file.data)
        while view:
            view = view[os.write(descriptor, view) :]
        if file.owner is not None or group is not None:
            os.fchown(descriptor, -1 if file.owner is None else file.owner, -1 if group is None else group)
        # the umask does not count here
        os.fchmod(descriptor, file.mode if group is None else _for_group(file.mode))
    finally:
        os.close(descriptor)


def _for_group(mode: int) -> int:
    """fsGroup's members may read. Source: `volume/volume_linux.go` (roMask)."""
    return mode | 0o440


def _link_names(folder: str, names: set[str]) -> None:
    for name in names:
        link = os.path.join(folder, name)
        if not os.path.lexists(link):
            os.symlink(f"{DATA}/{name}", link)
    for name in os.listdir(folder):
        if name not in names and not name.startswith(".."):
            os.unlink(os.path.join(folder, name))


def _same(root: str, files: Mapping[str, File], group: int | None) -> bool:
    present = set()
    for parent, _, names in os.walk(root):
        present |= {os.path.relpath(os.path.join(parent, name), root) for name in names}
    if present != set(files):
        return False
    for path, file in files.items():
        full = os.path.join(root, path)
        mode = file.mode if group is None else _for_group(file.mode)
        if os.stat(full).st_mode & 0o7777 != mode:
            return False
        with open(full, "rb") as stream:
            if stream.read(len(file.data) + 1) != file.data:
                return False
    return True

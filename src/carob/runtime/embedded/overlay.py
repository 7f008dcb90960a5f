"""A container's root: the image's layers below, one writable layer on top. Blocking; called in a pool's thread.

Source: the kernel's filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from carob.host.types import MS_BIND, MS_RDONLY, MS_REMOUNT, Host

# mount(2) takes one page of options
_MAX_OPTIONS = 4000
_MAPPED = "mapped-layers"
_ESCAPED = (":", ",", "\\")


def mount(
    host: Host, bundle: str, writable: str, layers: list[str], users: Users | None = None, label: str = ""
) -> str:
    """Mount the root file system of a container below its bundle; its path.

    `layers` are folders, topmost first; what is written goes below `writable`. All files have `label` (SELinux), if there is
    one. Raises: OSError.
    """
    upper, work = f"{writable}/upper", f"{writable}/work"
    host.mkdir(writable, 0o711)
    for folder in (upper, work, f"{bundle}/rootfs"):
        host.mkdir(folder)
    if users is not None:
        host.chown(upper, users.root, users.root)
    with _seen_by(host, bundle, layers, users) as seen:
        more = f",upperdir={upper},workdir={work}"
        if label:
            # in quotes: its level may have commas
            more += f',context="{label}"'
        _stack(host, seen, f"{bundle}/layers", f"{bundle}/rootfs", more, _mount)
    return f"{bundle}/rootfs"


class Users(NamedTuple):
    """Whose eyes the files are for: the file of a user namespace, and who its root is on the machine."""

    namespace: str
    root: int


@contextmanager
def _seen_by(host: Host, bundle: str, layers: list[str], users: Users | None) -> Iterator[list[str]]:
    """The layers with their owners mapped; overlayfs holds on to what it was mounted of, so these mounts can go."""
    if users is None:
        yield layers
        return
    seen: list[str] = []
    try:
        for number, layer in enumerate(layers):
            target = f"{bundle}/{_MAPPED}/{number}"
            host.mkdir(target)
            host.mount_idmapped(layer, target, users.namespace)
            seen.append(target)
        yield seen
    finally:
        for target in seen:
            host.umount(target)


def mount_volume(host: Host, bundle: str, number: int, source: str, users: Users) -> str:
    """Mount a volume below a bundle as its `number`th, with its owners mapped; the path. Raises: OSError."""
    target = image_volume(bundle, number)
    if os.path.isdir(source):
        host.mkdir(target)
    else:
        host.mkdir(os.path.dirname(target))
        host.create(target)
    host.mount_idmapped(source, target, users.namespace, recursive=True)
    return target


def mount_image(host: Host, bundle: str, number: int, layers: list[str], users: Users | None = None) -> str:
    """Mount the files of an image below a bundle, as its `number`th volume, read-only; the path. Raises: OSError."""
    target = image_volume(bundle, number)
    host.mkdir(target)
    if len(layers) == 1:
        # an overlay needs two layers when nothing is written
        if users is not None:
            host.mount_idmapped(layers[0], target, users.namespace)
        else:
            host.mount(layers[0], target, flags=MS_BIND)
        host.mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
    else:
        with _seen_by(host, bundle, layers, users) as seen:
            _stack(host, seen, f"{bundle}/layers-{number}", target, "", _mount_read_only)
    return target


def image_volume(bundle: str, number: int) -> str:
    """Where the `number`th volume of a container is mounted, if that is an image."""
    return f"{bundle}/volumes/{number}"


def _stack(
    host: Host,
    layers: list[str],
    folder: str,
    target: str,
    more: str,
    mount_at: Callable[[Host, str, str], None],
) -> None:
    lower = ":".join(layers)
    special = any(sign in layer for layer in layers for sign in _ESCAPED)
    if special or len(lower) + len(more) > _MAX_OPTIONS:
        # relative links are short however deep the layers lie, and hold no sign that overlayfs reads otherwise
        host.mkdir(folder)
        for number, layer in enumerate(layers):
            host.symlink(layer, f"{folder}/{number}")
        host.chdir(folder)
        lower = ":".join(str(number) for number in range(len(layers)))
    try:
        mount_at(host, target, f"lowerdir={lower}{more}")
    finally:
        if lower.startswith("0"):
            host.chdir("/")


def _mount_read_only(host: Host, target: str, options: str) -> None:
    host.mount("overlay", target, "overlay", MS_RDONLY, options)


def _mount(host: Host, target: str, options: str) -> None:
    """`volatile` first: a writable layer is never used again after the machine went down, so nothing need be synced."""
    try:
        host.mount("overlay", target, "overlay", 0, options + ",volatile")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        host.mount("overlay", target, "overlay", 0, options)


def unmount(host: Host, bundle: str, image_volumes: Iterable[int] = ()) -> None:
    """Let go of the root file system and of what was mounted beside it, and remove all of the bundle; idempotent."""
    mapped = f"{bundle}/{_MAPPED}"
    if host.exists(mapped):
        for name in host.folders(mapped):
            host.umount(f"{mapped}/{name}")
    host.umount(f"{bundle}/rootfs")
    for number in image_volumes:
        host.umount(image_volume(bundle, number))
    host.rmtree(bundle)

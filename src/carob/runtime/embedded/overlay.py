"""A container's root: the image's layers below, one writable layer on top. Blocking; called in a pool's thread.

Source: the kernel's filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno

from carob.host.types import Host

# mount(2) takes one page of options
_MAX_OPTIONS = 4000
_ESCAPED = (":", ",", "\\")


def mount(host: Host, bundle: str, layers: list[str]) -> str:
    """Mount the root file system of a container below its bundle; its path.

    `layers` are folders, topmost first. Raises: OSError.
    """
    for name in ("upper", "work", "rootfs"):
        host.mkdir(f"{bundle}/{name}")
    lower = ":".join(layers)
    special = any(sign in layer for layer in layers for sign in _ESCAPED)
    folder = f"{bundle}/layers"
    upper, work = f"{bundle}/upper", f"{bundle}/work"
    if special or len(lower) + len(upper) + len(work) > _MAX_OPTIONS:
        # relative links are short however deep the layers lie, and hold no sign that overlayfs reads otherwise
        host.mkdir(folder)
        for number, layer in enumerate(layers):
            host.symlink(layer, f"{folder}/{number}")
        host.chdir(folder)
        lower = ":".join(str(number) for number in range(len(layers)))
    try:
        _mount(host, f"{bundle}/rootfs", f"lowerdir={lower},upperdir={upper},workdir={work}")
    finally:
        if lower.startswith("0"):
            host.chdir("/")
    return f"{bundle}/rootfs"


def _mount(host: Host, target: str, options: str) -> None:
    """`volatile` first: a writable layer is never used again after the machine went down, so nothing need be synced."""
    try:
        host.mount("overlay", target, "overlay", 0, options + ",volatile")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        host.mount("overlay", target, "overlay", 0, options)


def unmount(host: Host, bundle: str) -> None:
    """Let go of the root file system and remove all of the bundle; idempotent."""
    host.umount(f"{bundle}/rootfs")
    host.rmtree(bundle)

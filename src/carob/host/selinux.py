"""Labels of SELinux: whether this machine has them, what its policy calls containers, how files get one. Blocking.

Source: the kernel's selinuxfs; selinux_config(5); `lxc_contexts` as libselinux's `selinux_lxc_contexts_path(3)` finds it.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.host.types import Host

_CONFIG = "/etc/selinux/config"
_ATTRIBUTE = "security.selinux"
# Folders of the machine that no volume may stand for. Source: go-selinux `label.Relabel`.
_NEVER = frozenset(
    [
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib32",
        "/lib64",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
        "/tmp",
        "/usr",
        "/var",
        "/var/lib",
        "/var/log",
    ]
)


class Contexts(NamedTuple):
    """What the policy gives a container: `user:role:type:level` of its processes and of its files."""

    process: str
    file: str


def is_on(host: Host) -> bool:
    """Whether the kernel labels everything, and we may see it."""
    return host.exists("/sys/fs/selinux/enforce")


def contexts(host: Host) -> Contexts | None:
    """Those of the policy in force; None when it knows no containers. Raises: OSError."""
    policy = _settings(host, _CONFIG).get("SELINUXTYPE", "targeted")
    path = f"/etc/selinux/{policy}/contexts/lxc_contexts"
    if not host.exists(path):
        return None
    found = _settings(host, path)
    return Contexts(found["process"], found["file"]) if {"process", "file"} <= found.keys() else None


def _settings(host: Host, path: str) -> dict[str, str]:
    if not host.exists(path):
        return {}
    lines = (line.partition("=") for line in host.read(path).splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip('"') for name, equals, value in lines if equals}


def relabel(path: str, label: str) -> None:
    """Give a file, or a folder and all in it, this label. A file system without labels is left as it is.

    Raises: PermissionError for a folder of the machine's own; OSError.
    """
    if os.path.normpath(path) in _NEVER:
        raise PermissionError(errno.EPERM, "SELinux relabeling of this folder is not allowed", path)
    value = label.encode() + b"\0"
    for one in _all_in(path):
        try:
            os.setxattr(one, _ATTRIBUTE, value, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return
            if error.errno != errno.ENOENT:
                raise


def _all_in(path: str) -> Iterator[str]:
    yield path
    if os.path.islink(path):
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield f"{folder}/{name}"

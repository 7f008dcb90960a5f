"""Device nodes of the machine that containers ask for: one, a folder of them, or (privileged) all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from carob.runtime.embedded.oci_spec import DeviceNode
from carob.runtime.types import ContainerConfig, RuntimeFailure

# crun makes these itself, or the container has its own
_OWN = ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console", "/dev/fd", "/dev/.udev", "/dev/.lxc")
_MAX_NODES = 4096


def wanted(config: ContainerConfig) -> list[DeviceNode]:
    """Every node that the container gets. Raises: RuntimeFailure for a path that is no device."""
    if config.security.privileged:
        nodes = {node.path: node for node in _below("/dev", "/dev", "rwm")}
    else:
        nodes = {}
    for device in config.devices:
        found = list(_below(device.host_path, device.container_path, device.permissions or "rwm"))
        if not found:
            raise RuntimeFailure(f'"{device.host_path}" is not a device node', "CreateContainerError")
        nodes.update((node.path, node) for node in found)
    return list(nodes.values())


def _below(source: str, target: str, permissions: str) -> Iterator[DeviceNode]:
    pending = [(source, target)]
    for number, (path, shown) in enumerate(pending):
        if number >= _MAX_NODES or path.startswith(_OWN):
            continue
        try:
            status = os.stat(path) if number == 0 else os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            pending += [(f"{path}/{name}", f"{shown}/{name}") for name in sorted(os.listdir(path))]
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            yield DeviceNode(
                path=shown,
                kind="c" if stat.S_ISCHR(status.st_mode) else "b",
                major=os.major(status.st_rdev),
                minor=os.minor(status.st_rdev),
                permissions=permissions,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
            )

"""The machine that the node is: processors, memory, disk, names. Reads /proc, /sys and /etc only."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carob.kubelet.files import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while the agent runs. Units: bytes."""

    hostname: str
    cpus: int
    memory_bytes: int
    swap_bytes: int
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str
    hugepages: Mapping[str, int]
    apparmor: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What changes. Units: bytes, counts."""

    memory_available_bytes: int
    disk_capacity_bytes: int
    disk_available_bytes: int
    inodes: int
    inodes_free: int
    processes: int
    max_processes: int


def read_machine() -> Machine:
    """Look at this machine."""
    memory = _meminfo()
    uname = os.uname()
    return Machine(
        hostname=uname.nodename,
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory.get("MemTotal", 0),
        swap_bytes=memory.get("SwapTotal", 0),
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
        kernel=uname.release,
        os_image=_os_image(),
        machine_id=read_text("/etc/machine-id").strip(),
        system_uuid=read_text("/sys/class/dmi/id/product_uuid").strip() or read_text("/etc/machine-id").strip(),
        boot_id=read_text("/proc/sys/kernel/random/boot_id").strip(),
        hugepages=_hugepages(),
        apparmor=read_text("/sys/module/apparmor/parameters/enabled").strip() == "Y",
    )


def read_usage(folder: str) -> Usage:
    """How full it is; `folder` lies on the disk that Pods use."""
    disk = os.statvfs(folder)
    processes = read_text("/proc/loadavg").split()
    running = int(processes[3].partition("/")[2]) if len(processes) > 3 else 0
    return Usage(
        memory_available_bytes=_meminfo().get("MemAvailable", 0),
        disk_capacity_bytes=disk.f_blocks * disk.f_frsize,
        disk_available_bytes=disk.f_bavail * disk.f_frsize,
        inodes=disk.f_files,
        inodes_free=disk.f_ffree,
        processes=running,
        max_processes=int(read_text("/proc/sys/kernel/pid_max") or 0),
    )


def _meminfo() -> dict[str, int]:
    return {
        match[1]: int(match[2]) * 1024
        for match in re.finditer(r"^(\w+):\s+(\d+) kB$", read_text("/proc/meminfo"), re.MULTILINE)
    }


def _os_image() -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', read_text("/etc/os-release"), re.MULTILINE)
    return match[1] if match else "Linux"


def _hugepages() -> dict[str, int]:
    """`{"hugepages-2Mi": bytes}` for every size that the kernel has."""
    root = "/sys/kernel/mm/hugepages"
    out = {}
    for name in sorted(os.listdir(root)) if os.path.isdir(root) else ():
        size = int(name.removeprefix("hugepages-").removesuffix("kB"))
        count = int(read_text(f"{root}/{name}/nr_hugepages") or 0)
        unit = f"{size >> 20}Gi" if size >= 1 << 20 else f"{size >> 10}Mi" if size >= 1 << 10 else f"{size}Ki"
        out[f"hugepages-{unit}"] = count * size * 1024
    return out

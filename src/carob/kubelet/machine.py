"""The machine that the node is: processors, memory, disk, names. Reads /proc, /sys and /etc only."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.host import pressure
from carob.kubelet.files import read_text
from carob.runtime.sandbox_counters import parse_interfaces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.host.pressure import Pressure
    from carob.runtime.types import InterfaceStats

# Source: cAdvisor `utils/sysinfo` (isIgnoredDevice), and our own
_PODS_INTERFACES = ("veth", "docker", "nerdctl", "carob")
_CGROUPS = "/sys/fs/cgroup"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


class Machine(Struct, frozen=True):
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
    max_processes: int = 0
    user_namespaces: bool = False
    """Whether the kernel maps the owners of all files that a Pod has: also in memory, since Linux 6.3."""
    cgroup2: bool = False
    """Whether control groups are those of version 2 alone."""
    swap_limits: bool = False
    """Whether swapped memory is counted by group."""


class Usage(Struct, frozen=True):
    """What changes. Units: bytes, counts."""

    memory_available_bytes: int
    disk_capacity_bytes: int
    disk_available_bytes: int
    inodes: int
    inodes_free: int
    processes: int
    max_processes: int


class NodeUse(Struct, frozen=True):
    """What the whole node uses, its Pods and everything else. Units: nanoseconds, bytes, counts since it started."""

    cpu_nanoseconds: int
    memory_usage_bytes: int
    memory_working_set_bytes: int
    memory_rss_bytes: int
    page_faults: int
    major_page_faults: int
    swap_usage_bytes: int
    swap_available_bytes: int
    booted_at: float
    pressure: Mapping[str, Pressure] = field(default_factory=dict)
    """By resource (cpu, memory, io)."""
    interfaces: Sequence[InterfaceStats] = ()
    """The node's own, not the Pods' ends."""


def read_machine() -> Machine:
    """Look at this machine."""
    memory = _meminfo()
    uname = os.uname()
    cgroup2 = os.path.exists(f"{_CGROUPS}/cgroup.controllers")
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
        max_processes=int(read_text("/proc/sys/kernel/pid_max") or 0),
        user_namespaces=_maps_users(uname.release),
        apparmor=read_text("/sys/module/apparmor/parameters/enabled").strip() == "Y",
        cgroup2=cgroup2,
        swap_limits=_limits_swap(cgroup2),
    )


def read_usage(folder: str) -> Usage:
    """How full it is; `folder` lies on the disk that Pods use."""
    disk = os.statvfs(folder)
    processes = read_text("/proc/loadavg").split()
    running = int(processes[3].partition("/")[2]) if len(processes) > 3 else 0
    return Usage(
        memory_available_bytes=_available(_meminfo()),
        disk_capacity_bytes=disk.f_blocks * disk.f_frsize,
        disk_available_bytes=disk.f_bavail * disk.f_frsize,
        inodes=disk.f_files,
        inodes_free=disk.f_ffree,
        processes=running,
        max_processes=int(read_text("/proc/sys/kernel/pid_max") or 0),
    )


def read_use() -> NodeUse:
    """What the node uses now; about a third of a millisecond."""
    memory, faults, times = _meminfo(), _vmstat(), _cpu_times()
    usage = memory.get("MemTotal", 0) - memory.get("MemFree", 0)
    return NodeUse(
        cpu_nanoseconds=times[0],
        memory_usage_bytes=usage,
        memory_working_set_bytes=max(0, usage - memory.get("Inactive(file)", 0)),
        memory_rss_bytes=memory.get("AnonPages", 0),
        page_faults=faults.get("pgfault", 0),
        major_page_faults=faults.get("pgmajfault", 0),
        swap_usage_bytes=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
        swap_available_bytes=memory.get("SwapFree", 0),
        booted_at=times[1],
        pressure=pressure.read(read_text, lambda resource: f"/proc/pressure/{resource}"),
        interfaces=[
            one for one in parse_interfaces(read_text("/proc/net/dev")) if not one.name.startswith(_PODS_INTERFACES)
        ],
    )


def _limits_swap(cgroup2: bool) -> bool:
    """Source: kubelet `kuberuntime_container_linux.go` (swapControllerAvailable): v2's root has no such file."""
    own = read_text("/proc/self/cgroup").strip().rpartition("::")[2] if cgroup2 else "/memory"
    return os.path.exists(f"{_CGROUPS}{own}/{'memory.swap.max' if cgroup2 else 'memory.memsw.limit_in_bytes'}")


def _maps_users(release: str) -> bool:
    version = re.match(r"(\d+)\.(\d+)", release)
    # 0 where an administrator does not want them, empty where the kernel has none
    allowed = int(read_text("/proc/sys/user/max_user_namespaces") or 0)
    return version is not None and (int(version[1]), int(version[2])) >= (6, 3) and allowed > 0


def _available(memory: Mapping[str, int]) -> int:
    """As upstream counts: everything but the working set."""
    return memory.get("MemFree", 0) + memory.get("Inactive(file)", 0)


def _cpu_times() -> tuple[int, float]:
    """Nanoseconds at work, and when the machine started. Guest time is in user time already."""
    work, booted = 0, 0.0
    for line in read_text("/proc/stat").splitlines():
        name, _, rest = line.partition(" ")
        if name == "cpu":
            ticks = [int(number) for number in rest.split()]
            # user, nice, system, irq, softirq, steal: all but idle and iowait
            work = sum(ticks[:3]) + sum(ticks[5:8])
        elif name == "btime":
            booted = float(rest)
    return work * (1_000_000_000 // os.sysconf("SC_CLK_TCK")), booted


def _vmstat() -> dict[str, int]:
    wanted = ("pgfault", "pgmajfault")
    lines = (line.split() for line in read_text("/proc/vmstat").splitlines())
    return {name: int(number) for name, number in lines if name in wanted}


def _meminfo() -> dict[str, int]:
    return {
        match[1]: int(match[2]) * 1024
        for match in re.finditer(r"^([\w()]+):\s+(\d+) kB$", read_text("/proc/meminfo"), re.MULTILINE)
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

"""Limits and counters by the files of cgroup v2."""

from __future__ import annotations

import errno
import math
from contextlib import suppress
from typing import TYPE_CHECKING

from carob.host import pressure
from carob.host.types import Host

if TYPE_CHECKING:
    from carob.host.cgroup import CgroupLimits, CgroupStats

_MIN_SHARES = 2
_MAX_SHARES = 262_144
_MAX_WEIGHT = 10_000
_MOVES = 20
ROOM = "/carob.processes"
"""The group that takes the processes of a container's root; no cluster's name has a dot."""


def weight(shares: int) -> int:
    """A container's cpu.weight for v1's cpu.shares, so that 1024 shares stand for the default weight of 100.

    Source: the conversion of OCI runtimes since 2025 (runc 1.3.2, crun 1.23), a quadratic in the logarithm.
    """
    if shares <= _MIN_SHARES:
        return 1
    if shares >= _MAX_SHARES:
        return _MAX_WEIGHT
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def group_weight(shares: int) -> int:
    """The same of the groups that the kubelet makes, Pods and what is above them: in proportion to what was asked for.

    Source: kubelet `cm/cgroup_manager_linux.go` (getCPUWeight).
    """
    return min(
        _MAX_WEIGHT, 1 + (max(shares, _MIN_SHARES) - _MIN_SHARES) * (_MAX_WEIGHT - 1) // (_MAX_SHARES - _MIN_SHARES)
    )


def delegate(host: Host, folder: str) -> None:
    """Hand every controller that a group has on to its children.

    The root that a container sees is a group with processes, which the kernel lets hand nothing on: they make room first.
    Raises: OSError (EBUSY) when there are some that the container cannot name.
    """
    available = host.read(f"{folder}/cgroup.controllers").split()
    enabled = host.read(f"{folder}/cgroup.subtree_control").split()
    missing = [f"+{name}" for name in available if name not in enabled]
    if not missing:
        return
    control = f"{folder}/cgroup.subtree_control"
    try:
        host.write(control, " ".join(missing))
        return
    except OSError as error:
        # before any other try: one controller alone would make the group threaded, and the others impossible
        if error.errno == errno.EBUSY and host.exists(f"{folder}/cgroup.type"):
            make_room(host, folder)
            if host.read(f"{folder}/cgroup.procs").split():
                why = "processes from outside of this container keep its root group from handing controllers on"
                raise OSError(errno.EBUSY, why, folder) from error
    # one that cannot be had must not keep the others from us
    for name in missing:
        with suppress(OSError):
            host.write(control, name)


def make_room(host: Host, folder: str) -> None:
    """Move the processes of a group into one below it, as the entry points of others' containers do."""
    host.mkdir(f"{folder}{ROOM}")
    _move(host, folder, f"{folder}{ROOM}")


def take_back(host: Host, folder: str) -> None:
    """The opposite of `make_room`, once nobody below needs a controller any more; else nothing."""
    room = f"{folder}{ROOM}"
    if not host.exists(room) or [f"/{name}" for name in host.folders(folder)] != [ROOM]:
        return
    for name in host.read(f"{folder}/cgroup.subtree_control").split():
        host.write(f"{folder}/cgroup.subtree_control", f"-{name}")
    _move(host, room, folder)
    host.rmdir(room)


def _move(host: Host, source: str, target: str) -> None:
    """All processes; those that are forked meanwhile, too."""
    for _ in range(_MOVES):
        # 0: a process that this namespace cannot name
        pids = [pid for pid in host.read(f"{source}/cgroup.procs").split() if pid != "0"]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                host.write(f"{target}/cgroup.procs", pid)


class Version2:
    """Reads and writes v2 files below the mount point."""

    def __init__(self, host: Host, mount: str) -> None:
        self._host = host
        self._mount = mount

    def _write(self, path: str, name: str, value: int | str) -> None:
        self._host.write(f"{self._mount}{path}/{name}", str(value))

    def apply(self, path: str, limits: CgroupLimits) -> None:
        if limits.cpu_weight:
            self._write(path, "cpu.weight", limits.cpu_weight)
        if limits.cpu_quota:
            quota = "max" if limits.cpu_quota < 0 else str(limits.cpu_quota)
            self._write(path, "cpu.max", f"{quota} {limits.cpu_period}")
        if limits.cpuset_cpus:
            self._write(path, "cpuset.cpus", limits.cpuset_cpus)
        if limits.memory_limit:
            self._write(path, "memory.max", _or_max(limits.memory_limit))
        if limits.memory_swap_limit is not None:
            # v1 counts memory and swap together, v2 swap alone
            swap = limits.memory_swap_limit
            alone = -1 if swap < 0 else max(0, swap - max(0, limits.memory_limit))
            with suppress(FileNotFoundError):
                self._write(path, "memory.swap.max", _or_max(alone))
        if limits.pids_limit:
            self._write(path, "pids.max", _or_max(limits.pids_limit))
        for size, amount in limits.hugepage_limits.items():
            # what is promised to mmap is limited, too, or a page too many would be a SIGBUS
            for name in (f"hugetlb.{size}.max", f"hugetlb.{size}.rsvd.max"):
                with suppress(FileNotFoundError):
                    self._write(path, name, amount)
        for name, value in limits.unified.items():
            self._write(path, name, value)

    def stats(self, path: str) -> CgroupStats:
        from carob.host.cgroup import CgroupStats

        usage = self._number(path, "memory.current")
        memory = self._table(path, "memory.stat")
        cpu = self._table(path, "cpu.stat")
        return CgroupStats(
            cpu_usage_nanoseconds=cpu.get("usage_usec", 0) * 1000,
            memory_usage_bytes=usage,
            memory_working_set_bytes=max(0, usage - memory.get("inactive_file", 0)),
            memory_rss_bytes=memory.get("anon", 0),
            page_faults=memory.get("pgfault", 0),
            major_page_faults=memory.get("pgmajfault", 0),
            process_count=self._number(path, "pids.current") or self._processes(path),
            oom_kills=self.oom_kills(path) or 0,
            cpu_periods=cpu.get("nr_periods", 0),
            cpu_throttled_periods=cpu.get("nr_throttled", 0),
            cpu_throttled_nanoseconds=cpu.get("throttled_usec", 0) * 1000,
            memory_cache_bytes=memory.get("file", 0),
            swap_usage_bytes=self._number(path, "memory.swap.current"),
            cpu_user_nanoseconds=cpu.get("user_usec", 0) * 1000,
            cpu_system_nanoseconds=cpu.get("system_usec", 0) * 1000,
            pressure=pressure.read(self._host.read, lambda resource: f"{self._mount}{path}/{resource}.pressure"),
        )

    def devices(self, path: str) -> dict[tuple[int, int], list[int]]:
        found = {}
        with suppress(OSError):
            for line in self._host.read(f"{self._mount}{path}/io.stat").splitlines():
                named = dict(word.split("=", 1) for word in line.split() if "=" in word)
                # some kernels put devices without numbers before the one whose numbers follow
                devices = [word for word in line.split() if "=" not in word]
                if not named or not devices:
                    continue
                major, _, minor = devices[-1].partition(":")
                with suppress(ValueError):
                    numbers = [int(named.get(key, 0)) for key in ("rbytes", "wbytes", "rios", "wios")]
                    found[int(major), int(minor)] = numbers
        return found

    def oom_kills(self, path: str) -> int | None:
        return self._table(path, "memory.events").get("oom_kill")

    def _processes(self, path: str) -> int:
        with suppress(OSError):
            return len(self._host.read(f"{self._mount}{path}/cgroup.procs").split())
        return 0

    def _number(self, path: str, name: str) -> int:
        with suppress(OSError, ValueError):
            return int(self._host.read(f"{self._mount}{path}/{name}"))
        return 0

    def _table(self, path: str, name: str) -> dict[str, int]:
        with suppress(OSError, ValueError):
            text = self._host.read(f"{self._mount}{path}/{name}")
            return {key: int(value) for key, value in (line.split() for line in text.splitlines())}
        return {}


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)

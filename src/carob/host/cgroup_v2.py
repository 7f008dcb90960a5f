"""Limits and counters by the files of cgroup v2."""

from __future__ import annotations

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


def weight(shares: int) -> int:
    """cpu.weight for v1's cpu.shares, so that 1024 shares stand for the default weight of 100.

    Source: the OCI runtime spec's conversion since 2025 (runc and crun), a quadratic in the logarithm.
    """
    if shares <= _MIN_SHARES:
        return 1
    if shares >= _MAX_SHARES:
        return _MAX_WEIGHT
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def delegate(host: Host, folder: str) -> None:
    """Hand every controller that a group has on to its children."""
    available = host.read(f"{folder}/cgroup.controllers").split()
    enabled = host.read(f"{folder}/cgroup.subtree_control").split()
    missing = [name for name in available if name not in enabled]
    if not missing:
        return
    try:
        host.write(f"{folder}/cgroup.subtree_control", " ".join("+" + name for name in missing))
    except OSError:
        # one that cannot be had must not keep the others from us
        for name in missing:
            with suppress(OSError):
                host.write(f"{folder}/cgroup.subtree_control", "+" + name)


class Version2:
    """Reads and writes v2 files below the mount point."""

    def __init__(self, host: Host, mount: str) -> None:
        self._host = host
        self._mount = mount

    def _write(self, path: str, name: str, value: int | str) -> None:
        self._host.write(f"{self._mount}{path}/{name}", str(value))

    def apply(self, path: str, limits: CgroupLimits) -> None:
        if limits.cpu_shares:
            self._write(path, "cpu.weight", weight(limits.cpu_shares))
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
            with suppress(FileNotFoundError):
                self._write(path, f"hugetlb.{size}.max", amount)

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
        with suppress(OSError, ValueError):
            for line in self._host.read(f"{self._mount}{path}/io.stat").splitlines():
                device, *words = line.split()
                major, _, minor = device.partition(":")
                named = {key: int(value) for key, value in (word.split("=") for word in words)}
                numbers = [named.get(key, 0) for key in ("rbytes", "wbytes", "rios", "wios")]
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

"""Limits and counters by the files of cgroup v1."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from carob.host.types import Host

if TYPE_CHECKING:
    from carob.host.cgroup import CgroupLimits, CgroupStats

_UNLIMITED = -1
# USER_HZ, the same on every machine that Linux runs on
_TICK_NANOSECONDS = 10_000_000


def inherit_cpuset(host: Host, parent: str, folder: str) -> None:
    """A new cpuset group has no CPU and no memory node and takes no process until both are set."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if host.read(f"{folder}/{name}").strip():
            continue
        value = host.read(f"{parent}/{name}").strip()
        above = parent.rpartition("/")[0]
        if not value and host.exists(f"{above}/{name}"):
            # another thread has made the parent this moment and has not come to this yet
            inherit_cpuset(host, above, parent)
            value = host.read(f"{parent}/{name}").strip()
        host.write(f"{folder}/{name}", value)


class Version1:
    """Reads and writes v1 files; `mounts` maps a controller to its mount point."""

    def __init__(self, host: Host, mounts: Mapping[str, str]) -> None:
        self._host = host
        self._mounts = mounts

    def _file(self, controller: str, path: str, name: str) -> str:
        mount = self._mounts.get(controller)
        return f"{mount}{path}/{name}" if mount else ""

    def _write(self, controller: str, path: str, name: str, value: int | str) -> None:
        file = self._file(controller, path, name)
        if file:
            self._host.write(file, str(value))

    def apply(self, path: str, limits: CgroupLimits) -> None:
        if limits.cpu_shares:
            self._write("cpu", path, "cpu.shares", limits.cpu_shares)
        if limits.cpu_quota:
            if limits.cpu_quota > 0:
                self._write("cpu", path, "cpu.cfs_period_us", limits.cpu_period)
            self._write("cpu", path, "cpu.cfs_quota_us", limits.cpu_quota)
        if limits.cpuset_cpus:
            self._write("cpuset", path, "cpuset.cpus", limits.cpuset_cpus)
        if limits.memory_limit:
            self._memory(path, limits)
        if limits.pids_limit:
            self._write("pids", path, "pids.max", "max" if limits.pids_limit < 0 else limits.pids_limit)
        for size, amount in limits.hugepage_limits.items():
            for kind in ("", ".rsvd"):
                with suppress(FileNotFoundError):
                    self._write("hugetlb", path, f"hugetlb.{size}{kind}.limit_in_bytes", amount)

    def _memory(self, path: str, limits: CgroupLimits) -> None:
        """memory.limit_in_bytes may never exceed memory.memsw.limit_in_bytes: the order depends on the direction."""
        plain, swap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
        if limits.memory_swap_limit is None:
            self._write("memory", path, plain, limits.memory_limit)
            return
        with suppress(FileNotFoundError):
            present = int(self._host.read(self._file("memory", path, swap)) or 0)
            both = [(plain, limits.memory_limit), (swap, limits.memory_swap_limit)]
            growing = limits.memory_swap_limit == _UNLIMITED or limits.memory_swap_limit > present
            for name, value in reversed(both) if growing else both:
                self._write("memory", path, name, value)
            return
        self._write("memory", path, plain, limits.memory_limit)  # a kernel without swap accounting

    def stats(self, path: str) -> CgroupStats:
        from carob.host.cgroup import CgroupStats

        usage = self._number("memory", path, "memory.usage_in_bytes")
        detail = self._table("memory", path, "memory.stat")
        throttling = self._table("cpu", path, "cpu.stat")
        times = self._table("cpuacct", path, "cpuacct.stat")
        return CgroupStats(
            cpu_usage_nanoseconds=self._number("cpuacct", path, "cpuacct.usage"),
            memory_usage_bytes=usage,
            memory_working_set_bytes=max(0, usage - detail.get("total_inactive_file", 0)),
            memory_rss_bytes=detail.get("total_rss", 0),
            page_faults=detail.get("total_pgfault", 0),
            major_page_faults=detail.get("total_pgmajfault", 0),
            process_count=self._number("pids", path, "pids.current"),
            oom_kills=self.oom_kills(path) or 0,
            cpu_periods=throttling.get("nr_periods", 0),
            cpu_throttled_periods=throttling.get("nr_throttled", 0),
            cpu_throttled_nanoseconds=throttling.get("throttled_time", 0),
            memory_cache_bytes=detail.get("total_cache", 0),
            swap_usage_bytes=detail.get("total_swap", 0),
            cpu_user_nanoseconds=times.get("user", 0) * _TICK_NANOSECONDS,
            cpu_system_nanoseconds=times.get("system", 0) * _TICK_NANOSECONDS,
        )

    def devices(self, path: str) -> dict[tuple[int, int], list[int]]:
        found: dict[tuple[int, int], list[int]] = {}
        for first, name in (
            (0, "blkio.throttle.io_service_bytes_recursive"),
            (2, "blkio.throttle.io_serviced_recursive"),
        ):
            file = self._file("blkio", path, name)
            with suppress(OSError, ValueError):
                for line in self._host.read(file).splitlines() if file else ():
                    words = line.split()
                    if len(words) == 3 and words[1] in ("Read", "Write"):
                        major, _, minor = words[0].partition(":")
                        numbers = found.setdefault((int(major), int(minor)), [0, 0, 0, 0])
                        numbers[first + (words[1] == "Write")] = int(words[2])
        return found

    def oom_kills(self, path: str) -> int | None:
        # oom_kill is missing before Linux 4.13
        return self._table("memory", path, "memory.oom_control").get("oom_kill")

    def _number(self, controller: str, path: str, name: str) -> int:
        file = self._file(controller, path, name)
        if file:
            with suppress(OSError, ValueError):
                return int(self._host.read(file))
        return 0

    def _table(self, controller: str, path: str, name: str) -> dict[str, int]:
        file = self._file(controller, path, name)
        if file:
            with suppress(OSError, ValueError):
                return {key: int(value) for key, value in (line.split() for line in self._host.read(file).splitlines())}
        return {}

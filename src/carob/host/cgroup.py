"""Control groups on whatever the machine has: v1 hierarchies, v2, or both side by side (hybrid).

A group is named by one path below every hierarchy (`/carob-default/kubepods/burstable/pod<uid>`). Which controller
lives where is found once from `/proc/thread-self/mountinfo`; after that every verb does the same on all three layouts.

Invariants: a group is made in *every* hierarchy, so that it can be found and removed again in every one; removing
what is gone succeeds. Source: the kernel's admin-guide cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from msgspec import Struct, field

from carob.base.log import get_logger, pairs
from carob.host import cgroup_v1, cgroup_v2
from carob.host.pressure import Pressure
from carob.host.types import MS_BIND, Host

_log = get_logger("host.cgroup")


class CgroupLimits(Struct, kw_only=True, frozen=True):
    """0 or empty or None: leave as it is. `cpu_quota` and `cpu_period` in microseconds, -1 for no quota; bytes.

    Of the processor's time v1 takes `cpu_shares` and v2 `cpu_weight`; `unified` names files of v2.
    """

    cpu_shares: int = 0
    cpu_weight: int = 0
    cpu_quota: int = 0
    cpu_period: int = 100_000
    cpuset_cpus: str = ""
    memory_limit: int = 0
    memory_swap_limit: int | None = None
    pids_limit: int = 0
    hugepage_limits: dict[str, int] = field(default_factory=dict)
    unified: dict[str, str] = field(default_factory=dict)


class DeviceCounters(Struct, frozen=True):
    """Bytes and operations of one block device."""

    major: int
    minor: int
    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


class CgroupStats(Struct, kw_only=True, frozen=True):
    """Nanoseconds and bytes; 0 where the machine has no such controller. The names are those of the runtimes' ContainerStats."""

    cpu_usage_nanoseconds: int = 0
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    memory_rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    process_count: int = 0
    oom_kills: int = 0
    cpu_periods: int = 0
    cpu_throttled_periods: int = 0
    cpu_throttled_nanoseconds: int = 0
    memory_cache_bytes: int = 0
    swap_usage_bytes: int = 0
    cpu_user_nanoseconds: int = 0
    cpu_system_nanoseconds: int = 0
    pressure: dict[str, Pressure] = field(default_factory=dict)
    """By resource (cpu, memory, io); v1 tells of none."""


class Layout(Struct, frozen=True):
    """`v1` maps each controller (and `name=systemd`) to its mount point; `unified` is cgroup2's, or empty."""

    v1: dict[str, str] = field(default_factory=dict)
    unified: str = ""

    @property
    def mode(self) -> str:
        """`v1`, `v2` or `hybrid`."""
        if not self.v1:
            return "v2"
        return "hybrid" if self.unified else "v1"

    def mounts(self) -> list[str]:
        """Every hierarchy once (controllers mounted together share one)."""
        points = list(dict.fromkeys(self.v1.values()))
        return [*points, self.unified] if self.unified else points


class Writer(Protocol):
    """How limits and counters are written and read, per version of the kernel's interface."""

    def apply(self, path: str, limits: CgroupLimits) -> None: ...

    def stats(self, path: str) -> CgroupStats: ...

    def devices(self, path: str) -> dict[tuple[int, int], list[int]]:
        """By device: bytes read and written, reads and writes."""
        ...

    def oom_kills(self, path: str) -> int | None: ...


def detect(host: Host) -> Layout:
    """Which hierarchies are mounted, read from /proc/thread-self/mountinfo; the first mount of each counts."""
    v1: dict[str, str] = {}
    unified = ""
    for line in host.read("/proc/thread-self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fstype, _, options = right.split(" ", 2)
        point = left.split(" ")[4]
        if fstype == "cgroup2":
            unified = unified or point
        elif fstype == "cgroup":
            for controller in _controllers(options):
                v1.setdefault(controller, point)
    return Layout(v1, unified)


_MOUNT_OPTIONS = frozenset({"rw", "ro", "clone_children", "xattr", "noprefix", "favordynmods", "none"})


def _controllers(options: str) -> Iterable[str]:
    return (word for word in options.split(",") if word not in _MOUNT_OPTIONS and not word.startswith("release_agent"))


def unmounted(host: Host, layout: Layout) -> list[str]:
    """Controllers of v1 hierarchies that live, but are mounted nowhere that we can see."""
    names: list[str] = []
    for line in host.read("/proc/self/cgroup").splitlines():
        names += [name for name in line.split(":", 2)[1].split(",") if name and not name.startswith("name=")]
    return [name for name in names if name not in layout.v1]


_LETTING_GO_TRIES, _LETTING_GO_SECONDS = 200, 0.02


def claim_hybrid(host: Host, *, live: bool = True) -> list[str]:
    """Mount the v1 hierarchies that a hybrid machine lacks; names of the claimed controllers.

    crun 1.8 refuses a hybrid machine whose cgroup2 still has controllers: with `live` those are taken from it too. Those
    that groups of another program have by cgroup2 stay there, hidden from whoever looks from here: containers live
    without their limits. Call it in a private mount namespace only: hierarchies and hiding go with it. On v1 and v2
    machines it does nothing.
    """
    layout = detect(host)
    if layout.mode != "hybrid":
        return []
    # another agent that begins or ends moves controllers from one list to the other: with a look at the first one before
    # and after the second, none is missed
    before = _unclaimed(host, layout) if live else []
    wanted = unmounted(host, layout) + before
    if live:
        wanted += _unclaimed(host, layout)
    missing = [name for name in dict.fromkeys(wanted) if name not in layout.v1]
    in_use = host.read(f"{layout.unified}/cgroup.subtree_control").split() if missing and live else []
    claimed = [name for name in missing if name not in in_use]
    for name in claimed:
        point = claimed_point(layout, name)
        host.mkdir(point)
        _mount_hierarchy(host, name, point)
    if len(claimed) < len(missing):
        _log.warning("groups of another program have controllers by cgroup2: %s", pairs(unlimited=" ".join(in_use)))
        host.mount("/dev/null", f"{layout.unified}/cgroup.controllers", flags=MS_BIND)
    return claimed


def _unclaimed(host: Host, layout: Layout) -> list[str]:
    """Controllers that cgroup2 has."""
    return host.read(f"{layout.unified}/cgroup.controllers").split()


def _mount_hierarchy(host: Host, name: str, point: str, tries: int = _LETTING_GO_TRIES) -> None:
    """Mount it, if need be after the kernel has let go of the one before.

    A hierarchy whose last mount has just gone (an agent that ended) keeps its controller until its dead groups are
    freed: EBUSY meanwhile, and nothing to wait for tells when that is over.
    """
    for _ in range(tries):
        try:
            host.mount(name, point, "cgroup", 0, name)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(_LETTING_GO_SECONDS)
        else:
            return
    try:
        host.mount(name, point, "cgroup", 0, name)
    except OSError as error:
        words = f"the controller {name} cannot be had: groups of another program have it by cgroup2 (cgroup.subtree_control)"
        raise OSError(error.errno, words, point) from error


def claimed_point(layout: Layout, controller: str) -> str:
    """Where `claim_hybrid` mounts a controller: beside cgroup2's own mount, where crun looks for it."""
    return f"{layout.unified.rsplit('/', 1)[0]}/{controller}"


class Cgroups:
    """All verbs on groups of one machine. Blocking, but short: files of the kernel only."""

    def __init__(self, host: Host, layout: Layout | None = None) -> None:
        self._host = host
        self.layout = detect(host) if layout is None else layout
        self._writer: Writer
        if self.layout.v1:
            self._writer = cgroup_v1.Version1(host, self.layout.v1)
        else:
            self._writer = cgroup_v2.Version2(host, self.layout.unified)

    def has(self, controller: str) -> bool:
        """Whether groups can be limited by this controller."""
        if self.layout.v1:
            return controller in self.layout.v1
        return controller in self._host.read(f"{self.layout.unified}/cgroup.controllers").split()

    def create(self, path: str, limits: CgroupLimits | None = None) -> None:
        """Make the group, and those above it, everywhere; then set its limits. Raises: OSError, with nothing left."""
        made: list[str] = []
        try:
            for mount in self.layout.mounts():
                self._make(mount, path, made)
            if limits is not None:
                self._writer.apply(path, limits)
        except OSError:
            for folder in reversed(made):
                with suppress(OSError):
                    self._host.rmdir(folder)
            raise

    def _make(self, mount: str, path: str, made: list[str]) -> None:
        parent = path.rsplit("/", 1)[0]
        pure = mount == self.layout.unified and not self.layout.v1
        try:
            new = self._host.mkdir(mount + path, parents=False)
        except FileNotFoundError:
            self._make(mount, parent, made)
            new = self._host.mkdir(mount + path, parents=False)
        if not new:
            return
        made.append(mount + path)
        if pure:
            # a group's files of a controller appear when its parent hands the controller on
            for above in _above(path):
                cgroup_v2.delegate(self._host, mount + above)
        if mount == self.layout.v1.get("cpuset"):
            cgroup_v1.inherit_cpuset(self._host, mount + parent, mount + path)

    def leaf(self, path: str, name: str) -> str:
        """Where a process of its own may live in a group that has groups below: v2 forbids the group itself."""
        return path if self.layout.v1 else f"{path}/{name}"

    def update(self, path: str, limits: CgroupLimits) -> None:
        """Raises: OSError, such as EBUSY for a memory limit below what is in use on v1."""
        self._writer.apply(path, limits)

    def attach(self, path: str, pid: int) -> None:
        """Move a process into the group, in every hierarchy."""
        for mount in self.layout.mounts():
            self._host.write(f"{mount}{path}/cgroup.procs", str(pid))

    def exists(self, path: str) -> bool:
        return any(self._host.exists(mount + path) for mount in self.layout.mounts())

    def stats(self, path: str) -> CgroupStats | None:
        """None when there is no such group."""
        if not self.exists(path):
            return None
        return self._writer.stats(path)

    def devices(self, path: str) -> list[DeviceCounters]:
        """What the group and those below have read and written; empty when there is no such group or controller."""
        found = [DeviceCounters(*key, *numbers) for key, numbers in self._writer.devices(path).items()]
        return [one for one in found if one.reads or one.writes]

    def oom_kills(self, path: str) -> int | None:
        """How many processes the kernel killed here for want of memory; None when it cannot be known any more."""
        return self._writer.oom_kills(path)

    def pids(self, path: str) -> list[int]:
        """Processes in the group and below it."""
        found: set[int] = set()
        for mount in self.layout.mounts():
            for folder in self._below(mount + path):
                with suppress(OSError):
                    found.update(int(line) for line in self._host.read(f"{folder}/cgroup.procs").split())
        return sorted(found)

    def kill(self, path: str) -> None:
        """SIGKILL everything in the group and below: one write where the kernel can (cgroup2 since 5.14, hybrid too)."""
        if self.layout.unified:
            try:
                self._host.write(f"{self.layout.unified}{path}/cgroup.kill", "1")
                return
            except OSError:
                pass  # an older kernel, or no such group: there the list below is empty
        self.kill_each(path)

    def kill_each(self, path: str) -> None:
        """As `kill`, one by one; what was forked meanwhile is found by calling again."""
        for pid in self.pids(path):
            identity = self._host.identity(pid)
            if identity is not None:
                self._host.kill(identity, signal.SIGKILL)

    def remove(self, path: str) -> None:
        """The group and all below it, everywhere. Raises: OSError (EBUSY) when processes are still in it."""
        for mount in self.layout.mounts():
            for folder in reversed(self._below(mount + path)):
                try:
                    self._host.rmdir(folder)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ENODEV):
                        raise

    def remove_if_empty(self, path: str) -> bool:
        """Remove the group unless it still holds processes or other groups; whether it is gone everywhere."""
        gone = True
        for mount in self.layout.mounts():
            try:
                self._host.rmdir(mount + path)
            except OSError as error:
                gone = gone and error.errno in (errno.ENOENT, errno.ENODEV)
        return gone

    def take_back(self) -> None:
        """Where groups of carob's made the processes of a container's root leave it: let them live there again.

        Nothing while others have groups there. Raises: OSError.
        """
        if self.layout.mode == "v2":
            cgroup_v2.take_back(self._host, self.layout.unified)

    def children(self, path: str) -> list[str]:
        """Names of the groups directly below, in any hierarchy."""
        names: set[str] = set()
        for mount in self.layout.mounts():
            with suppress(OSError):
                names.update(self._host.folders(mount + path))
        return sorted(names)

    def _below(self, folder: str) -> list[str]:
        """The folder and all groups in it, parents first; empty when there is none."""
        found = [folder]
        for current in found:
            try:
                found += [f"{current}/{name}" for name in self._host.folders(current)]
            except OSError:
                if current == folder:
                    return []
        return found


def _above(path: str) -> list[str]:
    """`/a/b/c` -> ``, `/a`, `/a/b`."""
    parts = path.split("/")[1:-1]
    return ["", *("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))]

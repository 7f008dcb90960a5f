"""Signals, thresholds, and the conditions that they stand for. Pure.

Source: kubelet `eviction/helpers.go`, `eviction/defaults_linux.go`, `eviction/eviction_manager.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api import quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.kubelet.machine import Usage
    from carob.runtime.types import FilesystemUsage

MEMORY, PID = "memory.available", "pid.available"
NODE_DISK, NODE_INODES = "nodefs.available", "nodefs.inodesFree"
IMAGE_DISK, IMAGE_INODES = "imagefs.available", "imagefs.inodesFree"
CONDITIONS = {
    MEMORY: "MemoryPressure",
    NODE_DISK: "DiskPressure",
    NODE_INODES: "DiskPressure",
    IMAGE_DISK: "DiskPressure",
    IMAGE_INODES: "DiskPressure",
    PID: "PIDPressure",
}
RESOURCES = {
    MEMORY: "memory",
    NODE_DISK: "ephemeral-storage",
    NODE_INODES: "inodes",
    IMAGE_DISK: "ephemeral-storage",
    IMAGE_INODES: "inodes",
    PID: "pids",
}
# images lie on the disk of the Pods here, and one disk needs one threshold
DEFAULT_HARD = {MEMORY: "100Mi", NODE_DISK: "10%", NODE_INODES: "5%"}
TRANSITION_SECONDS = 300.0


class Threshold(Struct, frozen=True):
    """`value` is a quantity or a percentage, `reclaim` too; `grace_seconds` 0: a hard one."""

    signal: str
    value: str
    grace_seconds: float = 0.0
    reclaim: str = "0"
    """How much more is to be left before it counts as no longer crossed."""

    def amount(self, capacity: int) -> int:
        """How much must be left. Units: bytes or counts."""
        return _share(self.value, capacity)

    def shown(self, capacity: int) -> str:
        """As messages have it: a quantity as it was given, a share in bytes."""
        if self.value.endswith("%"):
            return quantity.from_bytes(self.amount(capacity))
        return quantity.canonical(self.value)

    def enough(self, capacity: int) -> int:
        """How much must be left again once it was crossed. Units: bytes or counts."""
        return self.amount(capacity) + _share(self.reclaim, capacity)


def _share(value: str, capacity: int) -> int:
    if value.endswith("%"):
        return int(capacity * float(value.rstrip("%")) / 100)
    return quantity.whole(value)


class Observation(Struct, frozen=True):
    """What is left of how much; bytes or counts."""

    available: int
    capacity: int


class Met(Struct, frozen=True):
    """A threshold that is crossed."""

    threshold: Threshold
    observation: Observation

    @property
    def condition(self) -> str:
        return CONDITIONS[self.threshold.signal]

    @property
    def resource(self) -> str:
        """Its name in messages."""
        return RESOURCES[self.threshold.signal]


def thresholds(
    hard: Mapping[str, str],
    soft: Mapping[str, str] | None = None,
    grace: Mapping[str, float] | None = None,
    reclaim: Mapping[str, str] | None = None,
) -> list[Threshold]:
    """From the options; 0 and 0% switch one off."""
    more = reclaim or {}
    out = [Threshold(signal, value, reclaim=more.get(signal, "0")) for signal, value in hard.items()]
    for signal, value in (soft or {}).items():
        out.append(Threshold(signal, value, (grace or {}).get(signal, 0.0), more.get(signal, "0")))
    return [one for one in out if one.value not in ("0", "0%") and one.signal in CONDITIONS]


def observations(memory_bytes: int, usage: Usage, images: FilesystemUsage | None) -> dict[str, Observation]:
    """What each signal says; those that the machine cannot tell are left out."""
    out = {
        MEMORY: Observation(usage.memory_available_bytes, memory_bytes),
        NODE_DISK: Observation(usage.disk_available_bytes, usage.disk_capacity_bytes),
    }
    if usage.inodes:
        out[NODE_INODES] = Observation(usage.inodes_free, usage.inodes)
    if usage.max_processes:
        out[PID] = Observation(usage.max_processes - usage.processes, usage.max_processes)
    if images is not None:
        out[IMAGE_DISK] = Observation(images.available_bytes, images.capacity_bytes)
    return out


def crossed(all_of_them: Iterable[Threshold], seen: Mapping[str, Observation], before: Iterable[Met] = ()) -> list[Met]:
    """Those below which something has fallen; one that was crossed `before` stays so until enough is left again."""
    out = []
    earlier = {met.threshold for met in before}
    for one in all_of_them:
        found = seen.get(one.signal)
        if found is None:
            continue
        if found.available < (one.enough if one in earlier else one.amount)(found.capacity):
            out.append(Met(one, found))
    return out


class Pressures(Struct):
    """Which conditions hold, and since when thresholds are crossed. A condition stays for a while after its cause."""

    transition_seconds: float = TRANSITION_SECONDS
    _seen_at: dict[str, float] = field(default_factory=dict)
    _since: dict[tuple[str, float], float] = field(default_factory=dict)

    def observe(self, met: Iterable[Met], now: float) -> list[Met]:
        """Remember; the answer are those that have been crossed for their whole grace.

        Shape: `met` is everything that is crossed now. Units: `now` monotonic.
        """
        met = list(met)
        keys = {(m.threshold.signal, m.threshold.grace_seconds) for m in met}
        self._since = {key: self._since.get(key, now) for key in keys}
        for one in met:
            self._seen_at[one.condition] = now
        return [
            m
            for m in met
            if now - self._since[m.threshold.signal, m.threshold.grace_seconds] >= m.threshold.grace_seconds
        ]

    def holding(self, now: float) -> set[str]:
        """The conditions that are true now."""
        self._seen_at = {c: at for c, at in self._seen_at.items() if now - at < self.transition_seconds}
        return set(self._seen_at)

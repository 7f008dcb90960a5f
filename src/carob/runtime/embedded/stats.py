"""What running containers use: counters of their control groups, and the size of their writable layer.

The layer is walked at most every half minute per container: a walk of a large one costs more than all the rest.
"""

from __future__ import annotations

from msgspec.structs import asdict, astuple

from carob.base.disk_use import disk_usage
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import ContainerRecord, Phase, SandboxRecord
from carob.runtime.sandbox_counters import look
from carob.runtime.types import ContainerStats, DeviceStats, NamespaceMode, SandboxStats

_LAYER_AGE_SECONDS = 30.0


class Stats:
    """Remembers the size of each writable layer for a while."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._layers: dict[str, tuple[float, int, int]] = {}

    async def all(self, *, disk: bool) -> list[ContainerStats]:
        """Of every running container; those that end meanwhile are left out."""
        running = [c.record for c in self._parts.inventory.containers.values() if c.record.phase is Phase.RUNNING]
        self._layers = {r.id: self._layers[r.id] for r in running if r.id in self._layers}
        return await self._parts.threads.run(lambda: [s for r in running if (s := self._one(r, disk)) is not None])

    async def sandboxes(self) -> list[SandboxStats]:
        """Of every sandbox that stands."""
        parts = self._parts
        standing = [s.record for s in parts.inventory.sandboxes.values() if s.record.phase is Phase.RUNNING]
        return await parts.threads.run(lambda: [s for one in standing if (s := self._sandbox(one)) is not None])

    def _sandbox(self, record: SandboxRecord) -> SandboxStats | None:
        config = record.config
        own_network = config.network is not NamespaceMode.NODE and record.pause is not None
        pid = record.pause[0] if own_network and record.pause is not None else 0
        return look(
            self._parts.host, self._parts.cgroups, record.id, config.cgroup_parent, pid, self._parts.clock.now()
        )

    def _one(self, record: ContainerRecord, disk: bool) -> ContainerStats | None:
        used = self._parts.cgroups.stats(record.cgroup)
        if used is None:
            return None
        layer_bytes, layer_files = self._layer(record.id) if disk else (0, 0)
        devices = [DeviceStats(*astuple(one)) for one in self._parts.cgroups.devices(record.cgroup)] if disk else []
        return ContainerStats(
            id=record.id,
            timestamp=self._parts.clock.now(),
            **asdict(used),
            rootfs_used_bytes=layer_bytes,
            rootfs_inodes_used=layer_files,
            devices=devices,
        )

    def _layer(self, container_id: str) -> tuple[int, int]:
        now = self._parts.clock.monotonic()
        known = self._layers.get(container_id)
        if known is None or now - known[0] > _LAYER_AGE_SECONDS:
            known = (now, *disk_usage(f"{self._parts.places.writable(container_id)}/upper"))
            self._layers[container_id] = known
        return known[1], known[2]

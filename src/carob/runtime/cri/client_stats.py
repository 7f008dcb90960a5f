"""What containers of somebody else's runtime use: counters from their control groups, disk from the runtime.

The CRI's own counters lack processes, throttling and kills for want of memory; upstream's kubelet reads the groups too
(cAdvisor). Where a runtime puts them elsewhere than cgroupfs' `<Pod's group>/<container's id>`, its own counters serve.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import asdict, astuple

from carob.base.clock import Clock
from carob.host.cgroup import Cgroups, CgroupStats
from carob.host.threads import Threads
from carob.host.types import Host
from carob.runtime.cri import runtime_messages as wire
from carob.runtime.cri.channel import Channel
from carob.runtime.cri.sandbox_messages import UInt64Value
from carob.runtime.sandbox_counters import look
from carob.runtime.types import ContainerStats, DeviceStats, NamespaceMode, SandboxStats, SandboxStatus


class StatsClient:
    """`labels`: those of everything that is ours."""

    def __init__(
        self, channel: Channel, host: Host, cgroups: Cgroups, threads: Threads, clock: Clock, labels: dict[str, str]
    ) -> None:
        self._host = host
        self._channel = channel
        self._cgroups = cgroups
        self._threads = threads
        self._clock = clock
        self._labels = labels

    async def all(self, groups: Mapping[str, str], *, disk: bool) -> list[ContainerStats]:
        """Of the containers whose ids and groups are given; those that end meanwhile are left out."""
        counted = await self._threads.run(lambda: {one: self._cgroups.stats(path) for one, path in groups.items()})
        devices: dict[str, list[DeviceStats]] = {}
        if disk:
            devices = await self._threads.run(
                lambda: {
                    one: [DeviceStats(*astuple(device)) for device in self._cgroups.devices(path)]
                    for one, path in groups.items()
                }
            )
        told: dict[str, wire.ContainerStats] = {}
        if disk or not all(counted.values()):
            wanted = wire.ContainerStatsFilter(label_selector=self._labels)
            answer = await self._channel.runtime(
                "ListContainerStats", wire.ListContainerStatsRequest(filter=wanted), wire.ManyContainerStats
            )
            told = {one.attributes.id: one for one in answer.stats if one.attributes is not None}
        found, now = [], self._clock.now()
        for container_id, counters in counted.items():
            shown = told.get(container_id)
            if counters is not None:
                found.append(
                    _from_group(container_id, now, counters, shown if disk else None, devices.get(container_id, []))
                )
            elif shown is not None:
                found.append(_from_runtime(container_id, now, shown))
        return found

    async def sandboxes(self, standing: list[SandboxStatus]) -> list[SandboxStats]:
        """Of these; what is on the node's network has no interfaces of its own."""

        def one(status: SandboxStatus) -> SandboxStats | None:
            config = status.config
            pid = status.pause_pid if config.network is not NamespaceMode.NODE else 0
            return look(self._host, self._cgroups, status.id, config.cgroup_parent, pid, self._clock.now())

        return await self._threads.run(lambda: [found for status in standing if (found := one(status)) is not None])


def _number(value: UInt64Value | None) -> int:
    return value.value if value is not None else 0


def _from_group(
    container_id: str, now: float, used: CgroupStats, shown: wire.ContainerStats | None, devices: list[DeviceStats]
) -> ContainerStats:
    layer = shown.writable_layer if shown is not None else None
    return ContainerStats(
        id=container_id,
        timestamp=now,
        **asdict(used),
        devices=devices,
        rootfs_used_bytes=_number(layer.used_bytes) if layer is not None else 0,
        rootfs_inodes_used=_number(layer.inodes_used) if layer is not None else 0,
    )


def _from_runtime(container_id: str, now: float, shown: wire.ContainerStats) -> ContainerStats:
    cpu, memory = shown.cpu or wire.CpuUsage(), shown.memory or wire.MemoryUsage()
    layer = shown.writable_layer
    return ContainerStats(
        id=container_id,
        timestamp=now,
        cpu_usage_nanoseconds=_number(cpu.usage_core_nano_seconds),
        memory_usage_bytes=_number(memory.usage_bytes),
        memory_working_set_bytes=_number(memory.working_set_bytes),
        memory_rss_bytes=_number(memory.rss_bytes),
        page_faults=_number(memory.page_faults),
        major_page_faults=_number(memory.major_page_faults),
        process_count=1,
        swap_usage_bytes=_number(shown.swap.swap_usage_bytes) if shown.swap is not None else 0,
        rootfs_used_bytes=_number(layer.used_bytes) if layer is not None else 0,
        rootfs_inodes_used=_number(layer.inodes_used) if layer is not None else 0,
    )

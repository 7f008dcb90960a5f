"""What containers and sandboxes use, in the wire's words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from carob.runtime.cri import runtime_messages as wire
from carob.runtime.cri.container_messages import ContainerMetadata
from carob.runtime.cri.image_messages import FilesystemIdentifier, FilesystemUsage
from carob.runtime.cri.sandbox_messages import UInt64Value
from carob.runtime.cri.sandboxes import metadata, nanoseconds
from carob.runtime.types import ContainerStats, ContainerStatus, SandboxStatus


def container_usage(
    status: ContainerStatus, stats: ContainerStats, mountpoint: str, busy: int | None
) -> wire.ContainerStats:
    """`busy`: processor nanoseconds a second, of late; None while nobody knows.

    Shape: `mountpoint` is where writable layers lie.
    """
    at = nanoseconds(stats.timestamp)
    return wire.ContainerStats(
        attributes=wire.ContainerAttributes(
            id=status.id,
            metadata=ContainerMetadata(name=status.name, attempt=status.attempt),
            labels=status.labels,
            annotations=status.annotations,
        ),
        cpu=_cpu(at, stats.cpu_usage_nanoseconds, busy),
        memory=_memory(at, [stats], status.resources.memory_limit),
        writable_layer=FilesystemUsage(
            timestamp=at,
            fs_id=FilesystemIdentifier(mountpoint=mountpoint),
            used_bytes=UInt64Value(value=stats.rootfs_used_bytes),
            inodes_used=UInt64Value(value=stats.rootfs_inodes_used),
        ),
        swap=wire.SwapUsage(timestamp=at, swap_usage_bytes=UInt64Value(value=stats.swap_usage_bytes)),
    )


def sandbox_usage(
    sandbox: SandboxStatus,
    stats: list[ContainerStats],
    containers: list[wire.ContainerStats],
    now: float,
    busy: int | None,
) -> wire.PodSandboxStats:
    """The sum of its containers'; the pause process uses next to nothing."""
    at = nanoseconds(now)
    return wire.PodSandboxStats(
        attributes=wire.PodSandboxAttributes(
            id=sandbox.id,
            metadata=metadata(sandbox.config),
            labels=sandbox.config.labels,
            annotations=sandbox.config.annotations,
        ),
        linux=wire.LinuxPodSandboxStats(
            cpu=_cpu(at, sum(one.cpu_usage_nanoseconds for one in stats), busy),
            memory=_memory(at, stats, sandbox.config.resources.memory_limit),
            process=wire.ProcessUsage(
                timestamp=at, process_count=UInt64Value(value=sum(one.process_count for one in stats))
            ),
            containers=containers,
        ),
    )


def _cpu(at: int, used: int, busy: int | None) -> wire.CpuUsage:
    return wire.CpuUsage(
        timestamp=at,
        usage_core_nano_seconds=UInt64Value(value=used),
        usage_nano_cores=None if busy is None else UInt64Value(value=busy),
    )


def _memory(at: int, stats: Iterable[ContainerStats], limit: int) -> wire.MemoryUsage:
    every = list(stats)
    working_set = sum(one.memory_working_set_bytes for one in every)
    return wire.MemoryUsage(
        timestamp=at,
        working_set_bytes=UInt64Value(value=working_set),
        available_bytes=UInt64Value(value=max(0, limit - working_set)) if limit else None,
        usage_bytes=UInt64Value(value=sum(one.memory_usage_bytes for one in every)),
        rss_bytes=UInt64Value(value=sum(one.memory_rss_bytes for one in every)),
        page_faults=UInt64Value(value=sum(one.page_faults for one in every)),
        major_page_faults=UInt64Value(value=sum(one.major_page_faults for one in every)),
    )

"""What containers and sandboxes use, in the wire's words. Pure."""

from __future__ import annotations

from carob.host.pressure import Stall
from carob.runtime.cri import runtime_messages as wire
from carob.runtime.cri.container_messages import ContainerMetadata
from carob.runtime.cri.image_messages import FilesystemIdentifier, FilesystemUsage
from carob.runtime.cri.sandbox_messages import UInt64Value
from carob.runtime.cri.sandboxes import metadata, nanoseconds
from carob.runtime.types import ContainerStats, ContainerStatus, InterfaceStats, SandboxStats, SandboxStatus


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
        cpu=_cpu(at, stats, busy),
        memory=_memory(at, stats, status.resources.memory_limit),
        writable_layer=FilesystemUsage(
            timestamp=at,
            fs_id=FilesystemIdentifier(mountpoint=mountpoint),
            used_bytes=UInt64Value(value=stats.rootfs_used_bytes),
            inodes_used=UInt64Value(value=stats.rootfs_inodes_used),
        ),
        swap=wire.SwapUsage(timestamp=at, swap_usage_bytes=UInt64Value(value=stats.swap_usage_bytes)),
        io=_io(at, stats),
    )


def sandbox_usage(
    sandbox: SandboxStatus, stats: SandboxStats, containers: list[wire.ContainerStats], busy: int | None
) -> wire.PodSandboxStats:
    """`busy` as for `container_usage`."""
    at = nanoseconds(stats.timestamp)
    return wire.PodSandboxStats(
        attributes=wire.PodSandboxAttributes(
            id=sandbox.id,
            metadata=metadata(sandbox.config),
            labels=sandbox.config.labels,
            annotations=sandbox.config.annotations,
        ),
        linux=wire.LinuxPodSandboxStats(
            cpu=_cpu(at, stats, busy),
            memory=_memory(at, stats, sandbox.config.resources.memory_limit),
            network=_network(at, stats.interfaces) if stats.interfaces else None,
            process=wire.ProcessUsage(timestamp=at, process_count=UInt64Value(value=stats.process_count)),
            containers=containers,
            io=_io(at, stats),
        ),
    )


def _network(at: int, interfaces: list[InterfaceStats]) -> wire.NetworkUsage:
    """The first is the Pod's own; it comes before what was added to it."""
    shown = [
        wire.NetworkInterfaceUsage(
            name=one.name,
            rx_bytes=UInt64Value(value=one.receive_bytes),
            rx_errors=UInt64Value(value=one.receive_errors),
            tx_bytes=UInt64Value(value=one.transmit_bytes),
            tx_errors=UInt64Value(value=one.transmit_errors),
        )
        for one in interfaces
    ]
    return wire.NetworkUsage(timestamp=at, default_interface=shown[0], interfaces=shown[1:])


def _cpu(at: int, stats: ContainerStats | SandboxStats, busy: int | None) -> wire.CpuUsage:
    return wire.CpuUsage(
        timestamp=at,
        usage_core_nano_seconds=UInt64Value(value=stats.cpu_usage_nanoseconds),
        usage_nano_cores=None if busy is None else UInt64Value(value=busy),
        psi=_pressure(stats, "cpu"),
    )


def _io(at: int, stats: ContainerStats | SandboxStats) -> wire.IoUsage | None:
    """Nothing but the pressure."""
    psi = _pressure(stats, "io")
    return None if psi is None else wire.IoUsage(timestamp=at, psi=psi)


def _pressure(stats: ContainerStats | SandboxStats, resource: str) -> wire.PsiStats | None:
    """None where the kernel does not tell."""
    found = stats.pressure.get(resource)
    return None if found is None else wire.PsiStats(full=_stall(found.full), some=_stall(found.some))


def _stall(stall: Stall) -> wire.PsiData:
    total = stall.total_microseconds * 1000
    return wire.PsiData(total=total, avg10=stall.avg10, avg60=stall.avg60, avg300=stall.avg300)


def _memory(at: int, stats: ContainerStats | SandboxStats, limit: int) -> wire.MemoryUsage:
    working_set = stats.memory_working_set_bytes
    return wire.MemoryUsage(
        timestamp=at,
        working_set_bytes=UInt64Value(value=working_set),
        available_bytes=UInt64Value(value=max(0, limit - working_set)) if limit else None,
        usage_bytes=UInt64Value(value=stats.memory_usage_bytes),
        rss_bytes=UInt64Value(value=stats.memory_rss_bytes),
        page_faults=UInt64Value(value=stats.page_faults),
        major_page_faults=UInt64Value(value=stats.major_page_faults),
        psi=_pressure(stats, "memory"),
    )

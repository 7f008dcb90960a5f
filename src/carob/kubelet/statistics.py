"""The tree of `/stats/summary`: what containers, Pods and the node use. Pure.

Source: kubelet `server/stats/summary.go`, `apis/stats/v1alpha1`.
Differs: where the runtime cannot tell a Pod's own counters, they are the sums of its containers'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from carob.base.clock import rfc3339, rfc3339_micro
from carob.kubelet.disk_use import NOTHING, DiskUse, Filesystem, VolumeUse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.host.pressure import Pressure, Stall
    from carob.kubelet.machine import Machine
    from carob.kubelet.machine import Usage as Fullness
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.usage import ContainerUse, Look, SandboxUse
    from carob.runtime.types import FilesystemUsage, InterfaceStats


DEFAULT_INTERFACE = "eth0"


class Disks(NamedTuple):
    """How full the node's disk is, what images take of it, and what Pods do (by uid): logs by container, and volumes."""

    node: Fullness
    images: FilesystemUsage
    logs: Mapping[str, Mapping[str, DiskUse]]
    volumes: Mapping[str, Sequence[VolumeUse]]

    def file_system(self, time: str, used: DiskUse) -> dict[str, Any]:
        """`FsStats` of something on the node's disk."""
        node = self.node
        every = Filesystem(node.disk_capacity_bytes, node.disk_available_bytes, node.inodes, node.inodes_free)
        return _part(time, every, used)


def summary(look: Look, machine: Machine, node_name: str, disks: Disks | None) -> dict[str, Any]:
    """`stats.Summary`. `disks` None: only processors and memory were asked for."""
    now = rfc3339_micro(look.time)
    use = look.node
    node: dict[str, Any] = {
        "nodeName": node_name,
        "startTime": rfc3339(use.booted_at),
        "cpu": _cpu(now, look.node_nanocores, use.cpu_nanoseconds),
        "memory": {
            "time": now,
            "availableBytes": max(0, machine.memory_bytes - use.memory_working_set_bytes),
            "usageBytes": use.memory_usage_bytes,
            "workingSetBytes": use.memory_working_set_bytes,
            "rssBytes": use.memory_rss_bytes,
            "pageFaults": use.page_faults,
            "majorPageFaults": use.major_page_faults,
        },
        "swap": {
            "time": now,
            "swapAvailableBytes": use.swap_available_bytes,
            "swapUsageBytes": use.swap_usage_bytes,
        },
    }
    _add_pressure(node, now, use.pressure)
    if use.interfaces:
        node["network"] = _network(now, use.interfaces, DEFAULT_INTERFACE)
    if disks is not None:
        full, images = disks.node, disks.images
        fs = _filesystem(now, full.disk_available_bytes, full.disk_capacity_bytes)
        node["fs"] = fs | _inodes(full.inodes, full.inodes_free)
        image_fs = _filesystem(now, images.available_bytes, images.capacity_bytes)
        own = {"usedBytes": images.used_bytes, "inodesUsed": images.inodes_used}
        inodes = _inodes(full.inodes, full.inodes_free)
        node["runtime"] = {"imageFs": image_fs | inodes | own, "containerFs": image_fs | inodes}
        node["rlimit"] = {"time": now, "maxpid": full.max_processes, "curproc": full.processes}
    pods = [_pod(record, uses, look.sandboxes.get(record.uid), now, disks) for record, uses in look.by_pod()]
    node["systemContainers"] = [_all_pods(now, node["startTime"], pods)]
    return {"node": node, "pods": pods}


def _all_pods(now: str, started: str, pods: list[dict[str, Any]]) -> dict[str, Any]:
    """The system container `pods`: what all Pods use together."""
    names = ("usageBytes", "workingSetBytes", "rssBytes", "pageFaults", "majorPageFaults")
    rates = [pod["cpu"]["usageNanoCores"] for pod in pods if "usageNanoCores" in pod["cpu"]]
    nanoseconds = sum(pod["cpu"]["usageCoreNanoSeconds"] for pod in pods)
    return {
        "name": "pods",
        "startTime": started,
        "cpu": _cpu(now, sum(rates) if rates or not pods else None, nanoseconds),
        "memory": {"time": now, **{name: sum(pod["memory"][name] for pod in pods) for name in names}},
    }


def _cpu(time: str, nanocores: int | None, nanoseconds: int) -> dict[str, Any]:
    rate = {} if nanocores is None else {"usageNanoCores": nanocores}
    return {"time": time, **rate, "usageCoreNanoSeconds": nanoseconds}


def _pod(
    record: PodRecord,
    uses: list[ContainerUse],
    own: SandboxUse | None,
    now: str,
    disks: Disks | None,
) -> dict[str, Any]:
    metadata = record.pod.metadata
    containers = [_container(use, disks) for use in uses]
    rates = [use.nanocores for use in uses if use.nanocores is not None]
    tree: dict[str, Any] = {
        "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "startTime": rfc3339(record.start_time or 0.0),
        "containers": containers,
        "cpu": _cpu(now, sum(rates) if rates else None, sum(u.stats.cpu_usage_nanoseconds for u in uses)),
        "memory": {
            "time": now,
            "usageBytes": sum(u.stats.memory_usage_bytes for u in uses),
            "workingSetBytes": sum(u.stats.memory_working_set_bytes for u in uses),
            "rssBytes": sum(u.stats.memory_rss_bytes for u in uses),
            "pageFaults": sum(u.stats.page_faults for u in uses),
            "majorPageFaults": sum(u.stats.major_page_faults for u in uses),
        },
        "process_stats": {"process_count": sum(u.stats.process_count for u in uses)},
    }
    if own is not None:
        tree |= _group(own)
    if disks is not None:
        volumes, logs = disks.volumes.get(record.uid, ()), disks.logs.get(record.uid, {})
        if volumes:
            tree["volume"] = [_volume(now, metadata.namespace, one) for one in volumes]
        parts = [*(one.used for one in volumes if one.scratch), *logs.values()]
        bytes_ = sum(u.stats.rootfs_used_bytes for u in uses) + sum(one.used_bytes for one in parts)
        inodes = sum(u.stats.rootfs_inodes_used for u in uses) + sum(one.inodes_used for one in parts)
        tree["ephemeral-storage"] = disks.file_system(now, DiskUse(bytes_, inodes))
    return tree


def _volume(time: str, namespace: str, volume: VolumeUse) -> dict[str, Any]:
    claim = {"pvcRef": {"name": volume.claim, "namespace": namespace}} if volume.claim else {}
    return _part(time, volume.filesystem, volume.used) | {"name": volume.name} | claim


def _group(own: SandboxUse) -> dict[str, Any]:
    """What the Pod's control group and network say."""
    stats, time = own.stats, rfc3339_micro(own.stats.timestamp)
    tree: dict[str, Any] = {
        "cpu": _cpu(time, own.nanocores, stats.cpu_usage_nanoseconds),
        "memory": {
            "time": time,
            "usageBytes": stats.memory_usage_bytes,
            "workingSetBytes": stats.memory_working_set_bytes,
            "rssBytes": stats.memory_rss_bytes,
            "pageFaults": stats.page_faults,
            "majorPageFaults": stats.major_page_faults,
        },
        "process_stats": {"process_count": stats.process_count},
    }
    if stats.interfaces:
        tree["network"] = _network(time, stats.interfaces, stats.interfaces[0].name)
    limit = own.sandbox.config.resources.memory_limit
    if limit > 0:
        tree["memory"]["availableBytes"] = max(0, limit - stats.memory_working_set_bytes)
    _add_pressure(tree, time, stats.pressure)
    return tree


def _add_pressure(tree: dict[str, Any], time: str, pressure: Mapping[str, Pressure]) -> None:
    """Source: KEP-4205; stats v1alpha1 `PSIStats`, whose totals are microseconds."""
    for name, found in pressure.items():
        stalls = {"full": _stall(found.full), "some": _stall(found.some)}
        tree.setdefault(name, {"time": time})["psi"] = stalls


def _stall(stall: Stall) -> dict[str, Any]:
    return {"total": stall.total_microseconds, "avg10": stall.avg10, "avg60": stall.avg60, "avg300": stall.avg300}


def _network(time: str, interfaces: Sequence[InterfaceStats], default: str) -> dict[str, Any]:
    """All of them, and once more the default one."""
    shown = [_interface(one) for one in interfaces]
    return {"time": time, **next((one for one in shown if one["name"] == default), {"name": ""}), "interfaces": shown}


def _interface(one: InterfaceStats) -> dict[str, Any]:
    return {
        "name": one.name,
        "rxBytes": one.receive_bytes,
        "rxErrors": one.receive_errors,
        "txBytes": one.transmit_bytes,
        "txErrors": one.transmit_errors,
    }


def _container(use: ContainerUse, disks: Disks | None) -> dict[str, Any]:
    stats = use.stats
    time = rfc3339_micro(stats.timestamp)
    tree: dict[str, Any] = {
        "name": use.status.name,
        "startTime": rfc3339(use.status.started_at),
        "cpu": _cpu(time, use.nanocores, stats.cpu_usage_nanoseconds),
        "memory": {
            "time": time,
            "usageBytes": stats.memory_usage_bytes,
            "workingSetBytes": stats.memory_working_set_bytes,
            "rssBytes": stats.memory_rss_bytes,
            "pageFaults": stats.page_faults,
            "majorPageFaults": stats.major_page_faults,
        },
        "swap": {"time": time, "swapUsageBytes": stats.swap_usage_bytes},
    }
    limit = use.status.resources.memory_limit
    if limit > 0:
        tree["memory"]["availableBytes"] = max(0, limit - stats.memory_working_set_bytes)
    _add_pressure(tree, time, stats.pressure)
    if disks is not None:
        logs = disks.logs.get(use.record.uid, {}).get(use.status.name, NOTHING)
        tree["rootfs"] = disks.file_system(time, DiskUse(stats.rootfs_used_bytes, stats.rootfs_inodes_used))
        tree["logs"] = disks.file_system(time, logs)
    return tree


def _part(time: str, every: Filesystem, used: DiskUse) -> dict[str, Any]:
    """`FsStats` of something that shares a file system with others."""
    return {
        "time": time,
        "availableBytes": every.available_bytes,
        "capacityBytes": every.capacity_bytes,
        "usedBytes": used.used_bytes,
        "inodesFree": every.inodes_free,
        "inodes": every.inodes,
        "inodesUsed": used.inodes_used,
    }


def _filesystem(time: str, available: int, capacity: int) -> dict[str, Any]:
    return {
        "time": time,
        "availableBytes": available,
        "capacityBytes": capacity,
        "usedBytes": max(0, capacity - available),
    }


def _inodes(all_of_them: int, free: int) -> dict[str, Any]:
    if not all_of_them:
        return {}
    return {"inodes": all_of_them, "inodesFree": free, "inodesUsed": all_of_them - free}

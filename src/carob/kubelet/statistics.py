"""The tree of `/stats/summary`: what containers, Pods and the node use. Pure.

Source: kubelet `server/stats/summary.go`, `apis/stats/v1alpha1`.
Differs: where the runtime cannot tell a Pod's own counters, they are the sums of its containers'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.base.clock import rfc3339, rfc3339_micro

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.host.pressure import Pressure, Stall
    from carob.kubelet.machine import Machine
    from carob.kubelet.machine import Usage as Fullness
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.usage import ContainerUse, Look, SandboxUse
    from carob.runtime.types import FilesystemUsage, InterfaceStats


def summary(
    look: Look,
    machine: Machine,
    node_name: str,
    disks: tuple[Fullness, FilesystemUsage] | None,
    volumes: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    """`stats.Summary`. `disks` None: only processors and memory were asked for; `volumes` are by the Pod's uid."""
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
    if disks is not None:
        full, images = disks
        fs = _filesystem(now, full.disk_available_bytes, full.disk_capacity_bytes)
        node["fs"] = fs | _inodes(full.inodes, full.inodes_free)
        image_fs = _filesystem(now, images.available_bytes, images.capacity_bytes)
        own = {"usedBytes": images.used_bytes, "inodesUsed": images.inodes_used}
        inodes = _inodes(full.inodes, full.inodes_free)
        node["runtime"] = {"imageFs": image_fs | inodes | own, "containerFs": image_fs | inodes}
        node["rlimit"] = {"time": now, "maxpid": full.max_processes, "curproc": full.processes}
    pods = [
        _pod(record, uses, look.sandboxes.get(record.uid), now, disks is not None, volumes)
        for record, uses in look.by_pod()
    ]
    return {"node": node, "pods": pods}


def _cpu(time: str, nanocores: int | None, nanoseconds: int) -> dict[str, Any]:
    rate = {} if nanocores is None else {"usageNanoCores": nanocores}
    return {"time": time, **rate, "usageCoreNanoSeconds": nanoseconds}


def _pod(
    record: PodRecord,
    uses: list[ContainerUse],
    own: SandboxUse | None,
    now: str,
    disk: bool,
    volumes: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    metadata = record.pod.metadata
    containers = [_container(use, disk) for use in uses]
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
    if disk:
        mine = volumes.get(record.uid, [])
        if mine:
            tree["volume"] = mine
        tree["ephemeral-storage"] = {
            "time": now,
            "usedBytes": sum(u.stats.rootfs_used_bytes for u in uses) + sum(v["usedBytes"] for v in mine),
            "inodesUsed": sum(u.stats.rootfs_inodes_used for u in uses) + sum(v["inodesUsed"] for v in mine),
        }
    return tree


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
        interfaces = [_interface(one) for one in stats.interfaces]
        tree["network"] = {"time": time, **interfaces[0], "interfaces": interfaces}
    _add_pressure(tree, time, stats.pressure)
    return tree


def _add_pressure(tree: dict[str, Any], time: str, pressure: Mapping[str, Pressure]) -> None:
    """Source: KEP-4205; stats v1alpha1 `PSIStats`, whose totals are microseconds."""
    for name, found in pressure.items():
        stalls = {"full": _stall(found.full), "some": _stall(found.some)}
        tree.setdefault(name, {"time": time})["psi"] = stalls


def _stall(stall: Stall) -> dict[str, Any]:
    return {"total": stall.total_microseconds, "avg10": stall.avg10, "avg60": stall.avg60, "avg300": stall.avg300}


def _interface(one: InterfaceStats) -> dict[str, Any]:
    return {
        "name": one.name,
        "rxBytes": one.receive_bytes,
        "rxErrors": one.receive_errors,
        "txBytes": one.transmit_bytes,
        "txErrors": one.transmit_errors,
    }


def _container(use: ContainerUse, disk: bool) -> dict[str, Any]:
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
    _add_pressure(tree, time, stats.pressure)
    if disk:
        tree["rootfs"] = {"time": time, "usedBytes": stats.rootfs_used_bytes, "inodesUsed": stats.rootfs_inodes_used}
    return tree


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

"""What containers, Pods and the node use: `/stats/summary` and metrics in Prometheus' text form.

Source: kubelet `server/stats/summary.go`, `metrics/collectors/resource_metrics.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.base.clock import rfc3339
from carob.kubelet.machine import read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.kubelet.machine import Machine
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools
    from carob.runtime.types import ContainerStats


async def stats_summary(tools: Tools, records: Mapping[str, PodRecord], machine: Machine) -> dict[str, Any]:
    """The tree of `stats.Summary`."""
    now = rfc3339(tools.clock.now())
    by_id = {stats.id: stats for stats in await tools.runtime.container_stats()}
    pods = [_pod(record, by_id, now) for record in records.values() if record.running()]
    usage = read_usage(tools.options.root)
    working = max(0, machine.memory_bytes - usage.memory_available_bytes)
    images = await tools.runtime.image_filesystem()
    return {
        "node": {
            "nodeName": tools.options.node_name,
            "memory": {
                "time": now,
                "availableBytes": usage.memory_available_bytes,
                "usageBytes": working,
                "workingSetBytes": working,
            },
            "fs": _filesystem(now, usage.disk_available_bytes, usage.disk_capacity_bytes),
            "runtime": {"imageFs": _filesystem(now, images.available_bytes, images.capacity_bytes)},
            "rlimit": {"time": now, "maxpid": usage.max_processes, "curproc": usage.processes},
        },
        "pods": pods,
    }


def _pod(record: PodRecord, by_id: Mapping[str, ContainerStats], now: str) -> dict[str, Any]:
    metadata = record.pod.metadata
    containers = [_container(status.name, by_id[status.id]) for status in record.running() if status.id in by_id]
    return {
        "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "startTime": rfc3339(record.start_time or 0.0),
        "containers": containers,
        "cpu": {"time": now, "usageCoreNanoSeconds": sum(c["cpu"]["usageCoreNanoSeconds"] for c in containers)},
        "memory": {
            "time": now,
            "usageBytes": sum(c["memory"]["usageBytes"] for c in containers),
            "workingSetBytes": sum(c["memory"]["workingSetBytes"] for c in containers),
        },
    }


def _container(name: str, stats: ContainerStats) -> dict[str, Any]:
    time = rfc3339(stats.timestamp)
    return {
        "name": name,
        "cpu": {"time": time, "usageCoreNanoSeconds": stats.cpu_usage_nanoseconds},
        "memory": {
            "time": time,
            "usageBytes": stats.memory_usage_bytes,
            "workingSetBytes": stats.memory_working_set_bytes,
            "rssBytes": stats.memory_rss_bytes,
            "pageFaults": stats.page_faults,
            "majorPageFaults": stats.major_page_faults,
        },
        "rootfs": {"time": time, "usedBytes": stats.rootfs_used_bytes, "inodesUsed": stats.rootfs_inodes_used},
    }


def _filesystem(time: str, available: int, capacity: int) -> dict[str, Any]:
    return {
        "time": time,
        "availableBytes": available,
        "capacityBytes": capacity,
        "usedBytes": max(0, capacity - available),
    }


async def metrics_text(tools: Tools, records: Mapping[str, PodRecord]) -> str:
    """Resource metrics of containers, and how many Pods and containers there are."""
    by_id = {stats.id: stats for stats in await tools.runtime.container_stats()}
    running = [(record, status) for record in records.values() for status in record.running()]
    lines = [
        "# HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox",
        "# TYPE kubelet_running_pods gauge",
        f"kubelet_running_pods {sum(record.ready_sandbox is not None for record in records.values())}",
        "# HELP kubelet_running_containers [ALPHA] Number of containers currently running",
        "# TYPE kubelet_running_containers gauge",
        f'kubelet_running_containers{{container_state="running"}} {len(running)}',
    ]
    cpu = ["# TYPE container_cpu_usage_seconds_total counter"]
    memory = ["# TYPE container_memory_working_set_bytes gauge"]
    for record, status in running:
        stats = by_id.get(status.id)
        if stats is None:
            continue
        metadata = record.pod.metadata
        labels = f'container="{status.name}",namespace="{metadata.namespace}",pod="{metadata.name}"'
        cpu.append(f"container_cpu_usage_seconds_total{{{labels}}} {stats.cpu_usage_nanoseconds / 1e9}")
        memory.append(f"container_memory_working_set_bytes{{{labels}}} {stats.memory_working_set_bytes}")
    return "\n".join(lines + cpu + memory) + "\n"

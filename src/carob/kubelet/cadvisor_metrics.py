"""`/metrics/cadvisor`: the container metrics that dashboards and alert rules know by name. Pure.

Source: cAdvisor `metrics/prometheus.go`; the labels that the kubelet gives (`container`, `id`, `image`, `name`, `namespace`, `pod`).
Differs: no network, block device and per-processor series (docs/known-limits.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet.exposition import Family, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.kubelet.machine import Machine
    from carob.kubelet.usage import ContainerUse, Look

_SERIES: tuple[tuple[str, str, str, Callable[[ContainerUse], float]], ...] = (
    (
        "container_cpu_cfs_periods_total",
        "counter",
        "Number of elapsed enforcement period intervals.",
        lambda use: use.stats.cpu_periods,
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        "counter",
        "Number of throttled period intervals.",
        lambda use: use.stats.cpu_throttled_periods,
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "counter",
        "Total time duration the container has been throttled.",
        lambda use: use.stats.cpu_throttled_nanoseconds / 1e9,
    ),
    (
        "container_fs_usage_bytes",
        "gauge",
        "Number of bytes that are consumed by the container on this filesystem.",
        lambda use: use.stats.rootfs_used_bytes,
    ),
    (
        "container_memory_cache",
        "gauge",
        "Number of bytes of page cache memory.",
        lambda use: use.stats.memory_cache_bytes,
    ),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", lambda use: use.stats.memory_rss_bytes),
    ("container_memory_swap", "gauge", "Container swap usage in bytes.", lambda use: use.stats.swap_usage_bytes),
    (
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        lambda use: use.stats.memory_usage_bytes,
    ),
    (
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set in bytes.",
        lambda use: use.stats.memory_working_set_bytes,
    ),
    (
        "container_oom_events_total",
        "counter",
        "Count of out of memory events observed for the container",
        lambda use: use.stats.oom_kills,
    ),
    (
        "container_processes",
        "gauge",
        "Number of processes running inside the container.",
        lambda use: use.stats.process_count,
    ),
    (
        "container_spec_cpu_period",
        "gauge",
        "CPU period of the container.",
        lambda use: use.status.resources.cpu_period,
    ),
    (
        "container_spec_cpu_quota",
        "gauge",
        "CPU quota of the container.",
        lambda use: use.status.resources.cpu_quota,
    ),
    (
        "container_spec_cpu_shares",
        "gauge",
        "CPU share of the container.",
        lambda use: use.status.resources.cpu_shares,
    ),
    (
        "container_spec_memory_limit_bytes",
        "gauge",
        "Memory limit for the container.",
        lambda use: max(0, use.status.resources.memory_limit),
    ),
)


def page(look: Look, machine: Machine) -> str:
    """The text of one look."""
    version = Family("cadvisor_version_info", "gauge", "A metric with a constant '1' value labeled by kernel version.")
    version.add({"kernelVersion": machine.kernel, "osVersion": machine.os_image}, 1)
    cpu = Family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.")
    seen = Family("container_last_seen", "gauge", "Last time a container was seen by the exporter")
    start = Family("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.")
    failures = Family("container_memory_failures_total", "counter", "Cumulative count of memory allocation failures.")
    families = [Family(name, kind, words) for name, kind, words, _ in _SERIES]
    root = {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}
    cpu.add({**root, "cpu": "total"}, look.node.cpu_nanoseconds / 1e9, look.time)
    for use in look.containers:
        stats, labels = use.stats, _labels(use)
        cpu.add({**labels, "cpu": "total"}, stats.cpu_usage_nanoseconds / 1e9, stats.timestamp)
        seen.add(labels, int(look.time), stats.timestamp)
        start.add(labels, use.status.started_at)
        major, minor = stats.major_page_faults, stats.page_faults - stats.major_page_faults
        for failure, count in (("pgmajfault", major), ("pgfault", minor + major)):
            failures.add({**labels, "failure_type": failure, "scope": "hierarchy"}, count, stats.timestamp)
        for family, (_, _, _, value) in zip(families, _SERIES, strict=True):
            family.add(labels, value(use), stats.timestamp)
    ids = {"boot_id": machine.boot_id, "machine_id": machine.machine_id, "system_uuid": machine.system_uuid}
    cores = Family("machine_cpu_cores", "gauge", "Number of logical CPU cores.")
    cores.add(ids, machine.cpus)
    memory = Family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.")
    memory.add(ids, machine.memory_bytes)
    return text([version, cpu, *families, seen, failures, start, cores, memory])


def _labels(use: ContainerUse) -> dict[str, str]:
    metadata = use.record.pod.metadata
    sandbox = use.record.sandboxes.get(use.status.sandbox_id)
    parent = sandbox.config.cgroup_parent if sandbox is not None else ""
    return {
        "container": use.status.name,
        "id": f"{parent}/{use.status.id}",
        "image": use.status.image,
        "name": use.status.id,
        "namespace": metadata.namespace,
        "pod": metadata.name,
    }

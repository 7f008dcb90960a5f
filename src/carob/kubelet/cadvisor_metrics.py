"""`/metrics/cadvisor`: the container metrics that dashboards and alert rules know by name. Pure.

Source: cAdvisor `metrics/prometheus.go`; the labels that the kubelet gives (`container`, `id`, `image`, `name`, `namespace`, `pod`).
As upstream's kubelet: no series for each processor.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from carob.kubelet.exposition import Family, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.kubelet.machine import Machine
    from carob.kubelet.usage import ContainerUse, Look, SandboxUse
    from carob.runtime.types import DeviceStats, InterfaceStats

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


# Source: cAdvisor's names of what proc_net_dev(5) and the block controller count
_NETWORK: tuple[tuple[str, str, Callable[[InterfaceStats], int]], ...] = (
    ("receive_bytes", "bytes received", lambda one: one.receive_bytes),
    ("receive_errors", "errors encountered while receiving", lambda one: one.receive_errors),
    ("receive_packets_dropped", "packets dropped while receiving", lambda one: one.receive_dropped),
    ("receive_packets", "packets received", lambda one: one.receive_packets),
    ("transmit_bytes", "bytes transmitted", lambda one: one.transmit_bytes),
    ("transmit_errors", "errors encountered while transmitting", lambda one: one.transmit_errors),
    ("transmit_packets_dropped", "packets dropped while transmitting", lambda one: one.transmit_dropped),
    ("transmit_packets", "packets transmitted", lambda one: one.transmit_packets),
)
_DISK: tuple[tuple[str, str, Callable[[DeviceStats], int]], ...] = (
    ("reads_bytes", "bytes read", lambda one: one.read_bytes),
    ("reads", "reads completed", lambda one: one.reads),
    ("writes_bytes", "bytes written", lambda one: one.write_bytes),
    ("writes", "writes completed", lambda one: one.writes),
)


def _networks(look: Look) -> list[Family]:
    families = [
        Family(f"container_network_{name}_total", "counter", f"Cumulative count of {words}")
        for name, words, _ in _NETWORK
    ]
    for use in look.sandboxes.values():
        for interface in use.stats.interfaces:
            labels = {**_group_labels(use), "interface": interface.name}
            for family, (_, _, value) in zip(families, _NETWORK, strict=True):
                family.add(labels, value(interface), use.stats.timestamp)
    return families


def _disks(look: Look) -> list[Family]:
    families = [
        Family(f"container_fs_{name}_total", "counter", f"Cumulative count of {words}") for name, words, _ in _DISK
    ]
    for use in look.containers:
        for device in use.stats.devices:
            labels = {**_labels(use), "device": _device_name(device)}
            for family, (_, _, value) in zip(families, _DISK, strict=True):
                family.add(labels, value(device), use.stats.timestamp)
    return families


def _pressures(look: Look) -> list[Family]:
    """Source: cAdvisor's `container_pressure_…`: waiting is some of the processes, stalled is all."""
    words = {"cpu": "CPU", "memory": "memory", "io": "I/O"}
    waits = {
        (name, kind): Family(
            f"container_pressure_{name}_{'waiting' if kind == 'some' else 'stalled'}_seconds_total",
            "counter",
            f"Total time duration {'' if kind == 'some' else 'no '}tasks in the container "
            f"{'have waited' if kind == 'some' else 'could make progress'} due to {shown} congestion.",
        )
        for name, shown in words.items()
        for kind in ("some", "full")
    }
    every = [(_group_labels(one), one.stats.pressure, one.stats.timestamp) for one in look.sandboxes.values()]
    every += [(_labels(use), use.stats.pressure, use.stats.timestamp) for use in look.containers]
    for labels, pressure, time in every:
        for name, found in pressure.items():
            for kind, stall in (("some", found.some), ("full", found.full)):
                waits[name, kind].add(labels, stall.total_microseconds / 1e6, time)
    return list(waits.values())


def _device_name(device: DeviceStats) -> str:
    path = f"/sys/dev/block/{device.major}:{device.minor}"
    try:
        return "/dev/" + os.path.basename(os.readlink(path))
    except OSError:
        return f"{device.major}:{device.minor}"


def _group_labels(use: SandboxUse) -> dict[str, str]:
    metadata = use.record.pod.metadata
    return {
        "container": "",
        "id": use.sandbox.config.cgroup_parent,
        "image": "",
        "name": use.sandbox.id,
        "namespace": metadata.namespace,
        "pod": metadata.name,
    }


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
    user = Family("container_cpu_user_seconds_total", "counter", "Cumulative user cpu time consumed in seconds.")
    system = Family("container_cpu_system_seconds_total", "counter", "Cumulative system cpu time consumed in seconds.")
    by_name = {family.name: family for family in families}
    for group in look.sandboxes.values():
        labels, own = _group_labels(group), group.stats
        cpu.add({**labels, "cpu": "total"}, own.cpu_usage_nanoseconds / 1e9, own.timestamp)
        for name, number in (
            ("container_memory_rss", own.memory_rss_bytes),
            ("container_memory_usage_bytes", own.memory_usage_bytes),
            ("container_memory_working_set_bytes", own.memory_working_set_bytes),
        ):
            by_name[name].add(labels, number, own.timestamp)
    for use in look.containers:
        stats, labels = use.stats, _labels(use)
        user.add(labels, stats.cpu_user_nanoseconds / 1e9, stats.timestamp)
        system.add(labels, stats.cpu_system_nanoseconds / 1e9, stats.timestamp)
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
    more = [*_networks(look), *_disks(look), *_pressures(look)]
    return text([version, cpu, user, system, *families, *more, seen, failures, start, cores, memory])


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

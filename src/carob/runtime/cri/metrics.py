"""The runtime's own metrics of Pods and containers, under cAdvisor's names, as the CRI has them: whole numbers. Pure.

Source: cri-api `ListMetricDescriptors`, `ListPodSandboxMetrics`; KEP-2371. Times are whole seconds, because the wire knows
no fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from carob.runtime.cri import runtime_messages as wire
from carob.runtime.cri.sandbox_messages import UInt64Value
from carob.runtime.types import ContainerStats, ContainerStatus, SandboxStats, SandboxStatus

COUNTER, GAUGE = 0, 1
_LABELS = ("id", "name", "image")
_INTERFACE = "interface"


class _Metric(NamedTuple):
    name: str
    kind: int
    help: str
    value: Callable[[Any], int]
    """Of what it is about: counters of a group, of a container, of an interface."""


def _seconds(field: str) -> Callable[[Any], int]:
    return lambda stats: getattr(stats, field) // 10**9


def _pressure(resource: str, kind: str) -> Callable[[Any], int]:
    """Seconds; 0 where the kernel does not tell."""

    def total(stats: ContainerStats | SandboxStats) -> int:
        found = stats.pressure.get(resource)
        return 0 if found is None else int(getattr(found, kind).total_microseconds) // 10**6

    return total


_GROUP = (
    _Metric(
        "container_cpu_usage_seconds_total",
        COUNTER,
        "Cumulative cpu time consumed in seconds.",
        _seconds("cpu_usage_nanoseconds"),
    ),
    _Metric("container_memory_rss", GAUGE, "Size of RSS in bytes.", lambda s: s.memory_rss_bytes),
    _Metric("container_memory_usage_bytes", GAUGE, "Memory usage in bytes.", lambda s: s.memory_usage_bytes),
    _Metric("container_memory_working_set_bytes", GAUGE, "Working set in bytes.", lambda s: s.memory_working_set_bytes),
    _Metric("container_processes", GAUGE, "Number of processes.", lambda s: s.process_count),
    *(
        _Metric(
            f"container_pressure_{resource}_{word}_seconds_total",
            COUNTER,
            f"Seconds {word} for want of {resource}.",
            _pressure(resource, kind),
        )
        for resource in ("cpu", "memory", "io")
        for word, kind in (("waiting", "some"), ("stalled", "full"))
    ),
)
_CONTAINER = (
    _Metric("container_cpu_cfs_periods_total", COUNTER, "Number of enforcement periods.", lambda s: s.cpu_periods),
    _Metric(
        "container_cpu_cfs_throttled_periods_total",
        COUNTER,
        "Number of throttled periods.",
        lambda s: s.cpu_throttled_periods,
    ),
    _Metric(
        "container_cpu_cfs_throttled_seconds_total",
        COUNTER,
        "Seconds throttled.",
        _seconds("cpu_throttled_nanoseconds"),
    ),
    _Metric("container_cpu_system_seconds_total", COUNTER, "System cpu time.", _seconds("cpu_system_nanoseconds")),
    _Metric("container_cpu_user_seconds_total", COUNTER, "User cpu time.", _seconds("cpu_user_nanoseconds")),
    _Metric("container_fs_usage_bytes", GAUGE, "Bytes of the writable layer.", lambda s: s.rootfs_used_bytes),
    _Metric("container_memory_cache", GAUGE, "Bytes of page cache memory.", lambda s: s.memory_cache_bytes),
    _Metric("container_memory_swap", GAUGE, "Swap usage in bytes.", lambda s: s.swap_usage_bytes),
    _Metric("container_oom_events_total", COUNTER, "Processes killed for want of memory.", lambda s: s.oom_kills),
)
_NETWORK = tuple(
    _Metric(f"container_network_{name}_total", COUNTER, f"Cumulative count: {name.replace('_', ' ')}.", value)
    for name, value in (
        ("receive_bytes", lambda one: one.receive_bytes),
        ("receive_errors", lambda one: one.receive_errors),
        ("receive_packets", lambda one: one.receive_packets),
        ("receive_packets_dropped", lambda one: one.receive_dropped),
        ("transmit_bytes", lambda one: one.transmit_bytes),
        ("transmit_errors", lambda one: one.transmit_errors),
        ("transmit_packets", lambda one: one.transmit_packets),
        ("transmit_packets_dropped", lambda one: one.transmit_dropped),
    )
)


def descriptors() -> list[wire.MetricDescriptor]:
    """Every metric, with the names of its labels in their order."""
    rows = [(metric, list(_LABELS)) for metric in (*_GROUP, *_CONTAINER)]
    rows += [(metric, [*_LABELS, _INTERFACE]) for metric in _NETWORK]
    return [wire.MetricDescriptor(name=metric.name, help=metric.help, label_keys=keys) for metric, keys in rows]


def of_sandbox(
    sandbox: SandboxStatus, stats: SandboxStats, inside: Iterable[tuple[ContainerStatus, ContainerStats]]
) -> wire.PodSandboxMetrics:
    """A Pod's, and those of its containers."""
    group = sandbox.config.cgroup_parent
    metrics = _measured(_GROUP, stats, (group, sandbox.id, ""))
    for interface in stats.interfaces:
        metrics += _measured(_NETWORK, interface, (group, sandbox.id, "", interface.name))
    containers = [
        wire.ContainerMetrics(
            container_id=status.id,
            metrics=_measured((*_GROUP, *_CONTAINER), used, (f"{group}/{status.id}", status.id, status.image)),
        )
        for status, used in inside
    ]
    return wire.PodSandboxMetrics(pod_sandbox_id=sandbox.id, metrics=metrics, container_metrics=containers)


def _measured(metrics: Iterable[_Metric], stats: Any, labels: tuple[str, ...]) -> list[wire.Metric]:
    """Gathered now: they need no time."""
    return [
        wire.Metric(
            name=one.name,
            metric_type=one.kind,
            label_values=list(labels),
            value=UInt64Value(value=one.value(stats)),
        )
        for one in metrics
    ]

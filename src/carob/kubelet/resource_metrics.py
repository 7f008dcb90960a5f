"""`/metrics/resource` and `/metrics`: what metrics servers read. Pure.

Source: kubelet `metrics/collectors/resource_metrics.go`, `metrics/metrics.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet.exposition import Family, text

if TYPE_CHECKING:
    from collections.abc import Collection

    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.usage import Look

_CPU = "[STABLE] Cumulative cpu time consumed by the {} in core-seconds"
_MEMORY = "[STABLE] Current working set of the {} in bytes"
_SWAP = "[ALPHA] Current amount of the {} swap usage in bytes. Reported only on non-windows systems"


def page(look: Look) -> str:
    """The text of one look."""
    container_cpu = Family("container_cpu_usage_seconds_total", "counter", _CPU.format("container"))
    container_memory = Family("container_memory_working_set_bytes", "gauge", _MEMORY.format("container"))
    start_help = "[STABLE] Start time of the container since unix epoch in seconds"
    start = Family("container_start_time_seconds", "gauge", start_help)
    container_swap = Family("container_swap_usage_bytes", "gauge", _SWAP.format("container"))
    node_cpu = Family("node_cpu_usage_seconds_total", "counter", _CPU.format("node"))
    node_memory = Family("node_memory_working_set_bytes", "gauge", _MEMORY.format("node"))
    node_swap = Family("node_swap_usage_bytes", "gauge", _SWAP.format("node"))
    pod_cpu = Family("pod_cpu_usage_seconds_total", "counter", _CPU.format("pod"))
    pod_memory = Family("pod_memory_working_set_bytes", "gauge", _MEMORY.format("pod"))
    pod_swap = Family("pod_swap_usage_bytes", "gauge", _SWAP.format("pod"))
    error = Family(
        "resource_scrape_error",
        "gauge",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    )
    node_cpu.add({}, look.node.cpu_nanoseconds / 1e9, look.time)
    node_memory.add({}, look.node.memory_working_set_bytes, look.time)
    node_swap.add({}, look.node.swap_usage_bytes, look.time)
    for record, uses in look.by_pod():
        metadata = record.pod.metadata
        of_pod = {"namespace": metadata.namespace, "pod": metadata.name}
        for use in uses:
            labels = {"container": use.status.name, **of_pod}
            stats = use.stats
            container_cpu.add(labels, stats.cpu_usage_nanoseconds / 1e9, stats.timestamp)
            container_memory.add(labels, stats.memory_working_set_bytes, stats.timestamp)
            start.add(labels, use.status.started_at)
            container_swap.add(labels, stats.swap_usage_bytes, stats.timestamp)
        group = look.sandboxes.get(record.uid)
        every = [group.stats] if group is not None else [use.stats for use in uses]
        pod_cpu.add(of_pod, sum(one.cpu_usage_nanoseconds for one in every) / 1e9, look.time)
        pod_memory.add(of_pod, sum(one.memory_working_set_bytes for one in every), look.time)
        pod_swap.add(of_pod, sum(u.stats.swap_usage_bytes for u in uses), look.time)
    error.add({}, 0)
    of_containers = [container_cpu, container_memory, start, container_swap]
    return text([*of_containers, node_cpu, node_memory, node_swap, pod_cpu, pod_memory, pod_swap, error])


def kubelet_page(records: Collection[PodRecord]) -> str:
    """How many Pods and containers there are."""
    pods = Family("kubelet_running_pods", "gauge", "[ALPHA] Number of pods that have a running pod sandbox")
    pods.add({}, sum(record.ready_sandbox is not None for record in records))
    containers = Family("kubelet_running_containers", "gauge", "[ALPHA] Number of containers currently running")
    states: dict[str, int] = {"running": 0}
    for record in records:
        for status in record.containers.values():
            state = status.state.name.lower()
            states[state] = states.get(state, 0) + 1
    for state, count in sorted(states.items()):
        containers.add({"container_state": state}, count)
    return text([containers, pods])

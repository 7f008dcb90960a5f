"""The row of a Pod: its containers' states in one word.

Pure. Source: upstream `printPod`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api.qos import is_sidecar
from carob.apiserver.tables.text import age, or_none, since

if TYPE_CHECKING:
    from carob.api.types import core_v1


def _condition(reason: str, message: str) -> bytes:
    return orjson.dumps([{"type": "Completed", "status": "True", "reason": reason, "message": message}])


_CONDITIONS = {
    "Succeeded": _condition("Succeeded", "The pod has completed successfully."),
    "Failed": _condition("Failed", "The pod failed."),
}


def conditions(pod: core_v1.Pod) -> bytes:
    """The conditions of a finished Pod's row."""
    return _CONDITIONS.get(pod.status.phase, b"")


class _Restarts:
    """A count and the time of the latest restart that it counts."""

    def __init__(self) -> None:
        self.count = 0
        self.latest = ""

    def add(self, status: core_v1.ContainerStatus) -> None:
        self.count += status.restart_count
        ended = status.last_state.terminated
        if ended is not None and ended.finished_at:
            self.latest = max(self.latest, ended.finished_at)

    def text(self, now: float) -> str:
        """`3`, or `3 (5m ago)`."""
        return f"{self.count} ({since(self.latest, now)} ago)" if self.count and self.latest else str(self.count)


def cells(pod: core_v1.Pod, now: float) -> list[Any]:
    """Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates."""
    status = pod.status
    sidecars = {c.name for c in pod.spec.init_containers if is_sidecar(c)}
    total = len(pod.spec.containers) + len(sidecars)
    word = status.reason or status.phase
    if any(c.type == "PodScheduled" and c.reason == "SchedulingGated" for c in status.conditions):
        word = "SchedulingGated"
    word, ready, restarts, initializing = _initial(pod, sidecars, word)
    if not initializing or _is_true(status.conditions, "Initialized"):
        restarts = _Restarts()
        for one in status.init_container_statuses:
            if one.name in sidecars:
                restarts.add(one)
        word, more = _running(status, word, restarts)
        ready += more
    if pod.metadata.deletion_timestamp is not None:
        if status.reason == "NodeLost":
            word = "Unknown"
        elif status.phase not in _CONDITIONS:
            word = "Terminating"
    return [
        pod.metadata.name,
        f"{ready}/{total}",
        word,
        restarts.text(now),
        age(pod, now),
        status.pod_ips[0].ip if status.pod_ips and status.pod_ips[0].ip else or_none(""),
        or_none(pod.spec.node_name),
        or_none(status.nominated_node_name),
        _gates(pod),
    ]


def _initial(pod: core_v1.Pod, sidecars: set[str], word: str) -> tuple[str, int, _Restarts, bool]:
    """How far the init containers have come: word, ready sidecars, restarts, whether they are still at it."""
    ready, restarts = 0, _Restarts()
    for number, one in enumerate(pod.status.init_container_statuses):
        restarts.add(one)
        ended, waiting = one.state.terminated, one.state.waiting
        if ended is not None and ended.exit_code == 0:
            continue
        if one.name in sidecars and one.started:
            ready += one.ready
            continue
        if ended is not None:
            word = "Init:" + _ended(ended)
        elif waiting is not None and waiting.reason and waiting.reason != "PodInitializing":
            word = "Init:" + waiting.reason
        else:
            word = f"Init:{number}/{len(pod.spec.init_containers)}"
        return word, ready, restarts, True
    return word, ready, restarts, False


def _running(status: core_v1.PodStatus, word: str, restarts: _Restarts) -> tuple[str, int]:
    ready, runs = 0, False
    for one in reversed(status.container_statuses):
        restarts.add(one)
        ended, waiting = one.state.terminated, one.state.waiting
        if waiting is not None and waiting.reason:
            word = waiting.reason
        elif ended is not None:
            word = _ended(ended)
        elif one.ready and one.state.running is not None:
            runs = True
            ready += 1
    if word == "Completed" and runs:
        word = "Running" if _is_true(status.conditions, "Ready") else "NotReady"
    return word, ready


def _ended(ended: core_v1.ContainerStateTerminated) -> str:
    if ended.reason:
        return ended.reason
    return f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}"


def _is_true(found: list[core_v1.PodCondition], kind: str) -> bool:
    return any(one.type == kind and one.status == "True" for one in found)


def _gates(pod: core_v1.Pod) -> str:
    gates = pod.spec.readiness_gates
    if not gates:
        return or_none("")
    true = sum(1 for gate in gates if _is_true(pod.status.conditions, gate.condition_type))
    return f"{true}/{len(gates)}"


CELLS = {"pods": cells}

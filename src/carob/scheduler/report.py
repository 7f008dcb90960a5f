"""The whole of a decision: every node, every filter's verdict, every score, and what would have to change.

Pure. Where a decision stops at the first rejection, the report goes on: who wants to know why wants to know all of it.
Nothing is changed by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict

from carob.scheduler import filter as filters
from carob.scheduler import score as scores
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.hints import hints

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot


class NodeReport(Struct, frozen=True):
    """One node. `rejections` by filter, `hints`: what would have to change; scores only where nobody rejects."""

    node: str
    rejections: dict[str, tuple[str, ...]]
    hints: tuple[str, ...] = ()
    scores: dict[str, int] = field(default_factory=dict)
    """Weighted, by their names."""

    @property
    def total(self) -> int:
        return sum(self.scores.values())


class Report(Struct, frozen=True):
    """The nodes, the best first. `chosen` is where the Pod would go now; `message` why nowhere."""

    nodes: tuple[NodeReport, ...]
    chosen: str = ""
    message: str = ""
    preempts: tuple[str, ...] = ()
    """Keys of the Pods that would have to go so that the Pod gets `nominated`."""
    nominated: str = ""
    filters: tuple[str, ...] = ()
    """Those that had something to check of the Pod, in order; each let through every node that it did not reject."""
    idle: tuple[str, ...] = ()
    """Those that had nothing to check."""


def report(pod: PodInfo, snapshot: Snapshot) -> Report:
    """What the scheduler thinks of every node for this Pod now."""
    every = filters.named(pod, snapshot)
    checks = [(name, check) for name, check in every if check is not None]
    rejected: list[NodeReport] = []
    feasible: list[NodeInfo] = []
    for node in snapshot.nodes():
        verdicts = {name: one.reasons for name, check in checks if (one := check(node)) is not None}
        if verdicts:
            rejected.append(NodeReport(node.name, verdicts, tuple(hints(pod, node, snapshot, verdicts))))
        else:
            feasible.append(node)
    judged = scores.by_name(pod, feasible, snapshot)
    fitting = [
        NodeReport(node.name, {}, (), {name: weight * values[i] for name, (weight, values) in judged.items()})
        for i, node in enumerate(feasible)
    ]
    fitting.sort(key=lambda one: -one.total)
    start, candidate = snapshot.next_start, snapshot.next_candidate
    found = decide(pod, snapshot, keep=False)
    snapshot.next_start, snapshot.next_candidate = start, candidate
    nodes = (*fitting, *rejected)
    asked = tuple(name for name, check in every if check is not None)
    idle = tuple(name for name, check in every if check is None)
    if not isinstance(found, Unschedulable):
        return Report(nodes, found.name, filters=asked, idle=idle)
    made = found.nomination
    if made is None:
        return Report(nodes, message=found.message, filters=asked, idle=idle)
    going = tuple(victim.key for victim in made.victims)
    return Report(nodes, "", found.message, going, made.node, filters=asked, idle=idle)


def tree_of(pod: PodInfo, placed: str, profile: str, found: Report) -> dict[str, Any]:
    """The report as the API and `-o json` show it; `placed` is the node that the Pod has."""
    nodes = [asdict(one) | {"total": one.total} for one in found.nodes]
    rank = next((i + 1 for i, one in enumerate(found.nodes) if one.node == placed and not one.rejections), 0)
    return {
        "pod": pod.key,
        "schedulerName": profile,
        "node": placed,
        "rank": rank,
        "gates": [gate.name for gate in pod.view.spec.scheduling_gates],
        "chosen": found.chosen,
        "message": found.message,
        "nominated": found.nominated,
        "preempts": list(found.preempts),
        "filters": list(found.filters),
        "idle": list(found.idle),
        "nodes": nodes,
    }

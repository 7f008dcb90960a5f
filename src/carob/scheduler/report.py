"""The whole of a decision: every node, every filter's verdict, every score, and what would have to change.

Pure. Where a decision stops at the first rejection, the report goes on: who wants to know why wants to know all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from carob.api import quantity
from carob.scheduler import filter as filters
from carob.scheduler import score as scores
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.filter import node_resources_fit, taint_toleration
from carob.scheduler.requests import CPU, MEMORY
from carob.scheduler.taints import tolerates

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node. `rejections` by filter, `hints`: what would have to change; scores only where nobody rejects."""

    node: str
    rejections: dict[str, tuple[str, ...]]
    hints: tuple[str, ...] = ()
    scores: dict[str, int] = field(default_factory=dict)
    """Weighted, by their names."""

    @property
    def total(self) -> int:
        return sum(self.scores.values())


@dataclass(frozen=True, slots=True)
class Report:
    """The nodes, the best first. `chosen` is where the Pod would go now; `message` why nowhere."""

    nodes: tuple[NodeReport, ...]
    chosen: str = ""
    message: str = ""
    preempts: tuple[str, ...] = ()
    """Keys of the Pods that would have to go so that the Pod gets `nominated`."""
    nominated: str = ""


def report(pod: PodInfo, snapshot: Snapshot) -> Report:
    """What the scheduler thinks of every node for this Pod now."""
    checks = [(name, check) for name, check in filters.named(pod, snapshot) if check is not None]
    rejected: list[NodeReport] = []
    feasible: list[NodeInfo] = []
    for node in snapshot.nodes():
        verdicts = {name: one.reasons for name, check in checks if (one := check(node)) is not None}
        if verdicts:
            rejected.append(NodeReport(node.name, verdicts, tuple(_hints(pod, node, verdicts))))
        else:
            feasible.append(node)
    judged = scores.by_name(pod, feasible, snapshot)
    fitting = [
        NodeReport(node.name, {}, (), {name: weight * values[i] for name, (weight, values) in judged.items()})
        for i, node in enumerate(feasible)
    ]
    fitting.sort(key=lambda one: -one.total)
    found = decide(pod, snapshot)
    nodes = (*fitting, *rejected)
    if not isinstance(found, Unschedulable):
        return Report(nodes, found.name)
    made = found.nomination
    if made is None:
        return Report(nodes, message=found.message)
    return Report(nodes, "", found.message, tuple(victim.key for victim in made.victims), made.node)


def _hints(pod: PodInfo, node: NodeInfo, verdicts: dict[str, tuple[str, ...]]) -> list[str]:
    hints = []
    if node_resources_fit.NAME in verdicts:
        for name, wanted in pod.requests.items():
            offered, taken = node.allocatable.get(name, 0), node.requested.get(name, 0)
            if wanted > offered - taken:
                hints.append(
                    f"asks for {_amount(name, wanted)} {name}, {_amount(name, max(offered - taken, 0))} of "
                    f"{_amount(name, offered)} is left"
                )
        if node_resources_fit.TOO_MANY_PODS in verdicts[node_resources_fit.NAME]:
            hints.append(f"has {len(node.pods)} of {node.allowed_pods} Pods")
    if taint_toleration.NAME in verdicts and node.view is not None:
        hints += [
            f"taint {one.key}{'=' + one.value if one.value else ''}:{one.effect}"
            for one in node.view.spec.taints
            if one.effect in taint_toleration.EFFECTS
            and not tolerates(pod.view.spec.tolerations, one.key, one.value, one.effect)
        ]
    return hints


def _amount(name: str, value: int) -> str:
    if name == CPU:
        return str(quantity.from_millicores(value))
    return str(quantity.from_bytes(value)) if name == MEMORY or name.endswith("storage") else str(value)

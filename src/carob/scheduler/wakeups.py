"""What happened since the last look, and which of the sleeping Pods it could help.

Pure. A Pod that a local filter kept away is helped by a node that changed and on which it fits now; one that other Pods
kept away, by the coming or going of Pods of which its rules (or whose rules) speak.
Source: the scheduler's queueing hints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler import filter as filters
from carob.scheduler.filter import inter_pod_affinity, pod_topology_spread
from carob.scheduler.fitting import rejection_of, rejection_of_outsider
from carob.scheduler.spread_rules import REQUIRED, rules_of
from carob.scheduler.verdict import EXTENDER

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.queue import Waiting
    from carob.scheduler.snapshot import Snapshot

BY_OTHER_PODS = frozenset((inter_pod_affinity.NAME, pod_topology_spread.NAME))
MAX_MOVED = 256
"""Comings and goings that are looked at one by one; more are taken to concern everybody."""


class Happenings:
    """Gathered between two looks; `node` for a node that may fit more Pods, `moved` for a Pod that came or went."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._nodes: set[str] = set()
        self._moved: list[PodInfo] = []
        self._cluster = False

    def node(self, name: str) -> None:
        """The node may fit more Pods than before."""
        self._nodes.add(name)

    def moved(self, pod: PodInfo) -> None:
        """The Pod came to a node, or went from one."""
        if len(self._moved) <= MAX_MOVED:
            self._moved.append(pod)

    def topology(self) -> None:
        """Nodes or namespaces are not what they were: everybody's neighbours may be others."""
        self._cluster = True

    def test(self, look: Callable[[PodInfo], None]) -> Callable[[Waiting], bool] | None:
        """Whether a sleeper could be helped by what was gathered, which is forgotten now; None if nothing was.

        `look` brings a Pod's view of its claims up to date.
        """
        if not self._nodes and not self._moved and not self._cluster:
            return None
        snapshot = self._snapshot
        touched: dict[str, NodeInfo] = {name: node for name in self._nodes if (node := snapshot.get(name)) is not None}
        nodes = list(touched.values())
        moved, cluster = self._moved, self._cluster
        self._nodes, self._moved, self._cluster = set(), [], False
        # Pods of one controller are all alike: one answer does for all of them
        answers: dict[Hashable, bool] = {}

        def could_fit(waiting: Waiting) -> bool:
            pod, rejected_by = waiting.pod, waiting.rejected_by
            if not rejected_by:
                return bool(nodes)
            if EXTENDER in rejected_by:
                # nobody knows what it looks at
                return True
            if not rejected_by.isdisjoint(BY_OTHER_PODS) and (
                cluster or len(moved) > MAX_MOVED or any(concerns(pod, other, snapshot) for other in moved)
            ):
                return True
            if not nodes:
                return False
            promised = snapshot.nominations.node_of(pod.key)
            if promised in touched and rejection_of(pod, touched[promised], snapshot) is None:
                return True
            alike = sort_of(pod, rejected_by, snapshot, promised=False)
            answer = answers.get(alike)
            if answer is None:
                look(pod)
                checks = filters.prepare(pod, snapshot)
                answer = any(rejection_of_outsider(pod, node, snapshot, checks) is None for node in nodes)
                answers[alike] = answer
            return answer

        return could_fit


def sort_of(pod: PodInfo, rejected_by: frozenset[str], snapshot: Snapshot, *, promised: bool) -> Hashable:
    """Equal for sleepers that the same happenings wake. `promised`: it has a nomination, which is its own affair."""
    if promised:
        return pod.key
    neighbours = None
    if not rejected_by.isdisjoint(BY_OTHER_PODS):
        neighbours = (pod.group, snapshot.selecting.of(pod))
    return pod.fit_key(), pod.priority, rejected_by, neighbours


def concerns(pod: PodInfo, other: PodInfo, snapshot: Snapshot) -> bool:
    """Whether a rule of the one speaks of the other."""
    spaces = snapshot.namespaces
    terms = pod.terms
    if any(term.matches(other, spaces) for term in (*terms.affinity, *terms.anti_affinity)):
        return True
    if any(term.matches(pod, spaces) for term in other.terms.anti_affinity):
        return True
    return pod.namespace == other.namespace and any(
        rule.selector.matches(other.labels) for rule in rules_of(pod, REQUIRED, snapshot)
    )

"""What the local filters and scores said of every node, kept for Pods that are alike.

Pure. A Deployment's thousand Pods ask the same of a node, and between two of them hardly a node has changed: only those
are asked again. Invariant: what is kept is what asking every node now would give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler import filter as filters
from carob.scheduler import score as scores
from carob.scheduler.fitting import rejection_of, rivals_of
from carob.scheduler.preemption import Rooms
from carob.scheduler.tallies import add

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check, Rejection

MAX_KEPT = 32
"""Sorts of Pods; the one that came last longest ago goes first. Each costs some 30 bytes a node."""
MAX_SEEN = 1024
MAX_PRIORITIES = 64
REJECTED = -1


class Alike:
    """One sort of Pods. Lists are by the position of the node; `totals` is `REJECTED` where a filter said no."""

    def __init__(self, pod: PodInfo, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._checks: list[Check] = filters.local(pod, snapshot)
        self._total: Rate = scores.own(pod, snapshot)
        self._scaled = [(rate, weight, reverse) for _, rate, weight, reverse in scores.scaled(pod, snapshot)]
        self._epoch = -1
        self._read = 0
        self.rejections: list[Rejection | None] = []
        self.totals: list[int] = []
        self.sums: dict[int, int] = {}
        """How many nodes have which total."""
        self.unequal = 0
        """How many of the numbers to be scaled are not 0."""
        self.counts: dict[Rejection, int] = {}
        """How many nodes were rejected for what."""
        self.rooms = Rooms()
        self._rivalry: dict[int, Rivalry] = {}
        self.raw: list[tuple[list[int], int, bool]] = []
        """The numbers to be scaled, their weight, and whether less is better."""

    def refresh(self) -> bool:
        """Ask the nodes that changed; False when the cluster has become another: make it anew."""
        snapshot = self._snapshot
        nodes = snapshot.nodes()
        if self._epoch < 0:
            self._epoch = snapshot.epoch
            size = len(nodes)
            self.rejections = [None] * size
            self.totals = [0] * size
            self.sums = {0: size} if size else {}
            self.unequal = 0
            self.counts = {}
            self.raw = [([0] * size, weight, reverse) for _, weight, reverse in self._scaled]
            self._ask(nodes, range(size))
        elif self._epoch != snapshot.epoch:
            return False
        elif self._read < len(snapshot.changes):
            self._ask(nodes, set(snapshot.changes[self._read :]))
        self._read = len(snapshot.changes)
        return True

    def _ask(self, nodes: list[NodeInfo], positions: Sequence[int] | set[int]) -> None:
        checks, total = self._checks, self._total
        rejections, counts = self.rejections, self.counts
        for i in positions:
            node = nodes[i]
            rejection = filters.first_rejection(checks, node)
            before = rejections[i]
            if rejection is not before:
                if before is not None:
                    add(counts, before, -1)
                if rejection is not None:
                    add(counts, rejection, 1)
                rejections[i] = rejection
            worth = REJECTED if rejection is not None else total(node)
            if worth != self.totals[i]:
                add(self.sums, self.totals[i], -1)
                add(self.sums, worth, 1)
                self.totals[i] = worth
            for (rate, _, _), (values, _, _) in zip(self._scaled, self.raw, strict=True):
                value = rate(node)
                self.unequal += (value != 0) - (values[i] != 0)
                values[i] = value

    def rejected_for_rivals(self, pod: PodInfo, snapshot: Snapshot, *, local: bool) -> dict[int, Rejection]:
        """Nodes that were promised to somebody no less important and cannot do with both, by their positions.

        `local`: only local filters matter to the Pod, so that an answer is true as long as the node stays the same.
        Shape: not to be changed.
        """
        own = snapshot.nominations.node_of(pod.key)
        if not local or own:
            return _rejected(pod, snapshot, self.totals, self._promised_places(snapshot))
        rivalry = self._rivalry.get(pod.priority)
        if rivalry is None:
            if len(self._rivalry) >= MAX_PRIORITIES:
                self._rivalry.clear()
            rivalry = self._rivalry[pod.priority] = Rivalry()
            places: set[int] = self._promised_places(snapshot)
        else:
            places = set(snapshot.changes[rivalry.read :])
            for position in places:
                rivalry.rejected.pop(position, None)
        rivalry.read = len(snapshot.changes)
        rivalry.rejected |= _rejected(pod, snapshot, self.totals, places)
        return rivalry.rejected

    @staticmethod
    def _promised_places(snapshot: Snapshot) -> set[int]:
        promised = map(snapshot.get, snapshot.nominations.nodes())
        return {node.position for node in promised if node is not None}


class Rivalry:
    """What is known of promised nodes for Pods of one priority, as far as the snapshot's changes are read."""

    __slots__ = ("read", "rejected")

    def __init__(self) -> None:
        self.read = 0
        self.rejected: dict[int, Rejection] = {}


def _rejected(pod: PodInfo, snapshot: Snapshot, totals: list[int], positions: set[int]) -> dict[int, Rejection]:
    """Those of the nodes that would take the Pod, but not beside whom they were promised to."""
    found: dict[int, Rejection] = {}
    nodes = snapshot.nodes()
    for position in positions:
        node = nodes[position]
        if totals[position] != REJECTED and rivals_of(pod, node.name, snapshot):
            rejection = rejection_of(pod, node, snapshot)
            if rejection is not None:
                found[position] = rejection
    return found


class AlikePods:
    """The sorts that are kept. A sort is kept from its second Pod on: of a single one there is nothing to gain."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Alike] = {}
        self._seen: dict[bytes, None] = {}

    def of(self, pod: PodInfo, snapshot: Snapshot) -> Alike | None:
        """What is kept of the Pod's sort, up to date; None for the first of its sort."""
        key = pod.alike_key()
        kept = self._kept.pop(key, None)
        if kept is None or not kept.refresh():
            if kept is None and key not in self._seen:
                if len(self._seen) >= MAX_SEEN:
                    self._seen.clear()
                self._seen[key] = None
                return None
            if len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            kept = Alike(pod, snapshot)
            kept.refresh()
        self._kept[key] = kept
        return kept

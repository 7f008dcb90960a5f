"""What is where: every node with the Pods on it, kept up to date event by event, never rebuilt.

Pure; used from one event loop, on which a decision runs without interruption, so no copy is needed: the world cannot
change while it is looked at. Pods that were given a node are counted there at once ("assumed"), before the API
server has confirmed it; what the API says always wins.

Invariant: a Pod is counted on at most one node.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from carob.scheduler.alike import AlikePods
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.nominations import Nominations
from carob.scheduler.pod_terms import NO_TERMS
from carob.scheduler.profiles import DEFAULT, Profile
from carob.scheduler.selecting import Selecting
from carob.scheduler.tallies import Tallies, UsedTerm, UsedTerms, add

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.scheduler.budgets import Budget
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.views import NodeView, PodView


MAX_CHANGES = 100_000
MAX_COLUMNS = 32


class Snapshot:
    """The nodes, in the order in which they came. `image_nodes` counts the nodes that have an image."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._where: dict[str, str] = {}
        self._assumed: dict[str, str] = {}
        self._listed: list[NodeInfo] | None = None
        self.image_nodes: dict[str, int] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        """The labels of every namespace; changed by `set_namespace` alone."""
        self.epoch = 0
        """Counts how often positions of nodes, or what concerns all of them, have changed."""
        self.changes: list[int] = []
        """Positions of the nodes that have changed in this epoch, or were promised, in order, again and again."""
        self.alike = AlikePods()
        self.profiles: dict[str, Profile] = {}
        """By their scheduler names; who is not named here has the default one."""
        self.selecting = Selecting()
        self.tallies = Tallies()
        self.terms = UsedTerms()
        self.nominations = Nominations(self._promised)
        self.budgets: tuple[Budget, ...] = ()
        self._leaving: dict[str, str] = {}
        self._priorities: dict[int, int] = {}
        self._trying = False
        self._columns: dict[str, list[str | None]] = {}
        self.next_candidate = 0
        """Where the search for a node to make room on begins next time."""
        self.next_start = 0
        """Where the search for a node begins next time, so that large clusters are filled evenly."""

    def profile(self, pod: PodInfo) -> Profile:
        """How the Pod is judged."""
        return self.profiles.get(pod.view.spec.scheduler_name, DEFAULT)

    def nodes(self) -> list[NodeInfo]:
        """The nodes that exist; not to be changed."""
        if self._listed is None:
            self._listed = [node for node in self._nodes.values() if node.view is not None]
            for position, node in enumerate(self._listed):
                node.position = position
            self._columns.clear()
            self._begin_epoch()
        return self._listed

    def column(self, key: str) -> list[str | None]:
        """A label's value on every node, by the node's position; not to be changed."""
        found = self._columns.get(key)
        if found is None:
            if len(self._columns) >= MAX_COLUMNS:
                del self._columns[next(iter(self._columns))]
            found = self._columns[key] = [node.labels.get(key) for node in self.nodes()]
        return found

    def get(self, name: str) -> NodeInfo | None:
        """The node of this name, if it exists."""
        node = self._nodes.get(name)
        return node if node is not None and node.view is not None else None

    def labels(self, name: str) -> dict[str, str]:
        """A node's labels; none if it does not exist."""
        node = self._nodes.get(name)
        return node.labels if node is not None else {}

    def term_values(self, used: UsedTerm) -> dict[str, int]:
        """How many Pods have the term, by the value of its topology key."""
        return self.terms.values(used, self.labels)

    def set_namespace(self, name: str, labels: dict[str, str] | None) -> None:
        """A namespace came, changed, or went (None)."""
        if labels is None:
            self.namespaces.pop(name, None)
        else:
            self.namespaces[name] = labels
        self.tallies.clear()
        self.terms.forget_matches()

    def set_node(self, view: NodeView) -> None:
        """A node came or changed."""
        node = self._node(view.metadata.name)
        before, had = node.view, node.images
        self._count_images(node, -1)
        node.set_view(view)
        self._count_images(node, 1)
        if node.images != had:
            self._begin_epoch()
        if before is not None:
            self._changed(node)
        if before is None or (before.metadata.labels, before.spec.taints) != (view.metadata.labels, view.spec.taints):
            self._topology_changed()
        if before is None:
            self._listed = None

    def remove_node(self, name: str) -> None:
        """A node went; the Pods that were on it are remembered, should it come back."""
        node = self._nodes.get(name)
        if node is None:
            return
        self._count_images(node, -1)
        node.set_view(None)
        node.position = -1
        self._listed = None
        self._topology_changed()
        self._drop_if_empty(node)

    def set_pod(self, pod: PodInfo) -> bool:
        """The API says that the Pod is on a node (`pod.node_name`); whether it was counted before, in another way."""
        self._assumed.pop(pod.key, None)
        return bool(self._place(pod, pod.node_name))

    def replace_same(self, pod: PodInfo) -> bool:
        """The API says that the Pod is where we count it and takes what we count; False if that is not so."""
        name = self._where.get(pod.key)
        if name is None or name != pod.node_name:
            return False
        pods = self._nodes[name].pods
        if not pods[pod.key].counts_as(pod):
            return False
        self._assumed.pop(pod.key, None)
        if pods[pod.key].started != pod.started:
            self._changed(self._nodes[name])
        pods[pod.key] = pod
        return True

    def confirm(self, key: str, view: PodView) -> bool:
        """The API says that the Pod is where we count it, and nothing else that matters; False if it may matter."""
        name = self._where.get(key)
        if name is None or name != view.spec.node_name:
            return False
        known = self._nodes[name].pods[key]
        started = known.started
        if not known.renewed_by(view):
            return False
        if known.started != started:
            # who goes first may be another one now
            self._changed(self._nodes[name])
        self._assumed.pop(key, None)
        return True

    def remove_pod(self, key: str) -> str:
        """The Pod is gone, or has ended; returns the node that it leaves, or an empty text."""
        self._assumed.pop(key, None)
        self._leaving.pop(key, None)
        return self._take_away(key)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Within it, `put` and `lift` may be called; at its end everything must be where it was."""
        before, self._trying = self._trying, True
        try:
            yield
        finally:
            self._trying = before

    def put(self, pod: PodInfo, node_name: str) -> None:
        """Count the Pod on the node, to try something; `lift` must follow, or have gone before."""
        assert self._trying
        self._place(pod, node_name)

    def lift(self, key: str) -> None:
        """No longer count the Pod, to try something."""
        assert self._trying
        self._take_away(key)

    @contextmanager
    def without(self, key: str) -> Iterator[None]:
        """Within it the Pod of this key is on no node; nothing else may happen meanwhile."""
        counted, where = self.placed(key), self.where(key)
        if counted is None:
            yield
            return
        with self.trying():
            self.lift(key)
            try:
                yield
            finally:
                self.put(counted, where)

    def placed(self, key: str) -> PodInfo | None:
        """The Pod as it is counted on its node; None if it is on none."""
        name = self._where.get(key)
        return self._nodes[name].pods[key] if name is not None else None

    def where(self, key: str) -> str:
        """The node that the Pod is counted on; empty if it is on none."""
        return self._where.get(key, "")

    def is_placed(self, key: str) -> bool:
        """Whether the Pod is counted on a node."""
        return key in self._where

    def leave(self, pod: PodInfo) -> None:
        """The Pod was told to go, though the API has not said so yet."""
        self._leaving[pod.key] = pod.uid

    def stay(self, pod: PodInfo) -> None:
        """It was not told after all."""
        self._leaving.pop(pod.key, None)

    def is_leaving(self, pod: PodInfo) -> bool:
        """Whether the Pod was told to go."""
        return self._leaving.get(pod.key) == pod.uid

    def has_priority_below(self, priority: int) -> bool:
        """Whether any Pod on any node is less important."""
        return any(one < priority for one in self._priorities)

    def assume(self, pod: PodInfo, node_name: str) -> None:
        """Count the Pod on the node that it is about to be bound to."""
        self._assumed[pod.key] = pod.uid
        self.nominations.withdraw(pod.key)
        self._place(pod, node_name)

    def forget(self, pod: PodInfo) -> str:
        """The binding failed: no longer count an assumed Pod; returns the node. Nothing if the API confirmed it."""
        if self._assumed.get(pod.key) != pod.uid:
            return ""
        del self._assumed[pod.key]
        return self._take_away(pod.key)

    def is_assumed(self, key: str) -> bool:
        """Whether the Pod was given a node that the API has not confirmed yet."""
        return key in self._assumed

    def _place(self, pod: PodInfo, node_name: str) -> str:
        before = self._take_away(pod.key)
        node = self._node(node_name)
        node.add(pod)
        self._where[pod.key] = node_name
        self._count(pod, node, 1)
        return before

    def _take_away(self, key: str) -> str:
        name = self._where.pop(key, "")
        if name:
            node = self._nodes[name]
            self._count(node.remove(key), node, -1)
            self._drop_if_empty(node)
        return name

    def _promised(self, node_name: str) -> None:
        node = self._nodes.get(node_name)
        if node is not None:
            self._changed(node)

    def _changed(self, node: NodeInfo) -> None:
        if self._trying:
            return
        node.version += 1
        if node.position < 0:
            return
        if len(self.changes) >= MAX_CHANGES:
            self._begin_epoch()
        self.changes.append(node.position)

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self.changes.clear()

    def _count(self, pod: PodInfo, node: NodeInfo, sign: int) -> None:
        self._changed(node)
        self.tallies.count(pod, node.name, sign)
        add(self._priorities, pod.priority, sign)
        if pod.terms is not NO_TERMS:
            self.terms.count(pod, node, sign)

    def _topology_changed(self) -> None:
        self._columns.clear()
        self.tallies.clear()
        self.terms.labels_changed()

    def _node(self, name: str) -> NodeInfo:
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = NodeInfo(name)
        return node

    def _drop_if_empty(self, node: NodeInfo) -> None:
        if node.view is None and not node.pods:
            del self._nodes[node.name]

    def _count_images(self, node: NodeInfo, sign: int) -> None:
        counts = self.image_nodes
        for name in node.images:
            left = counts.get(name, 0) + sign
            if left:
                counts[name] = left
            else:
                del counts[name]

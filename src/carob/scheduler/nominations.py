"""Pods to which a node was promised when others had to go for them; the promise counts until they are placed.

Pure; a part of the snapshot. Source: scheduler `backend/queue/nominator.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from carob.scheduler.pods import PodInfo


class Nominations:
    """Which Pod was promised which node. A Pod has at most one promise; `changed` is told the node of each that comes or
    goes."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._nodes: dict[str, str] = {}
        self._pods: dict[str, dict[str, PodInfo]] = {}
        self._demanding: dict[str, PodInfo] = {}

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def node_of(self, key: str) -> str:
        """The node promised to the Pod of this key; empty if none."""
        return self._nodes.get(key, "")

    def on(self, node_name: str) -> list[PodInfo]:
        """The Pods to which the node was promised."""
        return list(self._pods.get(node_name, {}).values())

    def nodes(self) -> list[str]:
        """Nodes that were promised to somebody."""
        return list(self._pods)

    def demanding(self) -> Collection[PodInfo]:
        """Those Pods of all that do not want certain others beside them."""
        return self._demanding.values()

    def promise(self, pod: PodInfo, node_name: str) -> None:
        """From now on the node counts as partly taken by the Pod."""
        self.withdraw(pod.key)
        self._nodes[pod.key] = node_name
        self._pods.setdefault(node_name, {})[pod.key] = pod
        if pod.terms.anti_affinity:
            self._demanding[pod.key] = pod
        self._changed(node_name)

    def withdraw(self, key: str) -> str:
        """The Pod was placed, is gone, or another node was found; returns the node, or an empty text."""
        name = self._nodes.pop(key, "")
        if name:
            pods = self._pods[name]
            del pods[key]
            if not pods:
                del self._pods[name]
            self._demanding.pop(key, None)
            self._changed(name)
        return name

"""A node as the scheduler reckons with it: what it offers, and what the Pods on it already took.

Pure. Invariant: the sums always equal the sums over the Pods that are on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from carob.scheduler.requests import PODS, amounts

if TYPE_CHECKING:
    from carob.scheduler.pods import PodInfo, UsedPort
    from carob.scheduler.requests import Amounts
    from carob.scheduler.views import NodeView

K = TypeVar("K")


class NodeInfo:
    """One node. `view` is None while Pods are known to be on it but the Node itself is not (yet, or any more).

    Units: millicores, bytes, counts. `requested` holds the sum of all Pods, assumed ones included; `scored_cpu` and
    `scored_memory` the same with defaults for Pods that ask for nothing.
    """

    __slots__ = (
        "allocatable",
        "allowed_pods",
        "images",
        "labels",
        "name",
        "pods",
        "ports",
        "position",
        "requested",
        "scored_cpu",
        "scored_memory",
        "version",
        "view",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.view: NodeView | None = None
        self.labels: dict[str, str] = {}
        self.allocatable: Amounts = {}
        self.allowed_pods = 0
        self.position = -1
        """Its place in the snapshot's list of nodes; -1 while it is in none."""
        self.images: dict[str, int] = {}
        self.pods: dict[str, PodInfo] = {}
        self.requested: Amounts = {}
        self.scored_cpu = 0
        self.scored_memory = 0
        self.ports: dict[UsedPort, int] = {}
        self.version = 0
        """Counts what happened to the node and what is on it, or promised to be; tries that were undone do not count."""

    def set_view(self, view: NodeView | None) -> None:
        """Take over what the Node object says now."""
        self.view = view
        self.labels = view.metadata.labels if view is not None else {}
        self.allocatable = amounts(view.status.allocatable) if view is not None else {}
        self.allowed_pods = self.allocatable.get(PODS, 0)
        images = view.status.images if view is not None else []
        self.images = {name: image.size_bytes for image in images for name in image.names}

    def add(self, pod: PodInfo) -> None:
        """Count a Pod that is not counted yet."""
        assert pod.key not in self.pods, pod.key
        self.pods[pod.key] = pod
        self._count(pod, 1)

    def remove(self, key: str) -> PodInfo:
        """No longer count a Pod that is counted; returns it."""
        pod = self.pods.pop(key)
        self._count(pod, -1)
        return pod

    def _count(self, pod: PodInfo, sign: int) -> None:
        requested = self.requested
        for name, value in pod.requests.items():
            requested[name] = requested.get(name, 0) + sign * value
        self.scored_cpu += sign * pod.scored_cpu
        self.scored_memory += sign * pod.scored_memory
        for port in pod.ports:
            _tally(self.ports, port, sign)


def _tally(counts: dict[K, int], key: K, sign: int) -> None:
    left = counts.get(key, 0) + sign
    if left:
        counts[key] = left
    else:
        counts.pop(key, None)

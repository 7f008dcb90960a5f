"""Pods that nobody will ever end: those on nodes that no longer exist, and those that end without ever having had one.

Source: kube-controller-manager podgc/gc_controller.go (gcOrphaned, gcUnscheduledTerminating, gcTerminated).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.client.workqueue import WorkQueue
from carob.controllers.disruption import TERMINAL, disruption_patch, end_pod
from carob.controllers.views import BY_NODE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

REASON, MESSAGE = "DeletionByPodGC", "PodGC: node no longer exists"
# a node that is made anew under its name keeps its Pods
QUARANTINE_SECONDS = 40.0
MAX_ENDED_PODS = 12_500
WORKERS = 4


def is_orphan(pod: PodView, node_exists: bool) -> bool:
    """Whether the Pod's node is gone."""
    return bool(pod.spec.node_name) and not node_exists


def ends_without_node(pod: PodView) -> bool:
    """Whether it is being deleted and no kubelet will ever finish that."""
    return not pod.spec.node_name and pod.metadata.deletion_timestamp is not None


def too_many_ended(pods: Iterable[PodView], limit: int = MAX_ENDED_PODS) -> list[PodView]:
    """The ended Pods beyond the limit, those with the oldest versions first."""
    ended = [pod for pod in pods if pod.status.phase in TERMINAL and pod.metadata.deletion_timestamp is None]
    excess = len(ended) - limit
    if excess <= 0:
        return []
    return sorted(ended, key=lambda pod: int(pod.metadata.resource_version or 0))[:excess]


class PodGarbageCollector:
    """Keys are names of nodes that went, and keys of Pods (`namespace/name`)."""

    def __init__(self, client: Client, pods: Informer[PodView], nodes: Informer[core_v1.Node], clock: Clock) -> None:
        self._client = client
        self._pods = pods
        self._nodes = nodes
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._ended = 0

    async def run(self) -> None:
        """Until cancelled."""
        await self._pods.wait_synced()
        await self._nodes.wait_synced()
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)
        await self._queue.work(self._sync, WORKERS, "pod garbage collector")

    def _node_changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is None:
            self._queue.add_after(key, QUARANTINE_SECONDS)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        self._ended += _has_ended(new) - _has_ended(old)
        if self._ended > MAX_ENDED_PODS:
            self._queue.add("")
        if new is None:
            return
        if ends_without_node(new):
            self._queue.add(key)
        elif is_orphan(new, self._nodes.get(new.spec.node_name) is not None):
            self._queue.add_after(new.spec.node_name, QUARANTINE_SECONDS)

    async def _sync(self, key: str) -> None:
        if not key:
            for pod in too_many_ended(self._pods.items()):
                await end_pod(self._client, pod, None, grace_period_seconds=0)
            return
        if "/" in key:
            stuck = self._pods.get(key)
            if stuck is not None and ends_without_node(stuck):
                await end_pod(self._client, stuck, None, grace_period_seconds=0)
            return
        if self._nodes.get(key) is None and not await self._exists(key):
            for pod in self._pods.by_index(BY_NODE, key):
                patch = disruption_patch(pod, REASON, MESSAGE, self._clock.now(), fail=True)
                await end_pod(self._client, pod, patch, grace_period_seconds=0)

    async def _exists(self, node: str) -> bool:
        """Ask the server itself: deleting somebody's Pods on old news would be bad."""
        try:
            await self._client.get(core_v1.Node, node)
        except ApiError as error:
            if error.reason == "NotFound":
                return False
            raise
        return True


def _has_ended(pod: PodView | None) -> int:
    return 1 if pod is not None and pod.status.phase in TERMINAL else 0

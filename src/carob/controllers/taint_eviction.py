"""Pods leave a node that has NoExecute taints: at once, or when their toleration ends.

A Pod's time is counted from the taint's `timeAdded`, so a restarted server forgets nothing and shortens nothing. Taints
that people set mostly have none: for these it is counted from when the Pod's end was first planned.
Source: kube-controller-manager tainteviction/taint_eviction.go.
Differs: upstream always counts from when it planned the Pod's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.base.clock import parse_rfc3339
from carob.client.workqueue import WorkQueue
from carob.controllers.disruption import disruption_patch, end_pod
from carob.controllers.views import BY_NODE, reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

REASON, MESSAGE = "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"
WORKERS = 4


def no_execute(node: core_v1.Node | None) -> list[core_v1.Taint]:
    """The taints that drive Pods away."""
    return [t for t in node.spec.taints if t.effect == "NoExecute"] if node is not None else []


def due_at(tolerations: Sequence[core_v1.Toleration], taints: Sequence[core_v1.Taint], seen: float) -> float | None:
    """When a Pod of these tolerations must go (seconds since 1970); None: it may stay.

    `seen` is when taints that do not say it were added. Each taint must be tolerated; of all tolerations that are used, the shortest counts.
    """
    due: float | None = None
    for taint in taints:
        used = [t for t in tolerations if _covers(t, taint)]
        if not used:
            return seen
        limits = [max(t.toleration_seconds, 0) for t in used if t.toleration_seconds is not None]
        if limits:
            since = parse_rfc3339(taint.time_added) if taint.time_added else seen
            until = since + min(limits)
            due = until if due is None else min(due, until)
    return due


def _covers(toleration: core_v1.Toleration, taint: core_v1.Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


class TaintEviction:
    """Keys are keys of Pods (`namespace/name`)."""

    def __init__(
        self,
        client: Client,
        pods: Informer[PodView],
        nodes: Informer[core_v1.Node],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._pods = pods
        self._nodes = nodes
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._marked: dict[str, float] = {}
        """Pods whose end is planned, and since when: if it is called off, that is said."""

    async def run(self) -> None:
        """Until cancelled."""
        await self._pods.wait_synced()
        await self._nodes.wait_synced()
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, WORKERS, "taint eviction")

    def _node_changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if no_execute(old) != no_execute(new):
            for pod in self._pods.by_index(BY_NODE, key):
                self._queue.add(f"{pod.metadata.namespace}/{pod.metadata.name}")

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if new is None:
            self._marked.pop(key, None)
        elif no_execute(self._nodes.get(new.spec.node_name)):
            self._queue.add(key)

    async def _sync(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or not pod.spec.node_name or pod.metadata.deletion_timestamp is not None:
            return
        now = self._clock.now()
        due = due_at(pod.spec.tolerations, no_execute(self._nodes.get(pod.spec.node_name)), self._marked.get(key, now))
        if due is None:
            if key in self._marked:
                del self._marked[key]
                self._say(pod, f"Cancelling deletion of Pod {key}")
        elif due > now:
            self._marked.setdefault(key, now)
            self._queue.add_after(key, due - now)
        else:
            self._say(pod, f"Marking for deletion Pod {key}")
            await end_pod(self._client, pod, disruption_patch(pod, REASON, MESSAGE, now, fail=False))

    def _say(self, pod: PodView, message: str) -> None:
        self._recorder.event(reference(pod), "Normal", "TaintManagerEviction", message)

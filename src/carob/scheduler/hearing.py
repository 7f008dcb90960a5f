"""What the API tells of Pods, nodes, namespaces and budgets, taken over into the snapshot and the queue.

Level-triggered: a lost connection only delays. What could help a Pod that waits is noted, and the loop woken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import policy_v1
from carob.client.informer import Informer
from carob.scheduler.budgets import budget_of
from carob.scheduler.pods import PodInfo
from carob.scheduler.views import NamespaceView, NodeView, PodView, compact, slim

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.base.tasks import Signal
    from carob.client.rest import Client
    from carob.scheduler.queue import SchedulingQueue
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.wakeups import Happenings

LIVING_PODS = "status.phase!=Succeeded,status.phase!=Failed"


class Hearing:
    """Run its `informers`; `wake` is set whenever there may be something to decide."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        snapshot: Snapshot,
        queue: SchedulingQueue,
        happenings: Happenings,
        wake: Signal,
    ) -> None:
        self._snapshot = snapshot
        self._queue = queue
        self._happenings = happenings
        self._wake = wake
        self._pods = Informer(client, PodView, clock, field_selector=LIVING_PODS, name="scheduler pods")
        self._nodes = Informer(client, NodeView, clock, name="scheduler nodes")
        self._namespaces = Informer(client, NamespaceView, clock, name="scheduler namespaces")
        self._budgets = Informer(client, policy_v1.PodDisruptionBudget, clock, name="scheduler budgets")
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)
        self._namespaces.subscribe(self._namespace_changed)
        self._budgets.subscribe(self._budget_changed)

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        return self._namespaces, self._nodes, self._pods, self._budgets

    def pod(self, key: str) -> PodView | None:
        """The Pod as the API told of it last."""
        return self._pods.get(key)

    def touch(self, node_name: str) -> None:
        """The node may fit more Pods than before."""
        if node_name:
            self._happenings.node(node_name)
            self._wake.set()

    def _node_changed(self, key: str, old: NodeView | None, new: NodeView | None) -> None:
        if new is None:
            self._snapshot.remove_node(key)
            self._happenings.topology()
            self._wake.set()
            return
        compact(new)
        self._snapshot.set_node(new)
        if old is None or _node_matters(old, new):
            self._happenings.topology()
            self.touch(key)

    def _namespace_changed(self, key: str, old: NamespaceView | None, new: NamespaceView | None) -> None:
        labels = new.metadata.labels if new is not None else None
        if old is not None and labels == old.metadata.labels:
            return
        self._snapshot.set_namespace(key, labels)
        self._happenings.topology()
        self._wake.set()

    def _budget_changed(self, key: str, old: object, new: object) -> None:
        self._snapshot.budgets = tuple(budget_of(one) for one in self._budgets.items())

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if new is None:
            self._queue.delete(key)
            self.touch(self._snapshot.nominations.withdraw(key))
            left = self._snapshot.placed(key)
            if left is not None:
                self._happenings.moved(left)
            self.touch(self._snapshot.remove_pod(key))
            return
        if new.spec.node_name:
            self._queue.delete(key)
            self._pod_is_placed(new)
        elif not self._is_ours(new):
            slim(new)  # another scheduler's, and on no node: nothing of it counts yet
        elif not self._snapshot.is_assumed(key):
            pod = PodInfo(new)
            self._heed_promise(pod, old)
            self._queue.add(pod, heed_gates=self._snapshot.profile(pod).heeds_gates)
            self._wake.set()

    def _heed_promise(self, pod: PodInfo, old: PodView | None) -> None:
        """Others may say where a Pod should be, an autoscaler for instance. What we said ourselves comes back late."""
        nominations = self._snapshot.nominations
        before = old.status.nominated_node_name if old is not None else ""
        now, known = pod.view.status.nominated_node_name, nominations.node_of(pod.key)
        if now == before:
            return
        if now and not known:
            nominations.promise(pod, now)
            self.touch(now)
        elif not now and known == before:
            self.touch(nominations.withdraw(pod.key))

    def _pod_is_placed(self, new: PodView) -> None:
        key = f"{new.metadata.namespace}/{new.metadata.name}"
        if self._snapshot.confirm(key, new):
            slim(new)
            return
        info = PodInfo(new)
        slim(new)
        # most changes of a running Pod are none to us
        if self._snapshot.replace_same(info):
            return
        self._snapshot.nominations.withdraw(info.key)
        self._happenings.moved(info)
        if self._snapshot.set_pod(info):
            self.touch(new.spec.node_name)
        self._wake.set()

    def _is_ours(self, pod: PodView) -> bool:
        return pod.spec.scheduler_name in self._snapshot.profiles


def _node_matters(old: NodeView, new: NodeView) -> bool:
    """Whether a change of a node could make a Pod fit; its heartbeats do not."""
    return (
        old.status.allocatable != new.status.allocatable
        or old.metadata.labels != new.metadata.labels
        or old.spec.taints != new.spec.taints
        or old.spec.unschedulable != new.spec.unschedulable
    )

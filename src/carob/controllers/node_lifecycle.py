"""A node that no longer renews its lease: its conditions become Unknown, its Pods are no longer ready.

What follows from the conditions is done elsewhere: taints (node_taints.py), and Pods that leave (taint_eviction.py).
Time is counted from when a renewal was *seen*, by the monotonic clock: a server that was away, a machine that slept or
a clock that jumped make no node look dead.

Source: kube-controller-manager nodelifecycle (tryUpdateNodeHealth), util/node (MarkPodsNotReady).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.clock import rfc3339
from carob.client.workqueue import WorkQueue
from carob.controllers.views import BY_NODE, PodView, reference

if TYPE_CHECKING:
    from carob.api.types import coordination_v1
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

GRACE_SECONDS = 40.0
LEASE_NAMESPACE = "kube-node-lease"
WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
STOPPED = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
NEVER = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
WORKERS = 2


def unknown_conditions(node: core_v1.Node, now: str) -> list[dict[str, Any]]:
    """The conditions to patch on a node that has fallen silent; empty when it is said already."""
    found = {condition.type: condition for condition in node.status.conditions}
    patches: list[dict[str, Any]] = []
    for kind in WATCHED:
        old = found.get(kind)
        if old is not None and old.status == "Unknown":
            continue
        reason, message = NEVER if old is None else STOPPED
        patch = {"type": kind, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": now}
        if old is None:
            patch["lastHeartbeatTime"] = node.metadata.creation_timestamp or now
        patches.append(patch)
    return patches


def heartbeat(node: core_v1.Node | None, lease: coordination_v1.Lease | None) -> tuple[str, str]:
    """What changes when a node gives a sign of life: the lease's renewal and the Ready condition's heartbeat."""
    renewed = lease.spec.renew_time or "" if lease is not None else ""
    conditions = node.status.conditions if node is not None else []
    beat = next((c.last_heartbeat_time or "" for c in conditions if c.type == "Ready"), "")
    return renewed, beat


class NodeLifecycle:
    """Keys are names of nodes."""

    def __init__(
        self,
        client: Client,
        nodes: Informer[core_v1.Node],
        leases: Informer[coordination_v1.Lease],
        pods: Informer[PodView],
        recorder: EventRecorder,
        clock: Clock,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._grace_seconds = grace_seconds
        self._client = client
        self._nodes = nodes
        self._leases = leases
        self._pods = pods
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._seen: dict[str, tuple[tuple[str, str], float]] = {}
        """The last sign of life of each node, and when it was seen (monotonic)."""

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._nodes, self._leases, self._pods):
            await informer.wait_synced()
        self._nodes.subscribe(self._node_changed)
        self._leases.subscribe(lambda key, old, new: self._look(key.partition("/")[2]))
        await self._queue.work(self._sync, WORKERS, "node lifecycle")

    def _node_changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is None:
            self._seen.pop(key, None)
            if old is not None:
                words = f"Node {key} event: Removing Node {key} from Controller"
                self._recorder.event(old, "Normal", "RemovingNode", words)
            return
        if old is None:
            words = f"Node {key} event: Registered Node {key} in Controller"
            self._recorder.event(new, "Normal", "RegisteredNode", words)
        self._look(key)

    def _look(self, name: str) -> None:
        """Remember a sign of life; the first sight of a node counts as one, and starts its timer."""
        node = self._nodes.get(name)
        if node is None:
            return
        sign = heartbeat(node, self._leases.get(f"{LEASE_NAMESPACE}/{name}"))
        last = self._seen.get(name)
        if last is not None and last[0] == sign:
            return
        self._seen[name] = (sign, self._clock.monotonic())
        # one timer a node: it asks again when it rings, however many signs there were meanwhile
        self._queue.add_after(name, self._grace_seconds)

    async def _sync(self, key: str) -> None:
        node, seen = self._nodes.get(key), self._seen.get(key)
        if node is None or seen is None:
            return
        left = seen[1] + self._grace_seconds - self._clock.monotonic()
        if left > 0:
            self._queue.add_after(key, left)
            return
        patches = unknown_conditions(node, rfc3339(self._clock.now()))
        if patches:
            await self._mark(node, patches)
        await self._mark_pods(key)

    async def _mark(self, node: core_v1.Node, conditions: list[dict[str, Any]]) -> None:
        name = node.metadata.name
        was_ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
        try:
            await self._client.patch(
                core_v1.Node,
                name,
                patch={"status": {"conditions": conditions}},
                patch_type="strategic",
                subresource="status",
            )
        except ApiError as error:
            if error.reason == "NotFound":
                return
            raise
        if was_ready:
            self._recorder.event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")

    async def _mark_pods(self, node: str) -> None:
        for pod in self._pods.by_index(BY_NODE, node):
            if not pod.is_ready:
                continue
            ready = {"type": "Ready", "status": "False", "lastTransitionTime": rfc3339(self._clock.now())}
            try:
                await self._client.patch(
                    core_v1.Pod,
                    pod.metadata.name,
                    pod.metadata.namespace,
                    patch={"status": {"conditions": [ready]}},
                    patch_type="strategic",
                    subresource="status",
                )
            except ApiError as error:
                if error.reason not in ("NotFound", "Conflict"):
                    raise
            else:
                self._recorder.event(reference(pod), "Warning", "NodeNotReady", "Node is not ready")

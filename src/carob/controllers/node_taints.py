"""Taints that tell of a node's conditions: not ready, unreachable, short of memory, disk or pids, unschedulable.

Source: kube-controller-manager nodelifecycle/node_lifecycle_controller.go (doNoScheduleTaintingPass and NoExecute taints).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.clock import rfc3339
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client

WORKERS = 2
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
# condition -> status -> taint
_CONDITIONS = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
}
_OURS = frozenset(taint for by_status in _CONDITIONS.values() for taint in by_status.values()) | {UNSCHEDULABLE}


def wanted_taints(node: core_v1.Node) -> set[tuple[str, str]]:
    """The (key, effect) pairs that this controller answers for, as the node's conditions ask."""
    wanted = set()
    for condition in node.status.conditions:
        taint = _CONDITIONS.get(condition.type, {}).get(condition.status)
        if taint is None:
            continue
        wanted.add((taint, "NoSchedule"))
        if taint in (NOT_READY, UNREACHABLE):
            wanted.add((taint, "NoExecute"))
    if node.spec.unschedulable:
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    return wanted


def reconcile(node: core_v1.Node, now: str) -> list[core_v1.Taint] | None:
    """The node's taints as they have to be, or None when nothing is to be done; others' taints stay."""
    wanted = wanted_taints(node)
    kept = [t for t in node.spec.taints if t.key not in _OURS or (t.key, t.effect) in wanted]
    there = {(t.key, t.effect) for t in kept}
    added = [
        core_v1.Taint(key=key, effect=effect, time_added=now)
        for key, effect in sorted(wanted - there, key=lambda pair: (pair[0], pair[1] != "NoSchedule"))
    ]
    if len(kept) == len(node.spec.taints) and not added:
        return None
    return [*kept, *added]


class NodeTaintController:
    """Keys are names of nodes."""

    def __init__(self, client: Client, nodes: Informer[core_v1.Node], clock: Clock) -> None:
        self._client = client
        self._nodes = nodes
        self._clock = clock
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._nodes.wait_synced()
        self._nodes.subscribe(lambda key, old, new: self._queue.add(key))
        await self._queue.work(self._sync, WORKERS, "node taints")

    async def _sync(self, key: str) -> None:
        node = self._nodes.get(key)
        if node is None or node.metadata.deletion_timestamp:
            return
        taints = reconcile(node, rfc3339(self._clock.now()))
        if taints is None:
            return
        patch = {
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"taints": _trees(taints)},
        }
        try:
            await self._client.patch(core_v1.Node, key, patch=patch)
        except ApiError as error:
            # a newer node is on its way to the informer, which asks again
            if error.reason not in ("Conflict", "NotFound"):
                raise


def _trees(taints: Sequence[core_v1.Taint]) -> list[dict[str, object]] | None:
    trees: list[dict[str, object]] = []
    for taint in taints:
        tree: dict[str, object] = {"key": taint.key, "effect": taint.effect}
        if taint.value:
            tree["value"] = taint.value
        if taint.time_added:
            tree["timeAdded"] = taint.time_added
        trees.append(tree)
    return trees or None

"""Nodes that bring no Pod range are given one of the cluster's, in a dual-stack cluster one of each family.

`Ranges` is pure. A range that a Node has, whoever gave it, is nobody else's; one whose Node has gone is free again. They
are given from the end of the cluster's range downwards, for the nodes of the server's own machine take theirs from its
beginning without asking.

Source: kube-controller-manager `pkg/controller/nodeipam/ipam/range_allocator.go` (what is given, `CIDRNotAvailable`).
Differs: upstream gives from the beginning upwards; who waits for a range gets the first one that is freed, at once.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.log import get_logger
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

SIMULATED = "simulated.carob.dev/node"
"""The label of nodes that run no containers: there are thousands of them, and their Pods need no addresses."""
_log = get_logger("node-ranges")


class Ranges:
    """The parts of a cluster's range, and which of them nodes have. Ranges are CIDR texts."""

    def __init__(self, cluster_range: str, mask_size: int, kept: Iterable[str] = ()) -> None:
        self._network = ipaddress.ip_network(cluster_range)
        bits = self._network.max_prefixlen
        if not self._network.prefixlen <= mask_size <= bits - 2:
            raise ValueError(f"no part of {cluster_range} has {mask_size} bits")
        self._mask_size = mask_size
        self._size = 1 << (bits - mask_size)
        self._count = 1 << (mask_size - self._network.prefixlen)
        self._kept = {number for text in kept for number in self._numbers(text)}

    def free(self, used: Iterable[str]) -> str:
        """The last part of which no address is in `used`; empty when there is none."""
        taken = self._kept.union(*map(self._numbers, used))
        for number in range(self._count - 1, -1, -1):
            if number not in taken:
                return f"{self._network[number * self._size]}/{self._mask_size}"
        return ""

    def _numbers(self, text: str) -> range:
        """Which parts a range touches; none of another family, or of another cluster."""
        try:
            other = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return range(0)
        if other.version != self._network.version or not other.overlaps(self._network):
            return range(0)
        first = max(int(other.network_address), int(self._network.network_address))
        last = min(int(other.broadcast_address), int(self._network.broadcast_address))
        start = int(self._network.network_address)
        return range((first - start) // self._size, (last - start) // self._size + 1)


def ranges_of(node: core_v1.Node) -> list[str]:
    """The Pod ranges that a Node has."""
    return list(node.spec.pod_cidrs) or [r for r in (node.spec.pod_cidr,) if r]


def wants_range(node: core_v1.Node) -> bool:
    """Whether it is ours to give it one."""
    return not ranges_of(node) and SIMULATED not in node.metadata.labels and not node.metadata.deletion_timestamp


class NodeRangeController:
    """Keys are names of nodes. One worker: a range is chosen after the one before is known."""

    def __init__(
        self,
        client: Client,
        nodes: Informer[core_v1.Node],
        ranges: Sequence[Ranges],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._ranges = ranges
        self._recorder = recorder
        self._queue = WorkQueue(clock)
        self._given: dict[str, list[str]] = {}
        self._waiting: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._nodes.wait_synced()
        self._nodes.subscribe(self._changed)
        await self._queue.work(self._sync, 1, "node ranges")

    def _changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is None:
            self._given.pop(key, None)
            self._waiting.discard(key)
            for name in self._waiting:
                self._queue.add(name)
        elif wants_range(new):
            if old is None or not wants_range(old):
                self._queue.add(key)
        else:
            # the informer shows what we gave, or what it brought
            self._given.pop(key, None)
            self._waiting.discard(key)

    async def _sync(self, key: str) -> None:
        node = self._nodes.get(key)
        if node is None or not wants_range(node):
            return
        used = [text for other in self._nodes.items() for text in ranges_of(other)]
        used += [text for name, texts in self._given.items() if name != key for text in texts]
        given = self._given.get(key) or [ranges.free(used) for ranges in self._ranges]
        if not all(given):
            if key not in self._waiting:
                self._waiting.add(key)
                _log.warning("node %s gets no Pod range: all are given", key)
            # the node is spoken of by its name: upstream puts the name where the uid would be
            reference = core_v1.ObjectReference(kind="Node", api_version="v1", name=key, uid=key)
            words = f"Node {key} status is now: CIDRNotAvailable"
            self._recorder.event(reference, "Normal", "CIDRNotAvailable", words)
            return
        self._given[key] = given
        patch = {"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": given[0], "podCIDRs": given}}
        try:
            await self._client.patch(core_v1.Node, key, patch=patch, patch_type="strategic")
        except ApiError as error:
            # gone, or another node of that name meanwhile, or it has brought one itself: the informer says which
            if error.reason not in ("NotFound", "Conflict", "Invalid"):
                raise
            self._given.pop(key, None)

"""Which Pods live on which other node, carried to this node's routes.

A node that is lost keeps its routes: its Pods may well be reachable from here. One that is deleted loses them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from carob.api.types import core_v1
from carob.base.log import get_logger
from carob.base.tasks import Signal, TaskGroup
from carob.client.informer import Informer
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.base.clock import Clock
    from carob.client.rest import Client

RETRY_SECONDS = 1.0
_log = get_logger("node-routes")


class Table(Protocol):
    """Where routes are made; blocking."""

    def apply(self, wanted: Mapping[str, str]) -> None: ...


def address_of(node: core_v1.Node) -> str:
    """Where other nodes reach this one; empty while it has not said."""
    inner = [a.address for a in node.status.addresses if a.type == "InternalIP" and ":" not in a.address]
    return inner[0] if inner else ""


def wanted_routes(nodes: Iterable[core_v1.Node], own: str) -> dict[str, str]:
    """The Pod range of each other node, with the node's address."""
    found: dict[str, str] = {}
    for node in nodes:
        address = address_of(node)
        if node.metadata.name == own or not address:
            continue
        for range_ in node.spec.pod_cidrs or [node.spec.pod_cidr]:
            if range_ and ":" not in range_:
                found[range_] = address
    return found


class NodeRouteAgent:
    """`run` until cancelled."""

    def __init__(self, client: Client, table: Table, node: str, clock: Clock) -> None:
        self._table = table
        self._node = node
        self._clock = clock
        self._nodes = Informer(client, core_v1.Node, clock, name="routes to nodes")
        self._signal = Signal()

    async def run(self) -> None:
        """Keep the routes as the API says."""
        async with TaskGroup() as group:
            group.spawn(self._nodes.run(), "node informer")
            await self._nodes.wait_synced()
            self._nodes.subscribe(self._changed)
            while True:
                wanted = wanted_routes(self._nodes.items(), self._node)
                try:
                    await asyncio.to_thread(self._table.apply, wanted)
                except NetworkFailure as error:
                    _log.error("again in %.0f s: %s", RETRY_SECONDS, error)
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
                await self._signal.wait()

    def _changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        before, after = (wanted_routes([one] if one is not None else [], self._node) for one in (old, new))
        if before != after:
            self._signal.set()

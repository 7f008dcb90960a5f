"""Which Pods live on which other node, carried to this node's routes.

A node in a network namespace of somebody's machine says which node is the machine's own: for other machines that is the
way to it. A node that is lost keeps its routes: its Pods may well be reachable from here. One that is deleted loses them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from carob.api.types import core_v1
from carob.base.log import get_logger
from carob.base.tasks import Signal, TaskGroup
from carob.client.informer import Informer
from carob.network.layout import NetworkFailure
from carob.network.routes import Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.base.clock import Clock
    from carob.client.rest import Client

RETRY_SECONDS = 1.0
THROUGH = "network.carob.dev/through"
"""The annotation of a node that lives apart: the name of the node that its machine itself is."""
_log = get_logger("node-routes")


class Table(Protocol):
    """Where routes are made; blocking."""

    def apply(self, wanted: Mapping[str, Way]) -> None: ...


def address_of(node: core_v1.Node, *, six: bool = False) -> str:
    """Where other nodes reach this one, in IPv4 or in IPv6; empty while it has not said."""
    inner = [a.address for a in node.status.addresses if a.type == "InternalIP" and (":" in a.address) == six]
    return inner[0] if inner else ""


def ranges_of(node: core_v1.Node) -> list[str]:
    """The ranges of its Pods."""
    return [text for text in node.spec.pod_cidrs or [node.spec.pod_cidr] if text]


def wanted_routes(nodes: Iterable[core_v1.Node], own: str) -> dict[str, Way]:
    """The way to the Pod ranges of each other node, which another node may pass on, and then to its addresses as well."""
    known = {node.metadata.name: node for node in nodes}
    here = _machine(known.get(own), own)
    found: dict[str, Way] = {}
    for name, node in known.items():
        address, machine = address_of(node), _machine(node, name)
        if name == own or not address:
            continue
        near = machine in (here, name)
        passing = node if near else known.get(machine)
        way = _way_to(passing) if passing is not None else None
        if way is None:
            continue
        ranges = ranges_of(node)
        if not near:
            six = address_of(node, six=True)
            ranges += [f"{address}/32", *([f"{six}/128"] if six else [])]
        found |= dict.fromkeys(ranges, way)
    return found


def _way_to(node: core_v1.Node) -> Way | None:
    """None while it is not known, or has no Pods."""
    address, ends = address_of(node), [text for text in ranges_of(node) if ":" not in text]
    return Way(address, ends[0], address_of(node, six=True)) if address and ends else None


def _machine(node: core_v1.Node | None, name: str) -> str:
    """The node that is its machine's own."""
    return node.metadata.annotations.get(THROUGH, name) if node is not None else name


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
        before, after = (_told(one) for one in (old, new))
        if before != after:
            self._signal.set()


def _told(node: core_v1.Node | None) -> tuple[list[str], str, str, str]:
    """What of a node matters to routes."""
    if node is None:
        return [], "", "", ""
    return ranges_of(node), address_of(node), address_of(node, six=True), _machine(node, "")

"""Ways to the Pods of other nodes: a host route where the other node is on our segment, a VXLAN tunnel where it is not.

The kernel is asked how it reaches the other node: without a gateway, the node itself is the next hop; behind a gateway,
nobody on the way knows Pods, so packets travel inside packets to the node. A node that lives apart on somebody's machine
leaves all that to the machine; others reach it through the node on the machine itself. A tunnel end's address is the first one of
its node's Pod range, and its hardware address is made from that, so that no tunnel needs to learn or to ask.

May touch: routes of our protocol within the cluster's range, the cluster's VXLAN interface. Blocking; one caller at a
time. Source: VXLAN is RFC 7348.
"""

from __future__ import annotations

import errno
import ipaddress
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from carob.host import netlink
from carob.network.layout import ROUTE_PROTOCOL, NetworkFailure, mac_of

if TYPE_CHECKING:
    from carob.host.netlink import Message, Netlink
    from carob.host.netlink_answers import Route
    from carob.network.layout import NetworkLayout

VXLAN_PORT = 4789
VXLAN_OVERHEAD_BYTES = 50
LEAST_MTU = 576
NOBODY: Mapping[str, str] = {}


class NodeRoutes:
    """The routes of this node to the Pods of others. `node` is a socket in the node's own namespace."""

    def __init__(self, layout: NetworkLayout, node: Netlink) -> None:
        self._layout = layout
        self._node = node

    def apply(self, wanted: Mapping[str, str], through: Mapping[str, str] = NOBODY) -> None:
        """Lead each range (CIDR) to the node of this address, and no others.

        `through`: where that node passes a range on to another, the node's own range. Raises: NetworkFailure, having
        tried all.
        """
        failures: list[str] = []
        for range_, address in wanted.items():
            try:
                self._node.send(*self._messages(range_, address, through.get(range_, range_)))
            except OSError as error:
                failures.append(f"no way to {range_} of node {address}: {error}")
        try:
            for route in self._ours():
                if f"{route.destination}/{route.prefix_length}" not in wanted:
                    self._node.send(netlink.delete_route(route))
        except OSError as error:
            failures.append(str(error))
        if failures:
            raise NetworkFailure("; ".join(failures))

    def _ours(self) -> list[Route]:
        """Routes to other nodes that we, or those before us, have made."""
        cluster = ipaddress.IPv4Network(self._layout.cluster_range)
        return [
            route
            for route in self._node.routes()
            if route.protocol == ROUTE_PROTOCOL
            and route.gateway
            and route.prefix_length > cluster.prefixlen
            and ipaddress.IPv4Address(route.destination) in cluster
        ]

    def _messages(self, range_: str, address: str, end: str) -> list[Message]:
        network = ipaddress.IPv4Network(range_)
        way = self._node.way_to(address)
        if way.gateway and self._layout.behind_router:
            return []
        first, length = str(network.network_address), network.prefixlen
        if not way.gateway:
            route = netlink.replace_route(
                first, length, index=way.index, gateway=address, onlink=True, protocol=ROUTE_PROTOCOL
            )
            return [route]
        tunnel = self._tunnel(way)
        peer = str(ipaddress.IPv4Network(end).network_address)
        return [
            netlink.replace_forwarding(tunnel, mac_of(peer), address),
            netlink.replace_neighbour(tunnel, peer, mac_of(peer)),
            netlink.replace_route(first, length, index=tunnel, gateway=peer, onlink=True, protocol=ROUTE_PROTOCOL),
        ]

    def _tunnel(self, way: Route) -> int:
        """Our end, made when it is first needed; its index."""
        layout = self._layout
        address = layout.node_address or layout.inside_address
        alias = f"carob {layout.cluster} from {address}"
        link = self._node.link(layout.vxlan_name)
        if link is not None and link.alias != alias:
            # this machine has moved: what comes from the old address nobody answers
            self._node.send(netlink.delete_link(link.index))
            link = None
        if link is None:
            mine = str(layout.pod_network.network_address)
            mtu = next((other.mtu for other in self._node.links() if other.index == way.index), 0)
            # clusters whose machines are the same must not hear each other
            number = zlib.crc32(layout.cluster_range.encode() + (layout.origin or layout.cluster).encode()) & 0xFFFFFF
            made = netlink.add_vxlan(
                layout.vxlan_name,
                mac_of(mine),
                number,
                address,
                VXLAN_PORT,
                max(LEAST_MTU, mtu - VXLAN_OVERHEAD_BYTES),
            )
            try:
                self._node.send(made)
            except netlink.NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
            link = self._node.link(layout.vxlan_name)
            if link is None:
                raise NetworkFailure(f"{layout.vxlan_name} vanished")
            self._node.send(
                netlink.set_up(link.index, alias=alias, ipv4={"forwarding": 1}),
                netlink.replace_address(link.index, mine, 32),
            )
        return link.index

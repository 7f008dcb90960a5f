"""Ways to the Pods of other nodes: a host route where the other node is on our segment, a VXLAN tunnel where it is not.

The kernel is asked how it reaches the other node: without a gateway, the node itself is the next hop; behind a gateway,
nobody on the way knows Pods, so packets travel inside packets to the node. A node that lives apart on somebody's machine
leaves all that to the machine; others reach it through the node on the machine itself. A tunnel end's address is the first one of
its node's Pod range, and its hardware address is made from that, so that no tunnel needs to learn or to ask. IPv6 goes the
same ways; in a tunnel its next hop is a link-local address made from the IPv4 one.

May touch: routes of our protocol within the cluster's range, the cluster's VXLAN interface. Blocking; one caller at a
time. Source: VXLAN is RFC 7348.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import zlib
from typing import TYPE_CHECKING, NamedTuple

from carob.host import netlink
from carob.host.netlink_answers import RTN_UNICAST
from carob.network.layout import ROUTE_PROTOCOL, NetworkFailure, mac_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.host.netlink import Message, Netlink
    from carob.host.netlink_answers import Route
    from carob.network.layout import NetworkLayout

VXLAN_PORT = 4789
VXLAN_OVERHEAD_BYTES = 50
LEAST_MTU = 576


class Way(NamedTuple):
    """How a node is reached, or the one that passes packets on to it: its addresses, and `end`, its IPv4 Pod range."""

    address: str
    end: str
    address6: str = ""
    """Empty: it is not known as a neighbour in IPv6."""


class NodeRoutes:
    """The routes of this node to the Pods of others. `node` is a socket in the node's own namespace."""

    def __init__(self, layout: NetworkLayout, node: Netlink) -> None:
        self._layout = layout
        self._node = node

    def apply(self, wanted: Mapping[str, Way]) -> None:
        """Lead each range (CIDR) this way, and no others. Raises: NetworkFailure, having tried all."""
        failures: list[str] = []
        ranges = {text: way for text, way in wanted.items() if self._layout.dual or ":" not in text}
        for range_, way in ranges.items():
            try:
                self._node.send(*(self._second(range_, way) if ":" in range_ else self._messages(range_, way)))
            except OSError as error:
                failures.append(f"no way to {range_} of node {way.address}: {error}")
        try:
            for route in self._ours():
                if f"{route.destination}/{route.prefix_length}" not in ranges:
                    self._node.send(netlink.delete_route(route))
        except OSError as error:
            failures.append(str(error))
        if failures:
            raise NetworkFailure("; ".join(failures))

    def _ours(self) -> list[Route]:
        """Routes to other nodes that we, or those before us, have made."""
        layout = self._layout
        found = [(ipaddress.ip_network(layout.cluster_range), route) for route in self._node.routes()]
        if layout.dual:
            cluster6 = ipaddress.ip_network(layout.cluster_range6)
            found += [(cluster6, route) for route in self._node.routes(socket.AF_INET6)]
        return [
            route
            for cluster, route in found
            if route.protocol == ROUTE_PROTOCOL
            and route.gateway
            and route.prefix_length > cluster.prefixlen
            and ipaddress.ip_address(route.destination) in cluster
        ]

    def _messages(self, range_: str, way: Way) -> list[Message]:
        found = self._node.way_to(way.address)
        if found.gateway and self._layout.behind_router:
            return []
        if not found.gateway:
            return [_through(range_, found.index, way.address)]
        tunnel, peer = self._tunnel(found), _first_of(way.end)
        return [
            netlink.replace_forwarding(tunnel, mac_of(peer), way.address),
            netlink.replace_neighbour(tunnel, peer, mac_of(peer)),
            _through(range_, tunnel, peer),
        ]

    def _second(self, range_: str, way: Way) -> list[Message]:
        """For a range of IPv6."""
        near = self._neighbour6(way.address6)
        if near is not None:
            return [_through(range_, near.index, way.address6)]
        if self._layout.behind_router:
            return []
        tunnel, peer = self._tunnel(self._node.way_to(way.address)), _first_of(way.end)
        gateway = link_local(peer)
        return [
            netlink.replace_forwarding(tunnel, mac_of(peer), way.address),
            netlink.replace_neighbour(tunnel, gateway, mac_of(peer)),
            _through(range_, tunnel, gateway, self._layout.inside_address6),
        ]

    def _neighbour6(self, address: str) -> Route | None:
        """The wire on which another node is; None where it is behind a router, or unknown."""
        if not address:
            return None
        try:
            found = self._node.way_to(address)
        except netlink.NetlinkError:
            return None
        return found if not found.gateway and found.kind == RTN_UNICAST else None

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


def link_local(address: str) -> str:
    """The next hop in IPv6 of who has an IPv4 address on the same wire."""
    return str(ipaddress.IPv6Address((0xFE80 << 112) | int(ipaddress.IPv4Address(address))))


def _first_of(range_: str) -> str:
    return str(ipaddress.IPv4Network(range_).network_address)


def _through(range_: str, index: int, gateway: str, source: str = "") -> Message:
    first, _, length = range_.partition("/")
    return netlink.replace_route(
        first, int(length), index=index, gateway=gateway, source=source, onlink=True, protocol=ROUTE_PROTOCOL
    )

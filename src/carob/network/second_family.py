"""What a node has besides in a dual-stack cluster: the same in IPv6.

The table `carob-<cluster>-node` gets further sets, rules for host ports and egress, and what is to be taken away again:
`own6` are the node's addresses on `lo` (its comment says what forwarding was before), `led6` the ranges that routes of
ours lead to. Neighbours are never asked for: both ends of a Pod's wire know each other for good.

May touch: netlink, /proc/sys/net/ipv6, of the namespace of the thread that calls.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from carob.host import netlink
from carob.host.nftables import NftablesError
from carob.network.layout import ROUTE_PROTOCOL, table_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.host.netlink_answers import Route
    from carob.host.nftables import Nftables
    from carob.network.layout import NetworkLayout

SETTINGS = Path("/proc/sys/net/ipv6/conf")
LOOPBACK_INDEX = 1
FROM_ROUTERS = 9
"""Marks routes that routers told of. Source: linux/rtnetlink.h RTPROT_RA."""
_COMMENT = re.compile(r"forward=(?P<forward>[01])")


class Remembered(NamedTuple):
    """What is to be taken away: addresses on `lo`, routes to ranges (CIDR), and forwarding as it was (`0`, `1`)."""

    addresses: tuple[str, ...]
    ranges: tuple[str, ...]
    forward: str


def render_node_rules(layout: NetworkLayout, forward_before: str) -> str:
    """What the node's table has besides."""
    table = f"inet {table_name(layout.cluster, 'node')}"
    itself = ", ".join(f"{one} . {one}" for one in map(layout.address6_of, map(str, layout.pod_network.hosts())))
    own = ", ".join(filter(None, (layout.inside_address6, layout.dns_address6)))
    led = ", ".join((layout.cluster_range6, layout.service_range6))
    ours = ", ".join(filter(None, (layout.pod_range6, layout.segment_range6)))
    return f"""
table {table} {{
  set own6 {{
    type ipv6_addr
    comment "forward={forward_before}"
    elements = {{ {own} }}
  }}
  set led6 {{
    type ipv6_addr
    flags interval
    elements = {{ {led} }}
  }}
  set itself6 {{
    type ipv6_addr . ipv6_addr
    elements = {{ {itself} }}
  }}
  map host_ports6 {{
    type inet_proto . inet_service : ipv6_addr . inet_service
  }}
  map host_address_ports6 {{
    type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
  }}
  chain to_host_port6 {{
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @host_address_ports6
    dnat ip6 to meta l4proto . th dport map @host_ports6
  }}
  chain prerouting {{
    ip6 daddr != ::1 fib daddr type local jump to_host_port6
  }}
  chain output {{
    ip6 daddr != ::1 fib daddr type local jump to_host_port6
  }}
  chain postrouting {{
    ct status dnat ip6 saddr . ip6 daddr @itself6 snat ip6 to {layout.inside_address6}
    ip6 saddr {{ {ours} }} ip6 daddr != {layout.cluster_range6} oifname != "lo" masquerade fully-random
  }}
}}
"""


def node_messages(layout: NetworkLayout) -> Iterator[netlink.Message]:
    """The node's addresses among Pods and Services, and the routes that let its own packets meet the rules."""
    for address in filter(None, (layout.inside_address6, layout.dns_address6)):
        yield netlink.replace_address(LOOPBACK_INDEX, address, 128)
    for text in filter(None, (layout.service_range6, layout.load_balancer_range6)):
        yield route_to_rules(layout, text)
    network, _, length = layout.pod_range6.partition("/")
    yield netlink.replace_route(network, int(length), protocol=ROUTE_PROTOCOL, unreachable=True)


def route_to_rules(layout: NetworkLayout, range_: str, metric: int = 0) -> netlink.Message:
    """As for IPv4 in `network/node.py`."""
    network, _, length = range_.partition("/")
    return netlink.replace_route(
        network,
        int(length),
        index=LOOPBACK_INDEX,
        source=layout.inside_address6,
        protocol=ROUTE_PROTOCOL,
        metric=metric,
    )


def read_forward() -> str:
    """Whether the machine passes IPv6 packets on: `0` or `1`."""
    return (SETTINGS / "all/forwarding").read_text().strip()


def forward(node: netlink.Netlink) -> None:
    """Let the machine pass packets on, and go on listening to the routers that it has its own routes from."""
    if read_forward() != "0":
        return
    told = {route.index for route in node.routes(socket.AF_INET6) if route.protocol == FROM_ROUTERS}
    for link in node.links():
        accepts = SETTINGS / link.name / "accept_ra"
        # who forwards listens to routers no more, unless this says 2
        if link.index in told and accepts.read_text().strip() == "1":
            accepts.write_text("2")
    (SETTINGS / "all/forwarding").write_text("1")


def stop_forwarding() -> None:
    """As it was before us."""
    (SETTINGS / "all/forwarding").write_text("0")


def remembered(nftables: Nftables, cluster: str) -> Remembered | None:
    """What the table says that a cluster has here in IPv6; None: nothing."""
    table = f"inet {table_name(cluster, 'node')}"
    try:
        # only the text has comments of sets: libnftables-json(5) leaves them out
        match = _COMMENT.search(nftables.text(f"list set {table} own6"))
        own = elements(nftables, table, "own6")
        led = elements(nftables, table, "led6")
    except NftablesError:
        return None
    return Remembered(tuple(sorted(own)), tuple(sorted(led)), match["forward"] if match else "1")


def elements(nftables: Nftables, table: str, name: str) -> set[str]:
    """The addresses, and ranges as CIDR texts, of a set. Raises: NftablesError when there is none."""
    found = nftables.query(f"list set {table} {name}")
    listed = [one for entry in found for one in entry.get("set", {}).get("elem", ())]
    prefixes = [one["prefix"] for one in listed if isinstance(one, dict) and "prefix" in one]
    return {f"{one['addr']}/{one['len']}" for one in prefixes} | {one for one in listed if isinstance(one, str)}


def leads_to(route: Route, ranges: tuple[str, ...]) -> bool:
    """Whether it is our route to something in one of these ranges."""
    if route.protocol != ROUTE_PROTOCOL or not route.prefix_length:
        return False
    network = ipaddress.IPv6Network((route.destination, route.prefix_length))
    return any(network.subnet_of(ipaddress.IPv6Network(text)) for text in ranges)

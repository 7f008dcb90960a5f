"""What a node has besides in a dual-stack cluster: the same in IPv6.

The table `carob-<cluster>-node` gets further sets, rules for host ports and egress, and what is to be taken away again:
`own6` are the node's addresses on `lo` (its comment says how the machine's settings were before), `led6` the ranges that
routes of ours lead to. Neighbours are never asked for: both ends of a Pod's wire know each other for good.

May touch: netlink, /proc/sys/net/ipv6, of the namespace of the thread that calls.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from carob.host import netlink
from carob.host.nftables import NftablesError, set_elements
from carob.network.layout import ROUTE_PROTOCOL, table_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from carob.host.netlink_answers import Link, Route
    from carob.host.nftables import Nftables
    from carob.network.layout import NetworkLayout

SETTINGS = Path("/proc/sys/net/ipv6/conf")
LOOPBACK_INDEX = 1
FROM_ROUTERS = 9
"""Marks routes that routers told of. Source: linux/rtnetlink.h RTPROT_RA."""
MOST_LISTENING = 6
"""So many names of interfaces there is room for in a set's comment."""
_COMMENT = re.compile(r"forward=(?P<forward>[01]) listening=(?P<listening>[^\s\"]*)")


class Before(NamedTuple):
    """How the machine's settings were: forwarding (`0`, `1`), and the interfaces that listened to routers."""

    forward: str = "1"
    listening: tuple[str, ...] = ()


class Remembered(NamedTuple):
    """What is to be taken away: addresses on `lo`, routes to ranges (CIDR), and settings that were others before."""

    addresses: tuple[str, ...]
    ranges: tuple[str, ...]
    before: Before


def render_node_rules(layout: NetworkLayout, before: Before) -> str:
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
    comment "forward={before.forward} listening={",".join(before.listening)}"
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
    """The node's addresses among Pods and Services, and where the Pods are that do not exist."""
    for address in filter(None, (layout.inside_address6, layout.dns_address6)):
        yield netlink.replace_address(LOOPBACK_INDEX, address, 128)
    network, _, length = layout.pod_range6.partition("/")
    yield netlink.replace_route(network, int(length), protocol=ROUTE_PROTOCOL, unreachable=True)


def read_settings(node: netlink.Netlink) -> Before:
    """How they are now."""
    if (SETTINGS / "all/forwarding").read_text().strip() != "0":
        return Before()
    told = {route.index for route in node.routes(socket.AF_INET6) if route.protocol == FROM_ROUTERS}
    names = who_may_hear(node.links(), told)
    listening = [name for name in names if (SETTINGS / name / "accept_ra").read_text().strip() == "1"]
    return Before("0", tuple(listening[:MOST_LISTENING]))


def who_may_hear(links: Iterable[Link], told: Collection[int]) -> list[str]:
    """Interfaces that routers have told routes of (`told`, by index), then the machine's own, which they may tell of."""
    outer = [link for link in links if link.index != LOOPBACK_INDEX and (link.index in told or not link.kind)]
    return [link.name for link in sorted(outer, key=lambda link: link.index not in told)]


def forward(before: Before) -> None:
    """Let the machine pass packets on, and go on listening to the routers around it."""
    for name in before.listening:
        # who forwards listens to routers no more, unless this says 2
        _set(name, "accept_ra", "2")
    if before.forward == "0":
        _set("all", "forwarding", "1")


def restore(before: Before) -> None:
    """As it was before us."""
    if before.forward == "0":
        _set("all", "forwarding", "0")
    for name in before.listening:
        _set(name, "accept_ra", "1")


def _set(name: str, setting: str, value: str) -> None:
    # an interface may have gone
    with suppress(FileNotFoundError):
        (SETTINGS / name / setting).write_text(value)


def remembered(nftables: Nftables, cluster: str) -> Remembered | None:
    """What the table says that a cluster has here in IPv6; None: nothing."""
    table = f"inet {table_name(cluster, 'node')}"
    try:
        # only the text has comments of sets: libnftables-json(5) leaves them out
        match = _COMMENT.search(nftables.text(f"list set {table} own6"))
        own = set_elements(nftables, table, "own6")
        led = set_elements(nftables, table, "led6")
    except NftablesError:
        return None
    before = Before(match["forward"], tuple(filter(None, match["listening"].split(",")))) if match else Before()
    return Remembered(tuple(sorted(own)), tuple(sorted(led)), before)


def leads_to(route: Route, ranges: tuple[str, ...]) -> bool:
    """Whether it is our route to something in one of these ranges."""
    if route.protocol != ROUTE_PROTOCOL or not route.prefix_length:
        return False
    network = ipaddress.IPv6Network((route.destination, route.prefix_length))
    return any(network.subnet_of(ipaddress.IPv6Network(text)) for text in ranges)

"""How services look in nftables: which elements a service puts into which map, and the few chains that read them.

A packet costs a constant number of look-ups, however many services there are:

1. `services` says for an address, protocol and port how to choose: a chain such as `pick_5` ("one of five").
2. The chain draws a number below five into the connection's mark.
3. `endpoints` says for address, protocol, port and number where to.

With session affinity the number drawn is looked up in `choices`, which gives a lasting number for the endpoint, and
that is remembered in `affinity` by client. Clients from outside may get endpoints of their own (`OUTSIDE`). Node ports
have maps of the same shape without the address, IPv6 has maps of the same shape with a 6 behind their names. So a changed endpoint is two or three changed elements, never a rule.

Pure.
"""

from __future__ import annotations

import ipaddress
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from carob.network.layout import table_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from carob.network.layout import NetworkLayout

OUTSIDE = 1 << 20
"""Where the numbers of the endpoints for outside clients begin."""
MAX_REMEMBERED_CLIENTS = 65536
AFFINITY_SEED = 0x6361726F
"""Every rule must make the same number of a client."""
ESTABLISHED_SECONDS, CLOSE_WAIT_SECONDS = 24 * 3600, 3600
"""How long the kernel remembers a TCP connection that is silent, and one whose client has sent all that it wants to: its
own minute for the latter would cut the answer off. Source: kube-proxy's `conntrack` configuration."""


ANY_NODE6 = "::"


class ServicePort(NamedTuple):
    """Where a service listens: `protocol` is `tcp`, `udp` or `sctp`; no address: a port of every node address (`::`: of
    every IPv6 one)."""

    address: str
    protocol: str
    port: int

    @property
    def on_node(self) -> bool:
        """Whether it is a port of the node itself."""
        return self.address in ("", ANY_NODE6)


class Endpoint(NamedTuple):
    """Where a service leads."""

    address: str
    port: int


class Backends(NamedTuple):
    """What stands behind a service's port."""

    endpoints: tuple[Endpoint, ...] = ()
    outside: tuple[Endpoint, ...] | None = None
    """What clients outside the cluster get (externalTrafficPolicy Local); None: the same as everybody."""
    sticky_seconds: int = 0
    """How long after its last connection a client keeps its endpoint; 0: no affinity."""
    sources: tuple[str, ...] = ()
    """The ranges that clients must come from; empty: anywhere."""
    drops: bool = False
    """Whether packets vanish, instead of being refused, while there is no endpoint."""


class How(NamedTuple):
    """A way to choose, one chain each: of `inside` endpoints, or of `outside` ones for outside clients (-1: the same),
    remembered for `sticky_seconds`; `node`: by port alone; `six`: in IPv6."""

    node: bool
    inside: int
    outside: int = -1
    sticky_seconds: int = 0
    six: bool = False

    @property
    def chain(self) -> str:
        """Its chain's name."""
        name = f"{'node_' if self.node else ''}pick{'6' if self.six else ''}_{self.inside}"
        if self.outside >= 0:
            name += f"_outside_{self.outside}"
        return name + (f"_sticky_{self.sticky_seconds}" if self.sticky_seconds else "")


Elements = dict[tuple[str, str], str]
"""Set or map and key, to the value (empty in a set)."""


def family_mark(address: str) -> str:
    """What the names of sets and maps for an address or range end with: `6` in IPv6, nothing in IPv4."""
    return "6" if ":" in address else ""


def how_of(service: ServicePort, backends: Backends) -> How | None:
    """How to choose among the backends; None if there is no endpoint."""
    if not backends.endpoints and not backends.outside:
        return None
    outside = -1 if backends.outside is None else len(backends.outside)
    six = bool(family_mark(service.address))
    return How(service.on_node, len(backends.endpoints), outside, backends.sticky_seconds, six)


def elements_of(service: ServicePort, backends: Backends) -> Elements:
    """Everything that a service's port puts into maps and sets."""
    node, six = "node_" if service.on_node else "", family_mark(service.address)
    key = f"{service.protocol} . {service.port}"
    if not node:
        key = f"{service.address} . {key}"
    found: Elements = {}
    if not node and backends.sources:
        found[f"guarded{six}", key] = ""
        kind = ipaddress.IPv6Network if six else ipaddress.IPv4Network
        sources: list[Any] = [kind(text, strict=False) for text in backends.sources]
        for network in ipaddress.collapse_addresses(sources):
            found[f"allowed{six}", f"{key} . {network}"] = ""
    how = how_of(service, backends)
    if how is None:
        if backends.drops:
            found[f"{node}services{six}", key] = "drop"
        else:
            found[f"{node}refused{six}", key] = ""
        return found
    found[f"{node}services{six}", key] = f"goto {how.chain}"
    marks = lasting_numbers([*backends.endpoints, *(backends.outside or ())]) if backends.sticky_seconds else {}
    for start, endpoints in ((0, backends.endpoints), (OUTSIDE, backends.outside or ())):
        for number, endpoint in enumerate(endpoints, start):
            mark = number
            if marks:
                mark = marks[endpoint]
                found[f"{node}choices{six}", f"{key} . {number}"] = str(mark)
            found[f"{node}endpoints{six}", f"{key} . {mark}"] = f"{endpoint.address} . {endpoint.port}"
    return found


def lasting_numbers(endpoints: Iterable[Endpoint]) -> dict[Endpoint, int]:
    """A number for each endpoint that does not depend on the others, unless two would have the same."""
    found: dict[Endpoint, int] = {}
    used: set[int] = set()
    for endpoint in sorted(set(endpoints)):
        number = zlib.crc32(f"{endpoint.address}:{endpoint.port}".encode()) | 1 << 31
        while number in used:
            number = (number + 1) | 1 << 31
        used.add(number)
        found[endpoint] = number
    return found


def render_chains(layout: NetworkLayout, chains: Iterable[How]) -> str:
    """The script that makes these chains, empty before or not there."""
    table = f"inet {table_name(layout.cluster, 'services')}"
    lines = []
    for how in sorted(chains):
        lines += [f"add chain {table} {how.chain}", f"flush chain {table} {how.chain}"]
        lines += [f"add rule {table} {how.chain} {rule}" for rule in _rules(layout, how)]
    return "".join(line + "\n" for line in lines)


def _rules(layout: NetworkLayout, how: How) -> Iterator[str]:
    """The one who comes from inside is asked first, for most are. To a node's port a Pod of another node is a stranger,
    as kube-proxy's is, whose Pods reach other nodes by the address of their own."""
    if how.outside < 0:
        yield from _choose(how, how.inside, 0)
        return
    inside = how._replace(outside=-1).chain if how.inside else ""
    verdict = f"goto {inside}" if inside else "drop"
    own, own6 = layout.cluster_range, layout.cluster_range6
    if how.node:
        own, own6 = layout.pod_range, layout.pod_range6
    yield f"ip6 saddr {own6} {verdict}" if how.six else f"ip saddr {own} {verdict}"
    yield f"fib saddr type local {verdict}"
    if how.outside:
        yield from _choose(how, how.outside, OUTSIDE)
    else:
        yield "drop"


def _choose(how: How, count: int, offset: int) -> Iterator[str]:
    node, six = "node_" if how.node else "", "6" if how.six else ""
    service = "meta l4proto . th dport" if how.node else f"ip{six} daddr . meta l4proto . th dport"
    lead = f"dnat ip{six} to {service} . ct mark map @{node}endpoints{six}"
    draw = f"ct mark set numgen random mod {count}" + (f" offset {offset}" if offset else "")
    # a packet that meets a change on its way may have been sent here by the old state and look up in the new one, where
    # there are fewer; the first is there as long as any is
    first = f"ct mark set {offset}"
    if not how.sticky_seconds:
        yield draw
        yield lead
        yield first
        yield lead
        return
    client = f"ip{six} saddr . {service}"
    if six:
        # nft 1.0.6 writes no keys of more than 16 bytes here; of two clients with one number one forgets its endpoint
        client = f"jhash {client} mod {0xFFFFFFFF} seed {AFFINITY_SEED:#x}"
    remember = f"update @{node}affinity{six} {{ {client} timeout {how.sticky_seconds}s : ct mark }}"
    forget = f"delete @{node}affinity{six} {{ {client} : ct mark }}"
    # a remembered endpoint that has gone is not found here, and the next lines choose anew; an update changes only
    # the timeout of what is there, so that must go first
    if six:
        yield f"ct mark set {client}"
        yield f"ct mark set ct mark map @{node}affinity{six} {remember} {lead}"
        yield forget
    else:
        yield f"ct mark set {client} map @{node}affinity"
        yield f"ct mark != 0 {remember} {lead}"
        yield f"ct mark != 0 {forget}"
    for number in (draw, first):
        yield number
        yield f"ct mark set {service} . ct mark map @{node}choices{six}"
        yield f"{remember} {lead}"


def needed_chains(how: How) -> list[How]:
    """The chain itself behind those that it goes to."""
    return [how._replace(outside=-1), how] if how.outside >= 0 and how.inside else [how]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def service_networks(layout: NetworkLayout, further: Iterable[str] = ()) -> list[Network]:
    """The ranges whose addresses Services alone have; of further ones those that hold no address of Pods or nodes, and
    are of a family that the node has."""
    others = (layout.cluster_range, layout.segment_range, layout.cluster_range6, layout.segment_range6)
    own = (layout.service_range, layout.load_balancer_range, layout.service_range6, layout.load_balancer_range6)
    kept = [ipaddress.ip_network(text) for text in others if text]
    asked = [ipaddress.ip_network(text) for text in further]
    ranges: list[Any] = [ipaddress.ip_network(text) for text in own if text]
    ranges += [one for one in asked if not any(one.overlaps(other) for other in kept)]
    families = (4, 6) if layout.dual else (4,)
    return [one for v in families for one in ipaddress.collapse_addresses(r for r in ranges if r.version == v)]


def render_base(layout: NetworkLayout, further: Iterable[str] = (), *, patient: bool = True) -> str:
    """The script that makes the table anew without a service, with these further ranges.

    `patient`: silent connections are remembered for as long as kube-proxy lets them; needs a kernel with
    CONFIG_NF_CONNTRACK_TIMEOUT.
    """
    table = f"inet {table_name(layout.cluster, 'services')}"
    networks = service_networks(layout, further)
    ranges = ", ".join(str(one) for one in networks if one.version == 4)
    spared = f"ip daddr {layout.dns_address} return" if layout.dns_address else ""
    # what the kernel cannot place in its connection is not translated back: the Pod that called a Service would answer
    # the unknown sender with a reset, and its connection would end
    stray = f"meta l4proto tcp ct state invalid ip daddr {layout.pod_range} fib daddr type != local drop"
    memory = _render_memory() if patient else ""
    base = f"""
add table {table}
delete table {table}
table {table} {{
{memory}
  set ranges {{
    type ipv4_addr
    flags interval
    elements = {{ {ranges} }}
  }}
  set addresses {{
    type ipv4_addr
  }}
{render_maps("", "ipv4_addr . inet_proto . inet_service")}
{render_maps("node_", "inet_proto . inet_service")}
  set guarded {{
    type ipv4_addr . inet_proto . inet_service
  }}
  set allowed {{
    type ipv4_addr . inet_proto . inet_service . ipv4_addr
    flags interval
  }}
  chain strangers {{
    ip daddr . meta l4proto . th dport . ip saddr != @allowed drop
  }}
  chain dispatch {{
    ip daddr . meta l4proto . th dport @guarded jump strangers
    ip daddr . meta l4proto . th dport vmap @services
    fib daddr type local meta l4proto . th dport vmap @node_services
  }}
  chain prerouting {{
    type nat hook prerouting priority -100
    jump dispatch
  }}
  chain output {{
    type nat hook output priority -100
    jump dispatch
  }}
  chain postrouting {{
    type nat hook postrouting priority 100
    ct status dnat ip daddr {layout.cluster_range} ip daddr != {layout.pod_range} ip saddr != {layout.pod_range} oifname != "lo" fib saddr type != local masquerade fully-random
  }}
  chain refusal {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain refuse {{
    ct state established return
    ip daddr . meta l4proto . th dport @refused goto refusal
    meta l4proto . th dport @node_refused fib daddr type local goto refusal
    ip daddr != @ranges return
    {spared}
    ip daddr @addresses goto refusal
    meta nfproto ipv4 drop
  }}
  chain refuse_coming {{
    type filter hook prerouting priority -90
    ct state established return
    {stray}
    jump refuse
  }}
  chain refuse_local {{
    type filter hook output priority 0
    jump refuse
  }}
}}
"""
    if not layout.dual:
        return base
    return base + render_services6(layout, [one for one in networks if one.version == 6])


def _render_memory() -> str:
    """Chains for translations meet the first packet of each connection alone; these do before host ports are."""
    return f"""  ct timeout tcp_memory {{
    protocol tcp
    l3proto inet
    policy = {{ established : {ESTABLISHED_SECONDS}, close_wait : {CLOSE_WAIT_SECONDS} }}
  }}
  chain remember_coming {{
    type nat hook prerouting priority -110
    meta l4proto tcp ct timeout set "tcp_memory"
  }}
  chain remember_local {{
    type nat hook output priority -110
    meta l4proto tcp ct timeout set "tcp_memory"
  }}"""


def render_services6(layout: NetworkLayout, ranges: Iterable[Network]) -> str:
    """What the table has besides, for IPv6: the same again. IPv4 packets pay one comparison."""
    table = f"inet {table_name(layout.cluster, 'services')}"
    port = "meta l4proto . th dport"
    spared = f"ip6 daddr {layout.dns_address6} return" if layout.dns_address6 else ""
    return f"""
table {table} {{
  set ranges6 {{
    type ipv6_addr
    flags interval
    elements = {{ {", ".join(map(str, ranges))} }}
  }}
  set addresses6 {{
    type ipv6_addr
  }}
{render_maps("", "ipv6_addr . inet_proto . inet_service", "6")}
{render_maps("node_", "inet_proto . inet_service", "6")}
  set guarded6 {{
    type ipv6_addr . inet_proto . inet_service
  }}
  set allowed6 {{
    type ipv6_addr . inet_proto . inet_service . ipv6_addr
    flags interval
  }}
  chain strangers6 {{
    ip6 daddr . {port} . ip6 saddr != @allowed6 drop
  }}
  chain dispatch6 {{
    ip6 daddr . {port} @guarded6 jump strangers6
    ip6 daddr . {port} vmap @services6
    ip6 daddr != ::1 fib daddr type local {port} vmap @node_services6
  }}
  chain postrouting {{
    ct status dnat ip6 daddr {layout.cluster_range6} ip6 daddr != {layout.pod_range6} ip6 saddr != {layout.pod_range6} oifname != "lo" fib saddr type != local masquerade fully-random
  }}
  chain refuse6 {{
    ct state established return
    ip6 daddr . {port} @refused6 goto refusal
    {port} @node_refused6 fib daddr type local goto refusal
    ip6 daddr != @ranges6 return
    {spared}
    ip6 daddr @addresses6 goto refusal
    drop
  }}
}}
insert rule {table} dispatch meta nfproto ipv6 goto dispatch6
insert rule {table} refuse meta nfproto ipv6 goto refuse6
add rule {table} refuse_coming meta l4proto tcp ct state invalid ip6 daddr {layout.pod_range6} fib daddr type != local drop
"""


def render_maps(prefix: str, service: str, six: str = "") -> str:
    """The maps of services that are met by `service`."""
    address, client = ("ipv6_addr", "mark") if six else ("ipv4_addr", f"ipv4_addr . {service}")
    return f"""  map {prefix}services{six} {{
    type {service} : verdict
  }}
  map {prefix}endpoints{six} {{
    type {service} . mark : {address} . inet_service
  }}
  map {prefix}choices{six} {{
    type {service} . mark : mark
  }}
  map {prefix}affinity{six} {{
    type {client} : mark
    size {MAX_REMEMBERED_CLIENTS}
    flags dynamic,timeout
  }}
  set {prefix}refused{six} {{
    type {service}
  }}"""


def render_changes(cluster: str, old: Mapping[tuple[str, str], str], new: Mapping[tuple[str, str], str]) -> str:
    """The script that turns some elements of services into others; empty when they are equal."""
    return render_elements(f"inet {table_name(cluster, 'services')}", old, new)


def render_elements(table: str, old: Mapping[tuple[str, str], str], new: Mapping[tuple[str, str], str]) -> str:
    """The script that turns some elements of a table into others; empty when they are equal."""
    gone = [place for place, value in old.items() if new.get(place) != value]
    come = [(place, value) for place, value in new.items() if old.get(place) != value]
    lines = [*_grouped("delete", table, [(place, "") for place in gone]), *_grouped("add", table, come)]
    return "".join(line + "\n" for line in lines)


def _grouped(verb: str, table: str, elements: Sequence[tuple[tuple[str, str], str]]) -> Iterator[str]:
    """One command a map: nft reads it much faster than one an element."""
    by_map: dict[str, list[str]] = {}
    for (name, key), value in elements:
        by_map.setdefault(name, []).append(f"{key} : {value}" if value else key)
    for name, texts in by_map.items():
        yield f"{verb} element {table} {name} {{ {', '.join(texts)} }}"

"""How services look in nftables: which elements a service puts into which map, and the few chains that read them.

A packet costs a constant number of look-ups, however many services there are:

1. `services` says for an address, protocol and port how to choose: a chain such as `pick_5` ("one of five").
2. The chain draws a number below five into the connection's mark.
3. `endpoints` says for address, protocol, port and number where to.

With session affinity the number drawn is looked up in `choices`, which gives a lasting number for the endpoint, and
that is remembered in `affinity` by client. Clients from outside may get endpoints of their own (`OUTSIDE`). Node ports
have maps of the same shape without the address. So a changed endpoint is two or three changed elements, never a rule.

Pure.
"""

from __future__ import annotations

import ipaddress
import zlib
from typing import TYPE_CHECKING, NamedTuple

from carob.network.layout import table_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from carob.network.layout import NetworkLayout

OUTSIDE = 1 << 20
"""Where the numbers of the endpoints for outside clients begin."""
MAX_REMEMBERED_CLIENTS = 65536


class ServicePort(NamedTuple):
    """Where a service listens: `protocol` is `tcp`, `udp` or `sctp`; no address: a port of every node address."""

    address: str
    protocol: str
    port: int


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
    remembered for `sticky_seconds`; `node`: by port alone."""

    node: bool
    inside: int
    outside: int = -1
    sticky_seconds: int = 0

    @property
    def chain(self) -> str:
        """Its chain's name."""
        name = f"{'node_' if self.node else ''}pick_{self.inside}"
        if self.outside >= 0:
            name += f"_outside_{self.outside}"
        return name + (f"_sticky_{self.sticky_seconds}" if self.sticky_seconds else "")


Elements = dict[tuple[str, str], str]
"""Set or map and key, to the value (empty in a set)."""


def how_of(service: ServicePort, backends: Backends) -> How | None:
    """How to choose among the backends; None if there is no endpoint."""
    if not backends.endpoints and not backends.outside:
        return None
    outside = -1 if backends.outside is None else len(backends.outside)
    return How(not service.address, len(backends.endpoints), outside, backends.sticky_seconds)


def elements_of(service: ServicePort, backends: Backends) -> Elements:
    """Everything that a service's port puts into maps and sets."""
    node = "" if service.address else "node_"
    key = f"{service.protocol} . {service.port}"
    if service.address:
        key = f"{service.address} . {key}"
    found: Elements = {}
    if service.address and backends.sources:
        found["guarded", key] = ""
        networks = ipaddress.collapse_addresses(ipaddress.IPv4Network(text, strict=False) for text in backends.sources)
        for network in networks:
            found["allowed", f"{key} . {network}"] = ""
    how = how_of(service, backends)
    if how is None:
        if backends.drops:
            found[f"{node}services", key] = "drop"
        else:
            found[f"{node}refused", key] = ""
        return found
    found[f"{node}services", key] = f"goto {how.chain}"
    marks = lasting_numbers([*backends.endpoints, *(backends.outside or ())]) if backends.sticky_seconds else {}
    for start, endpoints in ((0, backends.endpoints), (OUTSIDE, backends.outside or ())):
        for number, endpoint in enumerate(endpoints, start):
            mark = number
            if marks:
                mark = marks[endpoint]
                found[f"{node}choices", f"{key} . {number}"] = str(mark)
            found[f"{node}endpoints", f"{key} . {mark}"] = f"{endpoint.address} . {endpoint.port}"
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
    """The one who comes from inside is asked first, for most are."""
    if how.outside < 0:
        yield from _choose(how, how.inside, 0)
        return
    inside = how._replace(outside=-1).chain if how.inside else ""
    verdict = f"goto {inside}" if inside else "drop"
    yield f"ip saddr {layout.cluster_range} {verdict}"
    yield f"fib saddr type local {verdict}"
    if how.outside:
        yield from _choose(how, how.outside, OUTSIDE)
    else:
        yield "drop"


def _choose(how: How, count: int, offset: int) -> Iterator[str]:
    node = "node_" if how.node else ""
    service = "meta l4proto . th dport" if how.node else "ip daddr . meta l4proto . th dport"
    lead = f"dnat ip to {service} . ct mark map @{node}endpoints"
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
    client = f"ip saddr . {service}"
    remember = f"update @{node}affinity {{ {client} timeout {how.sticky_seconds}s : ct mark }}"
    yield f"ct mark set {client} map @{node}affinity"
    # a remembered endpoint that has gone is not found here, and the next lines choose anew; an update changes only
    # the timeout of what is there, so that must go first
    yield f"ct mark != 0 {remember} {lead}"
    yield f"ct mark != 0 delete @{node}affinity {{ {client} : ct mark }}"
    for number in (draw, first):
        yield number
        yield f"ct mark set {service} . ct mark map @{node}choices"
        yield f"{remember} {lead}"


def needed_chains(how: How) -> list[How]:
    """The chain itself behind those that it goes to."""
    return [how._replace(outside=-1), how] if how.outside >= 0 and how.inside else [how]


def service_networks(layout: NetworkLayout, further: Iterable[str] = ()) -> list[ipaddress.IPv4Network]:
    """The ranges whose addresses Services alone have; of further ones those that hold no address of Pods or nodes."""
    others = [ipaddress.IPv4Network(text) for text in (layout.cluster_range, layout.segment_range) if text]
    own = [ipaddress.IPv4Network(text) for text in (layout.service_range, layout.load_balancer_range) if text]
    asked = [ipaddress.IPv4Network(text) for text in further]
    own += [one for one in asked if not any(one.overlaps(other) for other in others)]
    return list(ipaddress.collapse_addresses(own))


def render_base(layout: NetworkLayout, further: Iterable[str] = ()) -> str:
    """The script that makes the table anew without a service, with these further ranges."""
    table = f"inet {table_name(layout.cluster, 'services')}"
    ranges = ", ".join(map(str, service_networks(layout, further)))
    spared = f"ip daddr {layout.dns_address} return" if layout.dns_address else ""
    return f"""
add table {table}
delete table {table}
table {table} {{
  set ranges {{
    type ipv4_addr
    flags interval
    elements = {{ {ranges} }}
  }}
  set addresses {{
    type ipv4_addr
  }}
{_maps("", "ipv4_addr . inet_proto . inet_service")}
{_maps("node_", "inet_proto . inet_service")}
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
    drop
  }}
  chain refuse_coming {{
    type filter hook prerouting priority -90
    jump refuse
  }}
  chain refuse_local {{
    type filter hook output priority 0
    jump refuse
  }}
}}
"""


def _maps(prefix: str, service: str) -> str:
    return f"""  map {prefix}services {{
    type {service} : verdict
  }}
  map {prefix}endpoints {{
    type {service} . mark : ipv4_addr . inet_service
  }}
  map {prefix}choices {{
    type {service} . mark : mark
  }}
  map {prefix}affinity {{
    type ipv4_addr . {service} : mark
    size {MAX_REMEMBERED_CLIENTS}
    flags dynamic,timeout
  }}
  set {prefix}refused {{
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

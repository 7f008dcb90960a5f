"""Services as nftables rules: an address and a port of a service lead to one of its endpoints, chosen at random.

One table a cluster. A verdict map finds the service in O(1); each service has a chain of its own that is replaced
whole, so that one changed endpoint costs one small transaction. `wanted` state goes in, the difference comes out: the
rendering is pure, `ServiceTable` alone talks to the kernel.

May touch: the table `carob-<cluster>-services`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from carob.network.layout import table_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.host.nftables import Nftables
    from carob.network.layout import NetworkLayout


class ServicePort(NamedTuple):
    """Where a service listens. `protocol` is `tcp`, `udp` or `sctp`."""

    address: str
    protocol: str
    port: int


class Endpoint(NamedTuple):
    """Where a service leads."""

    address: str
    port: int


def chain_name(service: ServicePort) -> str:
    """The chain of a service; short, and always the same."""
    text = f"{service.address}/{service.protocol}/{service.port}"
    return "service-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def render_base(layout: NetworkLayout) -> str:
    """The script that makes the table anew without a service."""
    table = f"inet {table_name(layout.cluster, 'services')}"
    return f"""
add table {table}
delete table {table}
table {table} {{
  set addresses {{
    type ipv4_addr
  }}
  map services {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  chain dispatch {{
    ip daddr . meta l4proto . th dport vmap @services
  }}
  chain prerouting {{
    type nat hook prerouting priority -100
    ip daddr {layout.service_range} goto dispatch
  }}
  chain output {{
    type nat hook output priority -100
    ip daddr {layout.service_range} goto dispatch
  }}
  chain refuse {{
    ip daddr @addresses meta l4proto tcp reject with tcp reset
    ip daddr @addresses reject
    drop
  }}
  chain refuse_coming {{
    type filter hook prerouting priority -90
    ip daddr {layout.service_range} goto refuse
  }}
  chain refuse_local {{
    type filter hook output priority 0
    ip daddr {layout.service_range} goto refuse
  }}
}}
"""


def render_difference(
    cluster: str,
    old: Mapping[ServicePort, Sequence[Endpoint]],
    new: Mapping[ServicePort, Sequence[Endpoint]],
) -> str:
    """The script that leads from one state to another; empty when they are equal.

    A service without endpoints refuses connections, as upstream's does.
    """
    table = f"inet {table_name(cluster, 'services')}"
    lines: list[str] = []
    gone = [service for service in old if not new.get(service)]
    for service in gone:
        if old[service]:
            lines.append(f"delete element {table} services {{ {_key(service)} }}")
            lines.append(f"flush chain {table} {chain_name(service)}")
            lines.append(f"delete chain {table} {chain_name(service)}")
    for service, endpoints in new.items():
        before = old.get(service) or ()
        if not endpoints or list(before) == list(endpoints):
            continue
        chain = chain_name(service)
        lines.append(f"add chain {table} {chain}")
        lines.append(f"flush chain {table} {chain}")
        lines.append(f"add rule {table} {chain} {_rule(service, endpoints)}")
        if not before:
            lines.append(f"add element {table} services {{ {_key(service)} : goto {chain} }}")
    old_addresses, new_addresses = {s.address for s in old}, {s.address for s in new}
    lines += [f"delete element {table} addresses {{ {a} }}" for a in sorted(old_addresses - new_addresses)]
    lines += [f"add element {table} addresses {{ {a} }}" for a in sorted(new_addresses - old_addresses)]
    return "".join(line + "\n" for line in lines)


def _key(service: ServicePort) -> str:
    return f"{service.address} . {service.protocol} . {service.port}"


def _rule(service: ServicePort, endpoints: Sequence[Endpoint]) -> str:
    match = f"meta l4proto {service.protocol} dnat ip "
    if len(endpoints) == 1:
        return match + f"to {endpoints[0].address}:{endpoints[0].port}"
    choices = ", ".join(f"{i} : {e.address} . {e.port}" for i, e in enumerate(endpoints))
    return match + f"addr . port to numgen random mod {len(endpoints)} map {{ {choices} }}"


class ServiceTable:
    """The service rules of this node. Blocking; one caller at a time."""

    def __init__(self, layout: NetworkLayout, nftables: Nftables) -> None:
        self._layout = layout
        self._nftables = nftables
        self._applied: dict[ServicePort, list[Endpoint]] = {}

    def reset(self, wanted: Mapping[ServicePort, Sequence[Endpoint]]) -> None:
        """Make the table anew with these services, in one transaction. Raises: NftablesError."""
        self._nftables.run(render_base(self._layout) + render_difference(self._layout.cluster, {}, wanted))
        self._applied = {service: list(endpoints) for service, endpoints in wanted.items()}

    def apply(self, wanted: Mapping[ServicePort, Sequence[Endpoint]]) -> None:
        """Let these, and only these, services exist. Raises: NftablesError; then nothing has changed."""
        script = render_difference(self._layout.cluster, self._applied, wanted)
        if script:
            self._nftables.run(script)
        self._applied = {service: list(endpoints) for service, endpoints in wanted.items()}

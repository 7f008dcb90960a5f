"""Network policy in nftables: who may reach whom through this node. A Pod without a policy costs two look-ups.

The maps `egress` and `ingress` (`egress6`, `ingress6`) lead from a Pod's address to the chain of all policies that
select it. In a chain, what
is allowed returns, and the end drops. Peers and ports stand in sets, so that Pods come and go without a rule changing.
Answers to what was allowed pass; so does what a Pod sends to itself. The node itself reaches its Pods and is reached
by them: only forwarded packets are looked at. Source: Kubernetes NetworkPolicy documentation.

May touch: the table `carob-<cluster>-policy`. Blocking; one caller at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.host.nftables import NftablesError
from carob.network.layout import NetworkFailure, table_name
from carob.network.service_rules import render_elements

if TYPE_CHECKING:
    from carob.host.nftables import Nftables
    from carob.network.layout import NetworkLayout

ADDRESSES = "type ipv4_addr"
RANGES = "type ipv4_addr; flags interval"
PORTS = "type inet_proto . inet_service; flags interval"
NAMED_PORTS = "type ipv4_addr . inet_proto . inet_service"
ADDRESSES6 = "type ipv6_addr"
RANGES6 = "type ipv6_addr; flags interval"
NAMED_PORTS6 = "type ipv6_addr . inet_proto . inet_service"


class PolicyRules(Struct):
    """Everything that is to be in the table.

    Shape: `sets` by name with their kind (one of the constants above); `elements` by set or map and key, with the value
    (empty in a set); `chains` by name with their rules, which refer to sets only.
    """

    sets: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    elements: dict[tuple[str, str], str] = field(default_factory=dict)


def render_base(layout: NetworkLayout) -> str:
    """The script that makes the table anew without a policy."""
    table = f"inet {table_name(layout.cluster, 'policy')}"
    base = f"""
add table {table}
delete table {table}
table {table} {{
  set itself {{
    type ipv4_addr . ipv4_addr
  }}
  map egress {{
    type ipv4_addr : verdict
  }}
  map ingress {{
    type ipv4_addr : verdict
  }}
  chain forward {{
    type filter hook forward priority 0
    ct state established,related accept
    ip saddr . ip daddr @itself accept
    ip saddr vmap @egress
    ip daddr vmap @ingress
  }}
}}
"""
    if not layout.dual:
        return base
    return f"""{base}
table {table} {{
  set itself6 {{
    type ipv6_addr . ipv6_addr
  }}
  map egress6 {{
    type ipv6_addr : verdict
  }}
  map ingress6 {{
    type ipv6_addr : verdict
  }}
  chain forward {{
    ip6 saddr . ip6 daddr @itself6 accept
    ip6 saddr vmap @egress6
    ip6 daddr vmap @ingress6
  }}
}}
"""


def render_difference(table: str, old: PolicyRules, new: PolicyRules) -> str:
    """The script that leads from one state to another; empty when they are equal."""
    lines = [f"add set {table} {name} {{ {kind}; }}" for name, kind in new.sets.items() if name not in old.sets]
    changed = {name: rules for name, rules in new.chains.items() if old.chains.get(name) != rules}
    for name, rules in changed.items():
        lines += [f"add chain {table} {name}", f"flush chain {table} {name}"]
        lines += [f"add rule {table} {name} {rule}" for rule in rules]
    gone_sets = [name for name in old.sets if name not in new.sets]
    # a set that goes takes its elements with it
    before = {place: value for place, value in old.elements.items() if place[0] not in gone_sets}
    script = "".join(line + "\n" for line in lines) + render_elements(table, before, new.elements)
    gone = [name for name in old.chains if name not in new.chains]
    ends = [f"flush chain {table} {name}" for name in gone] + [f"delete chain {table} {name}" for name in gone]
    ends += [f"delete set {table} {name}" for name in gone_sets]
    return script + "".join(line + "\n" for line in ends)


class PolicyTable:
    """The policies of this node."""

    def __init__(self, layout: NetworkLayout, nftables: Nftables) -> None:
        self._layout = layout
        self._nftables = nftables
        self._table = f"inet {table_name(layout.cluster, 'policy')}"
        self._applied: PolicyRules | None = None

    def apply(self, wanted: PolicyRules) -> None:
        """Let this, and only this, hold: in one transaction. Raises: NetworkFailure; then nothing has changed."""
        base = "" if self._applied is not None else render_base(self._layout)
        script = base + render_difference(self._table, self._applied or PolicyRules(), wanted)
        if script:
            try:
                self._nftables.run(script)
            except NftablesError as error:
                raise NetworkFailure(f"cannot change network policies: {error}") from error
        self._applied = wanted

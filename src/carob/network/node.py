"""What the node itself needs so that Pods reach each other, the world and the API: set up once, taken away whole.

- The inside address on `lo`: every Pod's gateway, and where Pods and local nodes find the API server and the kubelet.
  The address of the cluster's DNS too, for the node answers it itself.
- IPv4 forwarding. What it was before is written into the comment of our nftables table, which lives exactly as long
  as the setting does: it outlives kill -9 of the agent, and is gone after a reboot.
- The table `carob-<cluster>-node`: masquerade for what leaves the Pods' range, host ports, a guard for the loopback.
- The table `carob-<cluster>-services` (network/services.py), and a route that sends the node's own traffic to services
  through the rules even on a machine without a default route.
- The table `carob-<cluster>-policy` (network/policy.py), once somebody knows the policies.
- An "unreachable" route for the node's Pod range, below the routes of the Pods that exist.
- In a dual-stack cluster the same in IPv6 (network/second_family.py).

Never a rule in somebody else's table. A foreign table that drops forwarded packets (a firewall's, Docker's) cannot be
overruled from ours: a drop anywhere is final. `forward_obstacles` names such tables so that the user can be told.

May touch: netlink, nftables, /proc/sys/net/ipv4/ip_forward, of the namespace of the thread that calls.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from carob.base.log import get_logger
from carob.host import netlink
from carob.host.conntrack import Conntrack
from carob.host.nftables import NftablesError, open_nftables, set_elements
from carob.network.addresses import AddressBook
from carob.network.host_ports import HostPorts, render_elements
from carob.network.layout import ROUTE_PROTOCOL, NetworkFailure, interface_prefix, segment_prefix, table_name
from carob.network.pods import PodNetwork
from carob.network.policy import PolicyTable
from carob.network.routes import NodeRoutes
from carob.network.service_rules import service_networks
from carob.network.services import Backends, Endpoint, ServicePort, ServiceTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from carob.base.clock import Clock
    from carob.host.netlink_answers import Route
    from carob.host.nftables import Nftables
    from carob.host.plugins import PluginRunner
    from carob.network.addresses import Lease
    from carob.network.cni import CniPodNetwork
    from carob.network.layout import CniPlaces, NetworkLayout
    from carob.network.second_family import Before

IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
PARTS = ("node", "services", "policy")
CNI_FOLDER = "cni"
LOOPBACK_INDEX = 1
SEGMENT_KINDS = ("veth", "vxlan")
FURTHER_METRIC = 20_200
"""Of routes to further ranges of Services: whoever has a route to the same range was there first."""

RANGES = ("services", "pods", "balancers")
"""What the node table remembers of a cluster's ranges."""
_COMMENT = re.compile(
    r"inside=(?P<inside>[0-9.]+) services=(?P<services>[0-9./]+) pods=(?P<pods>[0-9./]+) forward=(?P<forward>[01])( dns=(?P<dns>[0-9.]+))?( balancers=(?P<balancers>[0-9./]+))?( of=(?P<of>[0-9]+))?"
)
_log = get_logger("network")


def render_node_table(
    layout: NetworkLayout, forward_before: str, leases: Iterable[Lease], before6: Before | None = None
) -> str:
    """The script that makes the node's table anew, with the host ports of `leases`, in one transaction."""
    table = f"inet {table_name(layout.cluster, 'node')}"
    pods = f'"{layout.interface_prefix}*"'
    inside = layout.inside_address
    dns = f" dns={layout.dns_address}" if layout.dns_address else ""
    balancers = f" balancers={layout.load_balancer_range}" if layout.load_balancer_range else ""
    # a Pod that reaches itself through a service or a host port would answer itself directly: it must not see its own
    # address as the sender. nftables cannot compare two fields, but it can look the pair up.
    itself = ", ".join(f"{address} . {address}" for address in layout.pod_network.hosts())
    ours = ", ".join(filter(None, (layout.pod_range, layout.segment_range)))
    # two Pods on a plugin's bridge answer each other directly, past whoever translated the way there
    same = f"ct status dnat ip saddr {layout.pod_range} ip daddr {layout.pod_range}"
    neighbours = f"{same} snat ip to {inside}" if layout.cni else ""
    base = f"""
add table {table}
delete table {table}
table {table} {{
  comment "inside={inside} services={layout.service_range} pods={layout.pod_range} forward={forward_before}{dns}{balancers} of={layout.cluster_range.partition("/")[2]}"
  set itself {{
    type ipv4_addr . ipv4_addr
    elements = {{ {itself} }}
  }}
  map host_ports {{
    type inet_proto . inet_service : ipv4_addr . inet_service
  }}
  map host_address_ports {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  }}
  chain guard {{
    type filter hook prerouting priority -300
    iifname {pods} ip daddr 127.0.0.0/8 drop
  }}
  chain to_host_port {{
    dnat ip to ip daddr . meta l4proto . th dport map @host_address_ports
    dnat ip to meta l4proto . th dport map @host_ports
  }}
  chain prerouting {{
    type nat hook prerouting priority -100
    fib daddr type local jump to_host_port
  }}
  chain output {{
    type nat hook output priority -100
    fib daddr type local jump to_host_port
  }}
  chain postrouting {{
    type nat hook postrouting priority 100
    ct status dnat ip saddr . ip daddr @itself snat ip to {inside}
    {neighbours}
    ip saddr 127.0.0.0/8 oifname != "lo" snat ip to {inside}
    ip saddr {{ {ours} }} ip daddr != {layout.cluster_range} oifname != "lo" masquerade fully-random
  }}
}}
"""
    if before6 is not None:
        from carob.network.second_family import render_node_rules

        base += render_node_rules(layout, before6)
    return base + render_elements(layout.cluster, "add", leases, layout.address6_of if layout.dual else None)


def route_to_rules(layout: NetworkLayout, range_: str, metric: int = 0) -> netlink.Message:
    """Lets the node's own packets to these addresses out, so that the rules for services meet them."""
    network, _, length = range_.partition("/")
    return netlink.replace_route(
        network,
        int(length),
        index=LOOPBACK_INDEX,
        source=layout.inside_address6 if ":" in range_ else layout.inside_address,
        protocol=ROUTE_PROTOCOL,
        metric=metric,
    )


class NodeNetwork:
    """The node's own part of the network. Blocking."""

    def __init__(self, layout: NetworkLayout, node: netlink.Netlink, nftables: Nftables) -> None:
        self._layout = layout
        self._node = node
        self._nftables = nftables
        self._ready = False

    def set_up(self, leases: Iterable[Lease]) -> None:
        """Make, or make again, everything; connections that exist go on. Idempotent. Raises: NetworkFailure."""
        try:
            # the comment of the table remembers what to restore, so the table comes first
            before = _forward_before(self._nftables) or _read_forward()
            before6 = self._before6() if self._layout.dual else None
            self._nftables.run(render_node_table(self._layout, before, leases, before6))
            self._add_inside_address()
            if _read_forward() != "1":
                IP_FORWARD.write_text("1")
            if before6 is not None:
                self._set_up_second(before6)
        except (OSError, NftablesError) as error:
            raise NetworkFailure(f"cannot set up the node's network: {error}") from error
        self._ready = True

    def _before6(self) -> Before:
        """How the settings of IPv6 were before the first dual-stack cluster of this machine came."""
        from carob.network import second_family

        names = _comments(self._nftables)
        clusters = [name.removeprefix("carob-").removesuffix("-node") for name in names]
        found = [one.before for one in (second_family.remembered(self._nftables, c) for c in clusters) if one]
        return min(found, default=second_family.read_settings(self._node))

    def _set_up_second(self, before: Before) -> None:
        """The node's part in IPv6."""
        from carob.network import second_family

        layout = self._layout
        ranges = filter(None, (layout.service_range6, layout.load_balancer_range6))
        self._node.send(*second_family.node_messages(layout), *(route_to_rules(layout, text) for text in ranges))
        second_family.forward(before)

    def _add_inside_address(self) -> None:
        pods = self._layout.pod_network
        addresses = [self._layout.inside_address, *filter(None, [self._layout.dns_address])]
        ranges = filter(None, [self._layout.service_range, self._layout.load_balancer_range])
        self._node.send(
            netlink.set_up(LOOPBACK_INDEX),
            *(netlink.replace_address(LOOPBACK_INDEX, address, 32) for address in addresses),
            *(route_to_rules(self._layout, text) for text in ranges),
        )
        if self._layout.cni is None:
            nobody = netlink.replace_route(
                str(pods.network_address), pods.prefixlen, protocol=ROUTE_PROTOCOL, unreachable=True
            )
            self._node.send(nobody)

    def obstacle(self) -> str:
        """Empty when Pods can be attached, else why not."""
        return "" if self._ready else "the node's network is not set up yet"

    def pod_mtu(self) -> int:
        """The largest packet that Pods may send: the layout's choice, else what the way out of the machine takes."""
        if self._layout.mtu:
            return self._layout.mtu
        out = {r.index for r in self._node.routes() if r.prefix_length == 0 and r.index}
        sizes = [link.mtu for link in self._node.links() if link.index in out and link.mtu]
        return min(sizes, default=0)


class Network:
    """Everything together, as `open_network` makes it."""

    def __init__(
        self,
        layout: NetworkLayout,
        state_folder: Path,
        clock: Clock,
        node: netlink.Netlink,
        nftables: Nftables,
        flows: Conntrack,
    ) -> None:
        self.layout = layout
        self._netlink = node
        self._flows = flows
        self._nftables = nftables
        self._addresses = AddressBook(state_folder / "addresses", layout, clock)
        second = layout.address6_of if layout.dual else None
        self.host_ports = HostPorts(layout.cluster, nftables, flows, self._own_addresses, second)
        self.node = NodeNetwork(layout, node, nftables)
        self.services = ServiceTable(layout, nftables, flows, self._own_addresses)
        self.policies = PolicyTable(layout, nftables)
        self.routes = NodeRoutes(layout, node)
        self.pods: PodNetwork | CniPodNetwork
        self._runner: PluginRunner | None = None
        if layout.cni is None:
            self.pods = PodNetwork(
                layout, node, self._addresses, self.host_ports, self.node.obstacle, self.node.pod_mtu()
            )
        else:
            from carob.host.plugins import PluginRunner
            from carob.network.cni import CniPodNetwork

            self._runner = PluginRunner()
            self.pods = CniPodNetwork(
                layout.cni, layout.pod_range, state_folder / CNI_FOLDER, node, self.host_ports, self._runner
            )

    def set_up(self) -> None:
        """Set the node up, with what an earlier agent gave out; the `kubernetes` service leads to the API server.

        Blocking (about 20 ms). Raises: NetworkFailure.
        """
        self._drop_dead_leases()
        leases = self.pods.leases()
        self.node.set_up(leases)
        self.host_ports.restore(leases)
        try:
            # routes to further ranges may be there: the table remembers them until somebody knows better
            further = self._known_ranges()
            self.services.reset(kubernetes_service(self.layout), further)
        except NftablesError as error:
            raise NetworkFailure(f"cannot set up services: {error}") from error

    def _own_addresses(self) -> set[str]:
        """Those that the node has now. Raises: OSError."""
        families = (socket.AF_INET, socket.AF_INET6) if self.layout.dual else (socket.AF_INET,)
        return {one.address for family in families for one in self._netlink.addresses(family)}

    def _drop_dead_leases(self) -> None:
        """After a reboot, or a kill in the middle of an attach, a sandbox holds an address but has no interface."""
        try:
            alive = {link.name for link in self._netlink.links()}
        except OSError as error:
            raise NetworkFailure(f"cannot list interfaces: {error}") from error
        for lease in self._addresses.leases():
            if self.layout.interface_name(lease.sandbox_id) not in alive:
                self._addresses.release(lease.sandbox_id)

    def lead_services(self, further: Iterable[str]) -> None:
        """Let Services have addresses of these ranges too, and of no other beside the layout's.

        Blocking. Raises: NetworkFailure.
        """
        layout = self.layout
        fixed = {layout.service_range, layout.load_balancer_range, layout.service_range6, layout.load_balancer_range6}
        # the table remembers what the routes are to: it comes first and goes last
        before = self._known_ranges() - fixed
        self.services.set_ranges([*further, *before])
        wanted = {str(one) for one in service_networks(layout, further)} - fixed
        try:
            for route in self._routes():
                if is_further(route, before - wanted):
                    self._netlink.send(netlink.delete_route(route))
            for text in wanted - before:
                self._netlink.send(route_to_rules(layout, text, FURTHER_METRIC))
        except OSError as error:
            raise NetworkFailure(f"cannot lead to further services: {error}") from error
        self.services.set_ranges(further)

    def _known_ranges(self) -> set[str]:
        found = further_ranges(self._nftables, self.layout.cluster)
        return found | further_ranges(self._nftables, self.layout.cluster, "ranges6") if self.layout.dual else found

    def _routes(self) -> Iterator[Route]:
        yield from self._netlink.routes()
        if self.layout.dual:
            yield from self._netlink.routes(socket.AF_INET6)

    def close(self) -> None:
        """Let go of sockets; everything stays as it is."""
        if self._runner is not None:
            self._runner.close()
        self._netlink.close()
        self._flows.close()
        self._nftables.close()


def further_ranges(nftables: Nftables, cluster: str, name: str = "ranges") -> set[str]:
    """All ranges that the table of services knows (`ranges6`: in IPv6); none where there is no such set."""
    try:
        found = set_elements(nftables, f"inet {table_name(cluster, 'services')}", name)
    except NftablesError:
        return set()
    length = 32 if name == "ranges" else 128
    return {one if "/" in one else f"{one}/{length}" for one in found}


def is_further(route: Route, ranges: Iterable[str]) -> bool:
    """Whether it is our route to one of these further ranges of Services."""
    ours = route.protocol == ROUTE_PROTOCOL and route.index == LOOPBACK_INDEX
    return ours and f"{route.destination}/{route.prefix_length}" in ranges


def kubernetes_service(layout: NetworkLayout) -> dict[ServicePort, Backends]:
    """The service through which Pods reach the API server, until the service proxy hears of it from there."""
    api = Endpoint(layout.api_address or layout.inside_address, layout.api_port)
    return {ServicePort(layout.api_service_address, "tcp", 443): Backends((api,))}


def open_network(layout: NetworkLayout, state_folder: Path, clock: Clock) -> Network:
    """The network of the node whose network namespace the calling thread is in; nothing is changed yet.

    Raises: NetworkFailure when the machine lacks nftables, or rights.
    """
    try:
        node = netlink.Netlink()
        try:
            flows = Conntrack(dual=layout.dual)
        except BaseException:
            node.close()
            raise
        try:
            return Network(layout, state_folder, clock, node, open_nftables(), flows)
        except BaseException:
            node.close()
            flows.close()
            raise
    except OSError as error:
        raise NetworkFailure(f"cannot open the node's network: {error}") from error


def _read_forward() -> str:
    return IP_FORWARD.read_text().strip()


def _comments(nftables: Nftables) -> dict[str, re.Match[str]]:
    """What the node tables of all clusters of this machine remember, by table name."""
    found = {}
    for entry in nftables.query("list tables"):
        name = entry.get("table", {}).get("name", "")
        if not (name.startswith("carob-") and name.endswith("-node")):
            continue
        # a cluster of its own may be on its way out
        with suppress(NftablesError):
            match = _COMMENT.search(nftables.text(f"list table {entry['table']['family']} {name}"))
            if match:
                found[name] = match
    return found


def _forward_before(nftables: Nftables) -> str:
    """What forwarding was before the first cluster of this machine came; empty when there is none."""
    values = {match["forward"] for match in _comments(nftables).values()}
    return "" if not values else "0" if "0" in values else "1"


def remove_everything(cluster: str, state_folder: Path, cni: CniPlaces | None = None) -> None:
    """Take away every trace of a cluster in the calling thread's network namespace, also of one that was killed.

    `cni`: where the plugins are that gave its Pods their addresses. Idempotent. Raises: NetworkFailure naming everything that could not be removed; the rest is removed.
    """
    failures: list[str] = []
    try:
        nftables = open_nftables()
    except OSError as error:
        raise NetworkFailure(f"cannot clean up the network: {error}") from error
    try:
        with netlink.Netlink() as node:
            if cni is not None:
                failures += _remove_cni(cni, state_folder / CNI_FOLDER, node)
            _remove(cluster, node, nftables, failures)
    finally:
        nftables.close()
    shutil.rmtree(state_folder / "addresses", ignore_errors=True)
    if not failures:
        shutil.rmtree(state_folder / CNI_FOLDER, ignore_errors=True)
    if failures:
        raise NetworkFailure("cannot clean up the network: " + "; ".join(failures))


def give_back(cni: CniPlaces, state_folder: Path) -> list[str]:
    """Have plugins take back what they gave to Pods whose node's network namespace is gone; what could not be, a line each.

    What they made for the node in the calling thread's namespace goes as well. Idempotent.
    """
    folder = state_folder / CNI_FOLDER
    with netlink.Netlink() as node:
        failures = _remove_cni(cni, folder, node)
    if not failures:
        shutil.rmtree(folder, ignore_errors=True)
    return failures


def _remove_cni(places: CniPlaces, folder: Path, node: netlink.Netlink) -> list[str]:
    from carob.host.plugins import PluginRunner
    from carob.network import cni

    runner = PluginRunner()
    try:
        return list(cni.remove_everything(places, folder, runner, node))
    finally:
        runner.close()


def _remove(cluster: str, node: netlink.Netlink, nftables: Nftables, failures: list[str]) -> None:
    comments = _comments(nftables)
    mine = comments.pop(table_name(cluster, "node"), None)
    prefix = interface_prefix(cluster)
    for link in node.links():
        ours = link.kind == "veth" and link.name.startswith(prefix)
        if ours or (link.kind in SEGMENT_KINDS and link.name.startswith(segment_prefix(cluster))):
            _attempt(node, netlink.delete_link(link.index), failures)
    if mine:
        # what another cluster has, too, is the other's from now on: two whose ranges are the same should not be, but are
        shared = {match[part] for match in comments.values() for part in ("inside", "dns", *RANGES)}
        ranges = {*(mine[part] for part in RANGES), *further_ranges(nftables, cluster)} - shared
        for route in node.routes():
            if route.protocol == ROUTE_PROTOCOL and (
                f"{route.destination}/{route.prefix_length}" in ranges
                or (mine["pods"] in ranges and _within(route, mine["pods"], mine["of"]))
            ):
                _attempt(node, netlink.delete_route(route), failures)
        for address in {mine["inside"], mine["dns"]} - shared - {None}:
            _attempt(node, netlink.delete_address(LOOPBACK_INDEX, address, 32), failures)
        if mine["forward"] == "0" and not comments:
            IP_FORWARD.write_text("0")
            if _comments(nftables).keys() - {table_name(cluster, "node")}:
                # who came at this very moment has found it on; who makes its table later looks later, too
                IP_FORWARD.write_text("1")
    _remove_second(cluster, node, nftables, list(comments), failures)
    # last, because the comment in there knows the rest
    names = {table_name(cluster, part) for part in PARTS}
    for entry in nftables.query("list tables"):
        table = entry.get("table", {})
        if table.get("name") in names:
            try:
                nftables.run(f"delete table {table['family']} {table['name']}")
            except NftablesError as error:
                failures.append(f"table {table['name']}: {error}")


def _remove_second(
    cluster: str, node: netlink.Netlink, nftables: Nftables, others: Iterable[str], failures: list[str]
) -> None:
    """What the cluster has in IPv6; `others`: the node tables of other clusters, which may want to forward."""
    from carob.network import second_family

    mine = second_family.remembered(nftables, cluster)
    if mine is None:
        return
    ranges = (*mine.ranges, *further_ranges(nftables, cluster, "ranges6"))
    for route in node.routes(socket.AF_INET6):
        if second_family.leads_to(route, ranges):
            _attempt(node, netlink.delete_route(route), failures)
    for address in mine.addresses:
        _attempt(node, netlink.delete_address(LOOPBACK_INDEX, address, 128), failures)

    def wanted(tables: Iterable[str]) -> bool:
        clusters = (name.removeprefix("carob-").removesuffix("-node") for name in tables)
        return any(second_family.remembered(nftables, one) for one in clusters if one != cluster)

    if not wanted(others):
        second_family.restore(mine.before)
        if wanted(_comments(nftables)):
            # as in IPv4: who came at this very moment
            second_family.forward(mine.before)


def _within(route: Route, pods: str, cluster_length: str | None) -> bool:
    """Whether the route leads to Pods of another node of the cluster."""
    if not cluster_length or not route.gateway:
        return False
    cluster = ipaddress.IPv4Network(pods).supernet(new_prefix=int(cluster_length))
    return ipaddress.IPv4Address(route.destination) in cluster


def _attempt(node: netlink.Netlink, message: netlink.Message, failures: list[str]) -> None:
    try:
        node.send(message)
    except netlink.NetlinkError as error:
        if error.errno not in (errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL):
            failures.append(str(error))


def forward_obstacles() -> list[str]:
    """Foreign chains whose policy drops forwarded packets, as `family table chain`; carob must not touch them.

    With one of them Pods reach neither each other nor the world, unless its owner lets `carob*` interfaces through.
    Raises: OSError, NftablesError when they cannot be listed.
    """
    nftables = open_nftables()
    try:
        chains = [entry["chain"] for entry in nftables.query("list chains") if "chain" in entry]
    finally:
        nftables.close()
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and not chain["table"].startswith("carob-")
    ]

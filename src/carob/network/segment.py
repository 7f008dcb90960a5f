"""A node that lives apart: a network namespace on this machine, and the wire that joins it to the others.

All nodes of a cluster are on one segment, as machines in one rack are: a switch (a bridge), to which the machine itself
and each node that lives apart have a wire. So what is true for them is true for machines: routes, node ports, egress.
The switch has a namespace of its own, because in the machine's the machine's firewall would look at each frame where
bridges are filtered (`bridge-nf-call-iptables`), and would lead services astray.

    machine: carob-XXXX ---- m [switch: bridge] n… ---- eth0: node-1
                                                n… ---- eth0: node-2

Namespaces are kept by files. The machine's end carries the cluster's name, so `network.node.remove_everything` finds
it; everything else goes with the files and the last process.

May touch: the calling thread's network namespace, which must be the machine's own, and those that it makes.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.host import netlink
from carob.host.apart import apart
from carob.host.types import CLONE_NEWNET, CLONE_NEWUTS, MNT_DETACH, MS_BIND
from carob.network.layout import ROUTE_PROTOCOL, NetworkFailure, mac_of, segment_prefix, short_hash

if TYPE_CHECKING:
    from carob.host.netlink_answers import Link
    from carob.host.types import Host

INSIDE_INTERFACE = "eth0"
BRIDGE = "bridge"
MACHINE_PORT = "m"
LOOPBACK_INDEX = 1


class ApartNode(Struct, frozen=True, dict=True):
    """A node that lives apart. Addresses are texts, ranges CIDR texts; pins are files that keep namespaces."""

    cluster: str
    name: str
    address: str
    pod_range: str
    segment_range: str
    machine_address: str
    """The inside address of the machine itself, where the API server is."""
    pin: str
    switch_pin: str
    address6: str = ""
    pod_range6: str = ""
    segment_range6: str = ""
    """The same in IPv6, of a dual-stack cluster; empty: it has IPv4 alone."""

    @cached_property
    def machine_interface(self) -> str:
        """The machine's end of its wire to the switch."""
        return segment_prefix(self.cluster)

    @cached_property
    def port(self) -> str:
        """The switch's end of the node's wire."""
        return "n" + short_hash(self.name, 10)

    @cached_property
    def router(self) -> str:
        """The machine's own address on the segment."""
        return str(ipaddress.ip_network(self.segment_range)[1])

    @cached_property
    def router6(self) -> str:
        """As `router`, in IPv6."""
        return str(ipaddress.ip_network(self.segment_range6)[1])

    @cached_property
    def segment_length6(self) -> int:
        """As `segment_length`, in IPv6."""
        return ipaddress.ip_network(self.segment_range6).prefixlen

    @cached_property
    def segment_length(self) -> int:
        """How many bits of an address name the segment."""
        return ipaddress.ip_network(self.segment_range).prefixlen


def connect(node: ApartNode, host: Host) -> None:
    """Make what is missing of the segment, the node's namespace and its wire, and plug it in. Idempotent.

    Raises: NetworkFailure.
    """
    try:
        host.mkdir(os.path.dirname(node.switch_pin))
        with _alone(os.path.dirname(node.switch_pin)):
            _connect(node, host)
    except OSError as error:
        raise NetworkFailure(f"cannot connect {node.name} to the cluster's segment: {error}") from error


def _connect(node: ApartNode, host: Host) -> None:
    for pin in (node.switch_pin, node.pin):
        if not _is_namespace(pin):
            _make_namespace(pin, host)
    with netlink.Netlink() as machine, _inside(node.switch_pin, host) as switch, _inside(node.pin, host) as inside:
        bridge = _make_switch(node, machine, switch)
        _plug(node, switch, bridge, _way_out_mtu(machine))
        _set_up_inside(node, inside)
        _route_pods(node, machine)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Nodes that start at once all want to make the switch."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def enter(node: ApartNode, host: Host) -> None:
    """The calling thread, and all that it starts later, lives in the node's network namespace from now on, and takes the
    node's name for the host's: Pods of the host's network are told apart by it."""
    try:
        host.setns(node.pin, CLONE_NEWNET)
        host.unshare(CLONE_NEWUTS)
        host.sethostname(node.name)
    except OSError as error:
        raise NetworkFailure(f"cannot enter the network namespace of {node.name}: {error}") from error


def cut(node: ApartNode, host: Host) -> None:
    """Unplug the node's wire: nobody reaches it, and it reaches nobody. Raises: NetworkFailure if it has none."""
    with _inside(node.switch_pin, host) as switch:
        link = switch.link(node.port)
        if link is None:
            raise NetworkFailure(f"{node.name} has no wire to cut")
        switch.send(netlink.set_down(link.index))


def is_cut(node: ApartNode, host: Host) -> bool:
    """Whether the node has a wire that is unplugged. Raises: OSError for who may not look."""
    if not _is_namespace(node.switch_pin):
        return False
    with _inside(node.switch_pin, host) as switch:
        link = switch.link(node.port)
    return link is not None and not link.up


def remove(node: ApartNode, host: Host) -> None:
    """Take away the wire and the namespace. Idempotent. Raises: NetworkFailure."""
    try:
        if _is_namespace(node.switch_pin):
            with _inside(node.switch_pin, host) as switch:
                link = switch.link(node.port)
                if link is not None:
                    switch.send(netlink.delete_link(link.index))
        with netlink.Netlink() as machine:
            routes = machine.routes()
            if node.pod_range6:
                routes += machine.routes(socket.AF_INET6)
            for route in routes:
                ours = route.protocol == ROUTE_PROTOCOL and route.gateway in (node.address, node.address6)
                if ours and f"{route.destination}/{route.prefix_length}" in (node.pod_range, node.pod_range6):
                    machine.send(netlink.delete_route(route))
        host.umount(node.pin, MNT_DETACH)
        host.unlink(node.pin)
    except OSError as error:
        raise NetworkFailure(f"cannot remove the network of {node.name}: {error}") from error


def _is_namespace(pin: str) -> bool:
    try:
        return os.stat(pin).st_dev != os.stat(os.path.dirname(pin)).st_dev
    except FileNotFoundError:
        return False


def _make_namespace(pin: str, host: Host) -> None:
    """A thread makes it, and binds it before it ends."""
    host.mkdir(os.path.dirname(pin))
    host.create(pin)

    def make() -> None:
        host.unshare(CLONE_NEWNET)
        host.mount("/proc/thread-self/ns/net", pin, flags=MS_BIND)

    apart(make, "carob-segment")


@contextmanager
def _inside(pin: str, host: Host) -> Iterator[netlink.Netlink]:
    """A socket into a namespace: it belongs to the one that the thread which makes it is in."""
    made: list[netlink.Netlink] = []

    def open_socket() -> None:
        host.setns(pin, CLONE_NEWNET)
        made.append(netlink.Netlink())

    apart(open_socket, "carob-segment")
    with made[0] as opened:
        yield opened


def _make_switch(node: ApartNode, machine: netlink.Netlink, switch: netlink.Netlink) -> int:
    """The bridge with the machine on it; the bridge's index."""
    if switch.link(BRIDGE) is None:
        switch.send(netlink.add_bridge(BRIDGE))
    bridge = _found(switch, BRIDGE).index
    mine = machine.link(node.machine_interface)
    if mine is None:
        namespace = os.open(node.switch_pin, os.O_RDONLY | os.O_CLOEXEC)
        try:
            ends = (node.machine_interface, mac_of(node.router), MACHINE_PORT, _port_mac(node.router))
            machine.send(netlink.add_veth(*ends, namespace, _way_out_mtu(machine)))
        finally:
            os.close(namespace)
        mine = _found(machine, node.machine_interface)
    port = _found(switch, MACHINE_PORT)
    switch.send(netlink.set_up(bridge), netlink.set_master(port.index, bridge), netlink.set_up(port.index))
    machine.send(
        # node ports answer on 127.0.0.1 too, and their Pods may be on other nodes
        netlink.set_up(mine.index, alias=f"carob {node.cluster} nodes", ipv4={"forwarding": 1, "route_localnet": 1}),
        netlink.replace_address(mine.index, node.router, node.segment_length),
    )
    if node.address6:
        machine.send(netlink.replace_address(mine.index, node.router6, node.segment_length6))
    return bridge


def _plug(node: ApartNode, switch: netlink.Netlink, bridge: int, mtu: int) -> None:
    if switch.link(node.port) is None:
        namespace = os.open(node.pin, os.O_RDONLY | os.O_CLOEXEC)
        try:
            ends = (node.port, _port_mac(node.address), INSIDE_INTERFACE, mac_of(node.address))
            switch.send(netlink.add_veth(*ends, namespace, mtu))
        finally:
            os.close(namespace)
    port = _found(switch, node.port)
    switch.send(netlink.set_master(port.index, bridge), netlink.set_up(port.index, alias=node.name))


def _port_mac(address: str) -> str:
    """Locally administered, and different from the one at the wire's other end."""
    return "0a:59:" + mac_of(address)[6:]


def _way_out_mtu(machine: netlink.Netlink) -> int:
    out = {route.index for route in machine.routes() if route.prefix_length == 0}
    return min((link.mtu for link in machine.links() if link.index in out and link.mtu), default=0)


def _found(where: netlink.Netlink, name: str) -> Link:
    link = where.link(name)
    if link is None:
        raise NetworkFailure(f"interface {name} vanished")
    return link


def _set_up_inside(node: ApartNode, inside: netlink.Netlink) -> None:
    link = _found(inside, INSIDE_INTERFACE).index
    inside.send(
        netlink.set_up(LOOPBACK_INDEX),
        netlink.set_up(link, ipv4={"forwarding": 1, "route_localnet": 1}),
        netlink.replace_address(link, node.address, node.segment_length),
        # the machine answers for its inside address on the segment, as if that were one of the segment's
        netlink.replace_route(node.machine_address, 32, index=link, source=node.address, protocol=ROUTE_PROTOCOL),
        netlink.replace_route("0.0.0.0", 0, index=link, gateway=node.router, protocol=ROUTE_PROTOCOL),
    )
    if node.address6:
        inside.send(
            netlink.replace_address(link, node.address6, node.segment_length6),
            netlink.replace_route("::", 0, index=link, gateway=node.router6, protocol=ROUTE_PROTOCOL),
        )


def _route_pods(node: ApartNode, machine: netlink.Netlink) -> None:
    """The machine itself reaches the node's Pods from the first moment, also while its own agent is away."""
    index = _found(machine, node.machine_interface).index
    for range_, gateway in ((node.pod_range, node.address), (node.pod_range6, node.address6)):
        if range_:
            network, _, length = range_.partition("/")
            machine.send(
                netlink.replace_route(
                    network, int(length), index=index, gateway=gateway, onlink=True, protocol=ROUTE_PROTOCOL
                )
            )

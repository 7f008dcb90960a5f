"""Pods of two nodes reach each other with real packets: on one segment by a route, behind a router by VXLAN."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from network.namespaces import Namespace
from network.worlds import Request, World

from carob.host import netlink
from carob.network.layout import NetworkLayout
from carob.network.node import remove_everything
from carob.network.routes import Way
from carob.network.second_family import SETTINGS

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@dataclass
class Pair:
    """Two nodes, and the namespace of whatever is between them."""

    one: World
    other: World
    router: Namespace


def layout(address: str, number: int, address6: str = "") -> NetworkLayout:
    one = NetworkLayout(cluster="pair", inside_address=address, pod_range=f"10.42.{number}.0/29")
    if not address6:
        return one
    return replace(
        one,
        inside_address6=address6,
        pod_range6=f"fd00:42:0:{number}::/64",
        cluster_range6="fd00:42::/56",
        service_range6="fd00:43::/108",
    )


def wire(one: Namespace, address: str, other: Namespace, peer_address: str, name: str, gateway: str = "") -> None:
    """A cable between two namespaces; `one` calls its end `eth0`, `other` calls it `name`."""
    descriptor = other.descriptor()

    def near() -> None:
        with netlink.Netlink() as node:
            number = bytes(map(int, address.split("."))).hex(":")
            node.send(netlink.add_veth("eth0", f"02:01:{number}", name, f"02:02:{number}", descriptor))
            link = node.link("eth0")
            assert link is not None
            node.send(netlink.set_up(1), netlink.set_up(link.index), netlink.replace_address(link.index, address, 24))
            if gateway:
                node.send(netlink.replace_route("0.0.0.0", 0, index=link.index, gateway=gateway))

    def far() -> None:
        with netlink.Netlink() as node:
            link = node.link(name)
            assert link is not None
            node.send(netlink.set_up(1), netlink.replace_address(link.index, peer_address, 24))
            node.send(netlink.set_up(link.index, ipv4={"forwarding": 1}))

    one.call(near)
    other.call(far)
    os.close(descriptor)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(World(tmp_path / "one"), World(tmp_path / "other"), Namespace())
    yield made
    for world in (made.one, made.other):
        world.close()
    made.router.close()


def meet(pair: Pair, address: str, other_address: str, address6: str = "", other_address6: str = "") -> None:
    """Both nodes hear of each other, and a Pod of each greets one of the other."""
    pair.one.start(layout(address, 1, address6))
    pair.other.start(layout(other_address, 2, other_address6))
    one, other = pair.one.network, pair.other.network
    assert one is not None
    assert other is not None
    way, other_way = Way(address, "10.42.1.0/29", address6), Way(other_address, "10.42.2.0/29", other_address6)
    one.routes.apply(dict.fromkeys(["10.42.2.0/29", "fd00:42:0:2::/64"], other_way))
    other.routes.apply(dict.fromkeys(["10.42.1.0/29", "fd00:42:0:1::/64"], way))
    pod, ips = pair.one.pod_with(Request("one"))
    other_pod, other_ips = pair.other.pod_with(Request("other"))
    assert len(ips) == len(other_ips) == (2 if address6 else 1)
    for ip, other_ip in zip(ips, other_ips, strict=True):
        pair.one.servers.append(pod.serve(ip, 80, b"one"))
        pair.other.servers.append(other_pod.serve(other_ip, 80, b"other"))
        # the address of the caller is the Pod's own: nobody translates within the cluster
        assert pod.fetch(other_ip, 80) == f"other {ip}"
        assert other_pod.fetch(ip, 80) == f"one {other_ip}"
        # a node itself reaches Pods of the other node
        assert pair.one.node.fetch(other_ip, 80).startswith("other ")


def names(world: World) -> set[str]:
    def look() -> set[str]:
        with netlink.Netlink() as node:
            return {link.name for link in node.links()}

    found: set[str] = world.node.call(look)
    return found


def routes(world: World) -> set[str]:
    def look() -> set[str]:
        with netlink.Netlink() as node:
            found = node.routes() + node.routes(socket.AF_INET6)
        return {f"{route.destination}/{route.prefix_length}" for route in found}

    found: set[str] = world.node.call(look)
    return found


def test_nodes_on_one_segment_route_to_each_other(pair: Pair) -> None:
    wire(pair.one.node, "192.0.2.1", pair.other.node, "192.0.2.2", "eth0")
    meet(pair, "192.0.2.1", "192.0.2.2")
    assert layout("192.0.2.1", 1).vxlan_name not in names(pair.one)
    network = pair.one.network
    assert network is not None
    network.routes.apply({})
    assert "10.42.2.0/29" not in routes(pair.one)


def test_nodes_behind_a_router_tunnel_to_each_other(pair: Pair) -> None:
    wire(pair.one.node, "192.0.2.1", pair.router, "192.0.2.254", "left", gateway="192.0.2.254")
    wire(pair.other.node, "198.51.100.1", pair.router, "198.51.100.254", "right", gateway="198.51.100.254")
    meet(pair, "192.0.2.1", "198.51.100.1")
    tunnel = layout("192.0.2.1", 1).vxlan_name
    assert tunnel in names(pair.one)
    pair.one.node.call(lambda: remove_everything("pair", pair.one.folder))
    assert tunnel not in names(pair.one)
    assert "10.42.2.0/29" not in routes(pair.one)


@pytest.mark.skipif(not SETTINGS.exists(), reason="needs a kernel with IPv6")
def test_a_second_family_goes_directly_where_nodes_are_neighbours_in_it(pair: Pair) -> None:
    wire(pair.one.node, "192.0.2.1", pair.other.node, "192.0.2.2", "eth0")
    for world, address in ((pair.one, "2001:db8::1"), (pair.other, "2001:db8::2")):
        give(world, address)
    meet(pair, "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
    assert layout("192.0.2.1", 1).vxlan_name not in names(pair.one)
    network = pair.one.network
    assert network is not None
    network.routes.apply({})
    assert "fd00:42:0:2::/64" not in routes(pair.one)


@pytest.mark.skipif(not SETTINGS.exists(), reason="needs a kernel with IPv6")
def test_a_second_family_travels_in_the_tunnel_where_they_are_not(pair: Pair) -> None:
    """The machines know nothing of IPv6 between them: each has an address among its own Pods alone."""
    wire(pair.one.node, "192.0.2.1", pair.router, "192.0.2.254", "left", gateway="192.0.2.254")
    wire(pair.other.node, "198.51.100.1", pair.router, "198.51.100.254", "right", gateway="198.51.100.254")
    meet(pair, "192.0.2.1", "198.51.100.1", "fd00:42:0:1::ff", "fd00:42:0:2::ff")
    assert "fd00:42:0:2::/64" in routes(pair.one)
    pair.one.node.call(lambda: remove_everything("pair", pair.one.folder))
    assert "fd00:42:0:2::/64" not in routes(pair.one)


def give(world: World, address: str) -> None:
    def inside() -> None:
        with netlink.Netlink() as node:
            link = node.link("eth0")
            assert link is not None
            node.send(netlink.replace_address(link.index, address, 64))

    world.node.call(inside)

"""Real packets between a node, its Pods and an outside host, each in a network namespace that the test makes."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from network.namespaces import ANSWER_SECONDS, Namespace
from network.worlds import (
    LAYOUT,
    NODE_OUTER,
    OUTSIDE,
    Mapping,
    Request,
    World,
    connect_outside,
    loopback_up,
    traces,
)

from carob.host import netlink
from carob.host.nftables import open_nftables
from carob.network.layout import NetworkFailure, NetworkLayout
from carob.network.node import IP_FORWARD, NodeNetwork, forward_obstacles, remove_everything

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

IP_MTU = 14


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    connect_outside(world)
    world.start()
    yield world
    world.close()


def test_pods_reach_each_other_the_node_and_the_world(world: World) -> None:
    one, first = world.pod(Request("sandbox-1"))
    two, second = world.pod(Request("sandbox-2"))
    assert (first, second) == ("10.42.0.2", "10.42.0.3")
    world.servers += [
        two.serve(second, 80, b"two"),
        world.node.serve("10.42.0.1", 6443, b"api"),
        world.outside.serve(OUTSIDE, 80, b"world"),
    ]
    assert one.fetch(second, 80) == f"two {first}"
    assert world.node.fetch(second, 80) == "two 10.42.0.1"
    assert one.fetch("10.42.0.1", 6443) == f"api {first}"
    # the outside host has no route to Pods: it must see the node
    assert one.fetch(OUTSIDE, 80) == f"world {NODE_OUTER}"


def test_the_kubernetes_service_is_reached_from_pods_and_node(world: World) -> None:
    pod, address = world.pod(Request("sandbox-1"))
    world.servers.append(world.node.serve("10.42.0.1", 6443, b"api"))
    assert pod.fetch("10.43.0.1", 443) == f"api {address}"
    assert world.node.fetch("10.43.0.1", 443) == "api 10.42.0.1"
    with pytest.raises(ConnectionRefusedError):
        pod.fetch("10.43.0.1", 444)
    with pytest.raises(ConnectionRefusedError):
        world.node.fetch("10.43.0.1", 444)


def test_host_ports_lead_to_pods_from_everywhere(world: World) -> None:
    mappings = (Mapping(8080, 80), Mapping(5353, 53, "UDP"), Mapping(9090, 80, host_ip=NODE_OUTER))
    pod, address = world.pod(Request("sandbox-1", mappings))
    other, _ = world.pod(Request("sandbox-2"))
    world.servers += [pod.serve(address, 80, b"web"), pod.serve_udp(address, 53, b"dns")]
    assert world.outside.fetch(NODE_OUTER, 8080) == f"web {OUTSIDE}"
    assert world.outside.fetch_udp(NODE_OUTER, 5353) == f"dns {OUTSIDE}"
    assert world.outside.fetch(NODE_OUTER, 9090) == f"web {OUTSIDE}"
    assert world.node.fetch("127.0.0.1", 8080) == "web 10.42.0.1"
    assert world.node.fetch("10.42.0.1", 8080).startswith("web ")
    assert other.fetch("10.42.0.1", 8080) == "web 10.42.0.3"
    assert pod.fetch("10.42.0.1", 8080) == "web 10.42.0.1", "a Pod reaches itself through its host port"
    with pytest.raises(ConnectionRefusedError):
        world.node.fetch("127.0.0.1", 9090)


def test_a_host_port_has_one_owner_and_is_free_again_after_detach(world: World) -> None:
    assert world.network is not None
    request = Request("sandbox-1", (Mapping(8080, 80),))
    world.pod(request)
    with pytest.raises(NetworkFailure, match="host port 8080/TCP is taken"):
        world.pod(Request("sandbox-2", (Mapping(8080, 80),)))
    assert [lease.sandbox_id for lease in world.network.pods.leases()] == ["sandbox-1"], (
        "nothing is left of the refused"
    )
    world.network.pods.detach(request)
    world.network.pods.detach(request)
    pod, address = world.pod(Request("sandbox-3", (Mapping(8080, 80),)))
    world.servers.append(pod.serve(address, 80, b"web"))
    assert world.outside.fetch(NODE_OUTER, 8080) == f"web {OUTSIDE}"


def test_datagrams_to_a_host_port_go_to_who_has_it_now(world: World) -> None:
    assert world.network is not None
    with world.outside.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.settimeout(ANSWER_SECONDS)
        asking.connect((NODE_OUTER, 5353))
        for name in (b"first", b"second"):
            request = Request(name.decode(), (Mapping(5353, 53, "UDP"),))
            pod, address = world.pod(request)
            world.servers.append(pod.serve_udp(address, 53, name))
            asking.send(b"hello")
            assert asking.recv(100) == name + f" {OUTSIDE}".encode()
            world.network.pods.detach(request)


@pytest.mark.parametrize(
    "address", ["localhost", "127.0.0.9 . tcp . 7 : 10.0.0.1 . 1 }\nadd table inet stranger\n#", "010.0.0.1"]
)
def test_a_host_ip_that_is_no_address_never_becomes_a_rule(world: World, address: str) -> None:
    pod = Namespace()
    world.made.append(pod)
    request = Request("sandbox-1", (Mapping(18080, 8080, host_ip=address),))
    assert world.network is not None
    attach = partial(world.network.pods.attach, request)
    with pytest.raises(NetworkFailure, match="invalid host IP"):
        pod.call(attach)
    assert world.network.pods.leases() == []


def test_a_pod_cannot_reach_the_loopback_of_its_node(world: World) -> None:
    pod, _ = world.pod(Request("sandbox-1", (Mapping(8080, 80),)))
    world.servers.append(world.node.serve("127.0.0.1", 7000, b"secret"))
    host_mac = LAYOUT.host_mac

    def to_loopback() -> None:
        Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
        with netlink.Netlink() as inside:
            link = inside.link("eth0")
            assert link is not None
            lo = inside.link("lo")
            assert lo is not None
            inside.send(
                netlink.delete_address(lo.index, "127.0.0.1", 8),
                netlink.replace_neighbour(link.index, "127.0.0.1", host_mac),
                netlink.replace_route("127.0.0.1", 32, index=link.index),
            )

    pod.call(to_loopback)
    with pytest.raises(TimeoutError):
        pod.fetch("127.0.0.1", 7000, timeout=0.5)


def test_a_restarted_agent_knows_what_it_gave_out(world: World) -> None:
    assert world.network is not None
    request = Request("sandbox-1", (Mapping(8080, 80),))
    pod, address = world.pod(request)
    world.servers.append(pod.serve(address, 80, b"web"))
    world.network.close()
    network = world.start()
    assert world.outside.fetch(NODE_OUTER, 8080) == f"web {OUTSIDE}"
    assert pod.call(lambda: network.pods.attach(request)) == [address]
    assert world.pod(Request("sandbox-2"))[1] != address


def test_what_a_vanished_sandbox_held_is_free_after_a_restart(world: World) -> None:
    assert world.network is not None
    world.pod(Request("alive", (Mapping(8080, 80),)))
    world.pod(Request("dead", (Mapping(9090, 80),)))
    world.network.close()

    def vanish() -> None:
        with netlink.Netlink() as node:
            link = node.link(LAYOUT.interface_name("dead"))
            assert link is not None
            node.send(netlink.delete_link(link.index))

    world.node.call(vanish)
    network = world.start()
    assert [lease.sandbox_id for lease in network.pods.leases()] == ["alive"]
    world.pod(Request("new", (Mapping(9090, 80),)))


def test_addresses_run_out_clearly_and_come_back(world: World) -> None:
    for number in range(5):
        world.pod(Request(f"sandbox-{number}"))
    with pytest.raises(NetworkFailure, match=r"no free Pod address in 10\.42\.0\.0/29: 5 in use"):
        world.pod(Request("one-too-many"))


def _largest_packet(pod: Namespace, target: str) -> int:
    """What the kernel thinks that the way there takes."""

    def ask() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect((target, 9))
            return asking.getsockopt(socket.IPPROTO_IP, IP_MTU)

    found: int = pod.call(ask)
    return found


def test_packets_are_large_from_pod_to_pod_and_as_small_as_the_way_out_elsewhere(world: World) -> None:
    limits = {"kubernetes.io/ingress-bandwidth": "100M"}
    (one, _), (two, address) = world.pod(Request("sandbox-1")), world.pod(Request("sandbox-2"))
    slow, slow_address = world.pod(Request("sandbox-3", annotations=limits))
    assert _largest_packet(one, address) == 65535
    assert _largest_packet(slow, address) == 1500
    for pod in (one, slow):
        assert _largest_packet(pod, OUTSIDE) == 1500
        assert _largest_packet(pod, "10.43.0.1") == 1500
    for sender, receiver, target in ((one, two, address), (one, world.outside, OUTSIDE), (one, slow, slow_address)):
        assert _sent_as_it_came(sender, receiver, target)
    size = 65507
    for receiver, target in ((two, address), (world.outside, OUTSIDE), (slow, slow_address)):
        with receiver.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listening:
            listening.bind((target, 9))
            listening.settimeout(ANSWER_SECONDS)
            with one.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sending:
                sending.sendto(bytes(size), (target, 9))
            assert len(listening.recv(size + 1)) == size


def _sent_as_it_came(sender: Namespace, receiver: Namespace, target: str) -> bool:
    """Whether much data, sent at once, arrives unchanged."""
    data = random.Random(1).randbytes(8 << 20)
    got = bytearray()
    with receiver.call(lambda: socket.create_server((target, 0))) as server:
        server.settimeout(ANSWER_SECONDS)
        with sender.call(
            lambda: socket.create_connection((target, server.getsockname()[1]), ANSWER_SECONDS)
        ) as sending:
            receiving = server.accept()[0]

            def send() -> None:
                sending.sendall(data)
                sending.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=send)
            thread.start()
            with receiving:
                receiving.settimeout(ANSWER_SECONDS)
                while part := receiving.recv(1 << 18):
                    got += part
            thread.join()
    return bytes(got) == data


@pytest.mark.skipif(
    tuple(map(int, os.uname().release.split(".")[:2])) < (6, 8), reason="such a kernel cannot be asked to hurry"
)
def test_the_first_packet_to_a_new_pod_arrives(world: World) -> None:
    assert world.network is not None
    world.network.close()
    network = world.start(NetworkLayout(cluster="packets", pod_range="10.42.0.0/26"))
    with world.node.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sending:
        for number in range(30):
            pod, request = Namespace(), Request(f"sandbox-{number}")
            with pod.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listening:
                listening.bind(("0.0.0.0", 9))
                (address,) = pod.call(partial(network.pods.attach, request))
                sending.sendto(b"hello", (address, 9))
                listening.settimeout(ANSWER_SECONDS)
                assert listening.recv(100) == b"hello"
            network.pods.detach(request)
            pod.close()


def test_the_node_side_of_a_pod_is_named(world: World) -> None:
    pod, _ = world.pod(Request("sandbox-1"))
    assert pod.call(lambda: os.listdir("/proc/sys/net/ipv4/conf")).count("eth0") == 1
    with world.node.call(netlink.Netlink) as node:
        link = node.link(LAYOUT.interface_name("sandbox-1"))
    assert link is not None
    assert link.alias == "carob packets default/pod"
    assert link.kind == "veth"


def test_nothing_is_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    connect_outside(world)
    try:
        world.node.call(loopback_up)
        before = world.node.call(traces)
        world.start()
        world.pod(Request("sandbox-1", (Mapping(8080, 80),)))
        assert world.node.call(traces) != before
        assert world.network is not None
        world.network.close()
        world.node.call(lambda: remove_everything("packets", tmp_path))
        assert world.node.call(traces) == before
        world.node.call(lambda: remove_everything("packets", tmp_path))
        assert list(tmp_path.iterdir()) == []
    finally:
        world.close()


def test_two_clusters_share_forwarding_and_the_last_one_restores_it(tmp_path: Path) -> None:
    world = World(tmp_path / "a")
    other = NetworkLayout(
        cluster="packets-node",
        inside_address="10.44.0.1",
        pod_range="10.44.0.0/29",
        cluster_range="10.44.0.0/16",
        service_range="10.45.0.0/16",
        api_service_address="10.45.0.1",
    )
    try:
        world.node.call(loopback_up)
        before = world.node.call(traces)
        world.start().close()
        world.folder = tmp_path / "b"
        world.start(other).close()
        world.node.call(lambda: remove_everything("packets", tmp_path / "a"))
        assert world.node.call(IP_FORWARD.read_text).strip() == "1"
        with world.node.call(netlink.Netlink) as node:
            assert "10.44.0.1" in [address.address for address in node.addresses()]
        world.node.call(lambda: remove_everything("packets-node", tmp_path / "b"))
        assert world.node.call(traces) == before
    finally:
        world.close()


def test_a_cluster_takes_nothing_away_that_another_has_too(tmp_path: Path) -> None:
    """A cluster that was kept may find its ranges taken: whoever went first took the other's address along."""
    world = World(tmp_path / "a")
    try:
        world.node.call(loopback_up)
        before = world.node.call(traces)
        world.start().close()
        world.folder = tmp_path / "b"
        world.start(replace(LAYOUT, cluster="other")).close()
        world.node.call(lambda: remove_everything("packets", tmp_path / "a"))
        with world.node.call(netlink.Netlink) as node:
            assert "10.42.0.1" in [one.address for one in node.addresses()]
            assert {"10.43.0.0", "10.42.0.0"} <= {route.destination for route in node.routes()}
        world.node.call(lambda: remove_everything("other", tmp_path / "b"))
        assert world.node.call(traces) == before
    finally:
        world.close()


class Vanishing:
    """nftables, where a node's table is still listed that has gone by the time somebody looks into it."""

    def __init__(self) -> None:
        self._real = open_nftables()

    def run(self, script: str) -> None:
        self._real.run(script)

    def query(self, command: str) -> list[dict[str, Any]]:
        gone: dict[str, Any] = {"table": {"family": "inet", "name": "carob-gone-node"}}
        return [*self._real.query(command), *([gone] if command == "list tables" else [])]

    def text(self, command: str) -> str:
        return self._real.text(command)

    def close(self) -> None:
        self._real.close()


def test_a_cluster_that_goes_at_the_same_moment_disturbs_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)

    def set_up() -> str:
        nftables = Vanishing()
        with netlink.Netlink() as node:
            NodeNetwork(LAYOUT, node, nftables).set_up([])
        nftables.close()
        return IP_FORWARD.read_text().strip()

    try:
        world.node.call(loopback_up)
        assert world.node.call(set_up) == "1"
        world.node.call(lambda: remove_everything("packets", tmp_path))
    finally:
        world.close()


def test_a_foreign_firewall_that_drops_what_is_forwarded_is_named(world: World) -> None:
    def make() -> list[str]:
        nftables = open_nftables()
        nftables.run("table inet fw {\n chain f {\n type filter hook forward priority 0\n policy drop\n }\n}\n")
        nftables.close()
        return forward_obstacles()

    assert world.node.call(forward_obstacles) == []
    assert world.node.call(make) == ["inet fw f"]


def test_a_pod_is_as_fast_as_its_annotations_say(world: World) -> None:
    limits = {"kubernetes.io/ingress-bandwidth": "1M", "kubernetes.io/egress-bandwidth": "2M"}
    pod, address = world.pod(Request("sandbox-1", annotations=limits))
    free, _ = world.pod(Request("sandbox-2"))
    name = LAYOUT.interface_name("sandbox-1")

    def queue(interface: str) -> dict[str, Any]:
        shown = subprocess.run(["tc", "-s", "-j", "qdisc", "show", "dev", interface], capture_output=True, check=True)
        found: dict[str, Any] = json.loads(shown.stdout)[0]
        return found

    def flood(target: str) -> None:
        """Far more than the limit lets through in any time that this can take."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            for _ in range(3000):
                with suppress(OSError):  # a full queue may say so
                    sending.sendto(bytes(1400), (target, 9))

    received, sent = world.node.call(lambda: queue(name)), pod.call(lambda: queue("eth0"))
    assert [(one["kind"], one["options"]["rate"]) for one in (received, sent)] == [("tbf", 125_000), ("tbf", 250_000)]
    world.node.call(lambda: flood(address))
    pod.call(lambda: flood("10.42.0.1"))
    assert world.node.call(lambda: queue(name))["drops"] > 0
    assert pod.call(lambda: queue("eth0"))["drops"] > 0
    assert free.call(lambda: queue("eth0"))["kind"] == "noqueue"
    for wrong, why in (("fast", "is no quantity"), ("10", "unreasonably small"), ("2P", "unreasonably large")):
        with pytest.raises(NetworkFailure, match=why):
            world.pod(Request("sandbox-3", annotations={"kubernetes.io/egress-bandwidth": wrong}))
    assert world.network is not None
    assert {lease.sandbox_id for lease in world.network.pods.leases()} == {"sandbox-1", "sandbox-2"}

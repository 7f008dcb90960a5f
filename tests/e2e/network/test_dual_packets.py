"""A dual-stack node with real packets: what holds in IPv4 holds in IPv6."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from network.namespaces import Namespace, stop
from network.worlds import LAYOUT, Mapping, Request, World, connect_outside, loopback_up

from carob.api import codec
from carob.api.types import networking_v1
from carob.host import netlink
from carob.host.nftables import open_nftables, table_names
from carob.kubelet.policy_rules import DualPeer, compile_policies
from carob.network.layout import NetworkFailure
from carob.network.node import remove_everything
from carob.network.second_family import SETTINGS
from carob.network.services import ANY_NODE6, Backends, Endpoint, ServicePort

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not SETTINGS.exists(), reason="needs a kernel with IPv6"),
]

DUAL = replace(
    LAYOUT,
    dns_address="10.43.0.10",
    inside_address6="fd00:42::1",
    pod_range6="fd00:42::/64",
    cluster_range6="fd00:42::/56",
    service_range6="fd00:43::/108",
    segment_range6="fd00:42:0:fe::/64",
    dns_address6="fd00:43::a",
    load_balancer_range6="fd00:42:0:ff::/64",
)
IPV6_MTU = 24
NODE_OUTER, OUTSIDE = "2001:db8::1", "2001:db8::2"
WEB = ServicePort("fd00:43::77", "tcp", 80)
UDP = ServicePort("fd00:43::77", "udp", 53)
NODE_WEB = ServicePort(ANY_NODE6, "tcp", 30080)
EXTERNAL = ServicePort("2001:db8:7::7", "tcp", 80)


class DualWorld(World):
    def pod(self, request: Request) -> tuple[Namespace, str]:
        """A Pod and its second address."""
        pod, (_, address) = self.pod_with(request)
        return pod, address


def give_addresses(world: World) -> None:
    """IPv6 on the wire between the node and the outside host, which sends all that it does not know to the node."""

    def give(address: str, gateway: str = "") -> None:
        with netlink.Netlink() as here:
            link = here.link("eth0")
            assert link is not None
            here.send(netlink.replace_address(link.index, address, 64))
            if gateway:
                here.send(netlink.replace_route("2001:db8:7::", 48, index=link.index, gateway=gateway))

    world.node.call(lambda: give(NODE_OUTER))
    world.outside.call(lambda: give(OUTSIDE, NODE_OUTER))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DualWorld]:
    world = DualWorld(tmp_path)
    connect_outside(world)
    give_addresses(world)
    world.start(DUAL)
    yield world
    world.close()


class Failing:
    """Passes calls on, but refuses the `nth` of those that have these names."""

    def __init__(self, real: Any, names: tuple[str, ...], nth: int) -> None:
        self._real = real
        self._names = names
        self._left = nth
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return partial(self._call, found) if name in self._names else found

    def _call(self, found: Any, *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self.failed = True
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return found(*arguments)


def node_state(world: DualWorld) -> tuple[set[str], set[tuple[str, int]], str]:
    """Interfaces, routes and rules of the node."""
    with world.node.call(netlink.Netlink) as node:
        links = {link.name for link in node.links()}
        routes = {(route.destination, route.prefix_length) for route in node.routes()}
    nftables = world.node.call(open_nftables)
    try:
        return links, routes, nftables.text("list ruleset")
    finally:
        nftables.close()


def test_an_attach_that_fails_at_any_step_leaves_nothing_on_the_node(world: DualWorld) -> None:
    assert world.network is not None
    pods: Any = world.network.pods
    request = Request("sandbox-1", (Mapping(8080, 80),))
    before, real = node_state(world), pods._node
    failures = 0
    for nth in range(1, 30):
        pod = Namespace()
        world.made.append(pod)
        pod.call(loopback_up)
        pods._node = failing = Failing(real, ("send", "link"), nth)
        try:
            pod.call(partial(pods.attach, request))
        except NetworkFailure:
            failures += 1
            pods._node = real
            assert pods.leases() == []
            assert node_state(world) == before, nth
            continue
        assert not failing.failed
        break
    # the pair, its node's end, two sends for that, and the last look
    assert failures >= 5
    pods._node = real
    pods.detach(request)
    assert pods.leases() == []


def test_packets_are_large_from_pod_to_pod_alone(world: DualWorld) -> None:
    one, _ = world.pod(Request("sandbox-1"))
    _, address = world.pod(Request("sandbox-2"))

    def largest_packet(target: str) -> int:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.connect((target, 9))
            return asking.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)

    assert [one.call(partial(largest_packet, target)) for target in (address, OUTSIDE)] == [65535, 1500]


def test_pods_reach_each_other_the_node_and_the_world(world: DualWorld) -> None:
    one, first = world.pod(Request("sandbox-1"))
    two, second = world.pod(Request("sandbox-2"))
    assert (first, second) == ("fd00:42::2", "fd00:42::3")
    world.servers += [
        two.serve(second, 80, b"two"),
        two.serve("10.42.0.3", 80, b"two"),
        world.node.serve("fd00:42::1", 6443, b"api"),
        world.outside.serve(OUTSIDE, 80, b"world"),
    ]
    assert one.fetch(second, 80) == f"two {first}"
    assert one.fetch("10.42.0.3", 80) == "two 10.42.0.2"
    assert world.node.fetch(second, 80) == "two fd00:42::1"
    assert one.fetch("fd00:42::1", 6443) == f"api {first}"
    # the outside host has no route to Pods: it must see the node
    assert one.fetch(OUTSIDE, 80) == f"world {NODE_OUTER}"
    with pytest.raises(OSError, match="unreachable"):
        one.fetch("fd00:42::6", 80)


def test_policies_hold_in_both_families(world: DualWorld) -> None:
    pods, peers = {}, []
    for number, name in enumerate(("web", "friend", "stranger"), 2):
        pod, address = world.pod(Request(name))
        pods[name] = pod
        tree = {
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {
                "nodeName": "node",
                "containers": [{"ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]}],
            },
            "status": {"phase": "Running", "podIP": f"10.42.0.{number}", "podIPs": [{"ip": address}]},
        }
        peers.append(codec.from_tree(DualPeer, tree))
        world.servers += [pod.serve(one, port, b"") for one in (address, f"10.42.0.{number}") for port in (80, 81)]
    world.servers.append(world.outside.serve(OUTSIDE, 80, b""))

    def enforce(**spec: Any) -> None:
        tree = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"podSelector": of("web")} | spec}
        policies = [codec.from_tree(networking_v1.NetworkPolicy, tree)]
        assert world.network is not None
        world.network.policies.apply(compile_policies(policies, peers, {"default": {}}, "node", dual=True))

    def of(name: str) -> dict[str, Any]:
        return {"matchLabels": {"app": name}}

    def reaches(who: str, address: str, port: int = 80) -> bool:
        try:
            pods[who].fetch(address, port, 0.3)
        except TimeoutError:
            return False
        return True

    web, web6 = "10.42.0.2", "fd00:42::2"
    for address in (web, web6):
        # the kernel lets a new wire's far end send a moment later
        world.node.fetch(address, 80, 20)
    enforce(ingress=[{"from": [{"podSelector": of("friend")}], "ports": [{"port": "http"}]}])
    found = [reaches(who, ip, port) for who in ("friend", "stranger") for ip in (web, web6) for port in (80, 81)]
    assert found == [True, False, True, False, False, False, False, False]
    assert reaches("web", web6, 81), "a Pod is never kept from itself"
    enforce(ingress=[{"from": [{"ipBlock": {"cidr": "fd00:42::/64", "except": ["fd00:42::3/128"]}}]}])
    assert [reaches(who, ip) for who in ("friend", "stranger") for ip in (web, web6)] == [False, False, False, True]
    enforce(policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "2001:db8::/32"}}]}])
    assert (reaches("web", OUTSIDE), reaches("web", "fd00:42::3"), reaches("web", "10.42.0.3")) == (True, False, False)
    assert reaches("friend", web6), "and answers come back"


def test_services_spread_connections_and_change(world: DualWorld) -> None:
    (first, *_), endpoints = world.servers_of(3)
    world.apply({WEB: Backends(endpoints)})
    client, address = world.pod(Request("client"))
    for caller, seen in ((client, address), (world.node, "fd00:42::1")):
        answers = Counter(caller.fetch(WEB.address, 80) for _ in range(60))
        assert {text.split()[1] for text in answers} == {seen}
        assert len(answers) == 3
    assert {first.fetch(WEB.address, 80).split()[0] for _ in range(40)} == {"pod0", "pod1", "pod2"}
    world.apply({WEB: Backends(endpoints[:1])})
    assert first.fetch(WEB.address, 80) == "pod0 fd00:42::1", "a Pod reaches itself"
    world.apply({WEB: Backends(endpoints, sticky_seconds=100)})
    (kept,) = {client.fetch(WEB.address, 80).split()[0] for _ in range(20)}
    others = tuple(one for number, one in enumerate(endpoints) if f"pod{number}" != kept)
    world.apply({WEB: Backends(others, sticky_seconds=100)})
    (next_,) = {client.fetch(WEB.address, 80).split()[0] for _ in range(20)}
    assert next_ != kept
    world.apply({WEB: Backends(endpoints, sticky_seconds=100)})
    assert {client.fetch(WEB.address, 80).split()[0] for _ in range(20)} == {next_}


def test_a_service_without_endpoints_refuses_at_once(world: DualWorld) -> None:
    world.apply({WEB: Backends(), NODE_WEB: Backends(), EXTERNAL: Backends(), UDP: Backends()})
    client, _ = world.pod(Request("client"))
    for caller, address, port in (
        (client, WEB.address, 80),
        (world.node, WEB.address, 80),
        (client, WEB.address, 81),
        (client, "fd00:42::1", 30080),
        (world.outside, NODE_OUTER, 30080),
        (world.outside, EXTERNAL.address, 80),
    ):
        with pytest.raises(ConnectionRefusedError):
            caller.fetch(address, port)
    with pytest.raises(ConnectionRefusedError):
        client.fetch_udp(UDP.address, 53)
    world.apply({WEB: None, UDP: None})
    with pytest.raises(TimeoutError):
        client.fetch(WEB.address, 80, timeout=0.3)


def test_clients_outside_reach_node_ports_and_external_addresses(world: DualWorld) -> None:
    (pod, _), endpoints = world.servers_of(2)
    four = (Endpoint("10.42.0.2", 8080),)
    world.servers.append(pod.serve("10.42.0.2", 8080, b"four"))
    world.apply({NODE_WEB: Backends(endpoints), ServicePort("", "tcp", 30080): Backends(four)})
    assert world.outside.fetch(NODE_OUTER, 30080).split()[1] == OUTSIDE
    assert world.outside.fetch("198.51.100.1", 30080) == "four 198.51.100.2"
    assert pod.fetch("fd00:42::1", 30080).startswith("pod")
    assert world.node.fetch(NODE_OUTER, 30080).startswith("pod")
    world.apply({EXTERNAL: Backends(endpoints, outside=endpoints[1:], sources=("2001:db8::/64", "fd00:42::/56"))})
    assert {world.outside.fetch(EXTERNAL.address, 80) for _ in range(10)} == {f"pod1 {OUTSIDE}"}
    world.apply({EXTERNAL: Backends(endpoints, sources=("2001:db8:99::/64",))})
    with pytest.raises(TimeoutError):
        world.outside.fetch(EXTERNAL.address, 80, timeout=0.3)


@pytest.mark.parametrize("on_node", [False, True])
def test_datagrams_go_on_to_who_is_left(world: DualWorld, on_node: bool) -> None:
    _, endpoints = world.servers_of(2)
    here, there = (Endpoint(one.address, 5353) for one in endpoints)
    port = ServicePort(ANY_NODE6, "udp", 30053) if on_node else UDP
    caller = world.outside if on_node else world.pod(Request("client"))[0]
    world.apply({port: Backends((here,))})

    def open_socket() -> socket.socket:
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.settimeout(5)
        made.connect((NODE_OUTER if on_node else port.address, port.port))
        return made

    with caller.call(open_socket) as asking:
        asking.send(b"hello")
        assert asking.recv(100).startswith(b"pod0")
        world.apply({port: Backends((there,))})
        asking.send(b"hello")
        assert asking.recv(100).startswith(b"pod1")


def test_host_ports_lead_to_the_family_that_was_asked(world: DualWorld) -> None:
    both, only6, only4 = Mapping(8080, 80), Mapping(8081, 80, host_ip="::"), Mapping(8082, 80, host_ip="0.0.0.0")
    one = Mapping(8083, 80, host_ip=NODE_OUTER)
    pod, address = world.pod(Request("sandbox-1", (both, only6, only4, one)))
    world.servers += [pod.serve(address, 80, b"six"), pod.serve("10.42.0.2", 80, b"four")]
    for port in (8080, 8081, 8083):
        assert world.outside.fetch(NODE_OUTER, port) == f"six {OUTSIDE}"
    for port in (8080, 8082):
        assert world.outside.fetch("198.51.100.1", port) == "four 198.51.100.2"
    for where, port in ((NODE_OUTER, 8082), ("198.51.100.1", 8081), ("fd00:42::1", 8083)):
        with pytest.raises(ConnectionRefusedError):
            world.outside.fetch(where, port) if where != "fd00:42::1" else pod.fetch(where, port)
    assert pod.fetch("fd00:42::1", 8080) == "six fd00:42::1", "a Pod reaches itself"
    assert world.network is not None
    world.network.pods.detach(Request("sandbox-1"))
    with pytest.raises(ConnectionRefusedError):
        world.outside.fetch(NODE_OUTER, 8080)


def traces() -> object:
    """What a cluster could leave in the namespace of the calling thread."""
    nftables = open_nftables()
    try:
        tables = table_names(nftables, "carob-")
    finally:
        nftables.close()
    with netlink.Netlink() as node:
        return (
            tables,
            sorted((a.address, a.index) for a in node.addresses(socket.AF_INET6) if not a.address.startswith("fe80")),
            sorted((r.destination, r.prefix_length, r.protocol) for r in node.routes(socket.AF_INET6)),
            (SETTINGS / "all/forwarding").read_text(),
        )


def test_nothing_is_left(tmp_path: Path) -> None:
    world = DualWorld(tmp_path)
    try:
        world.node.call(loopback_up)
        before = world.node.call(traces)
        network = world.start(DUAL)
        world.pod(Request("sandbox-1", (Mapping(8080, 80),)))
        world.node.call(lambda: network.lead_services(["fd00:43::/108", "fd00:99::/112"]))
        assert world.node.call((SETTINGS / "all/forwarding").read_text).strip() == "1"
        network.close()
        # a restarted agent remembers what forwarding was before the first one
        world.start(DUAL).close()
        world.node.call(lambda: remove_everything(LAYOUT.cluster, tmp_path))
        assert world.node.call(traces) == before
    finally:
        world.close()


def test_a_node_goes_on_listening_to_its_routers(tmp_path: Path) -> None:
    world = DualWorld(tmp_path)
    try:
        connect_outside(world)

        def hear() -> None:
            with netlink.Netlink() as node:
                link = node.link("eth0")
                assert link is not None
                node.send(netlink.replace_address(link.index, NODE_OUTER, 64))
                node.send(netlink.replace_route("::", 0, index=link.index, gateway=OUTSIDE, protocol=9))

        world.node.call(hear)
        for _ in range(2):
            # a restarted agent remembers it
            world.start(DUAL).close()
            assert world.node.call((SETTINGS / "eth0/accept_ra").read_text).strip() == "2"
            assert world.node.call((SETTINGS / "lo/accept_ra").read_text).strip() == "1"
        world.node.call(lambda: remove_everything(LAYOUT.cluster, tmp_path))
        assert world.node.call((SETTINGS / "eth0/accept_ra").read_text).strip() == "1"
    finally:
        world.close()


def test_a_node_of_one_family_leaves_the_other_alone(tmp_path: Path) -> None:
    world = DualWorld(tmp_path)
    server = None
    try:
        connect_outside(world)
        give_addresses(world)
        world.start(LAYOUT).close()
        server = world.node.serve(NODE_OUTER, 80, b"mine")
        assert world.outside.fetch(NODE_OUTER, 80) == f"mine {OUTSIDE}"
        assert world.node.fetch(NODE_OUTER, 80) == f"mine {NODE_OUTER}"
    finally:
        if server is not None:
            stop(server)
        world.close()

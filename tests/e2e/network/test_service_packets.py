"""Services with real packets: how connections are spread, remembered, refused, forgotten."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from network.namespaces import ANSWER_SECONDS
from network.worlds import LAYOUT, NODE_OUTER, OUTSIDE, Mapping, Request, World, connect_outside

from carob.host import netlink
from carob.network.node import remove_everything
from carob.network.services import Backends, Endpoint, ServicePort

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

WEB = ServicePort("10.43.7.7", "tcp", 80)
UDP = ServicePort("10.43.7.7", "udp", 53)
NODE_WEB = ServicePort("", "tcp", 30080)
EXTERNAL = ServicePort("203.0.113.7", "tcp", 80)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    connect_outside(world)
    world.start(replace(LAYOUT, dns_address="10.43.0.10"))
    yield world
    world.close()


def route_outside(world: World, address: str) -> None:
    """Let the outside host send what is for `address` to the node."""

    def add() -> None:
        with netlink.Netlink() as outside:
            link = outside.link("eth0")
            assert link is not None
            outside.send(netlink.replace_route(address, 32, index=link.index, gateway=NODE_OUTER))

    world.outside.call(add)


def test_connections_are_spread_from_pods_and_from_the_node(world: World) -> None:
    (first, *_), endpoints = world.servers_of(3)
    world.apply({WEB: Backends(endpoints)})
    client, address = world.pod(Request("client"))
    for caller, seen in ((client, address), (world.node, "10.42.0.1")):
        answers = Counter(caller.fetch("10.43.7.7", 80) for _ in range(60))
        assert {text.split()[1] for text in answers} == {seen}
        assert len(answers) == 3
    assert {first.fetch("10.43.7.7", 80).split()[0] for _ in range(40)} == {"pod0", "pod1", "pod2"}


def test_a_pod_reaches_itself_through_its_service(world: World) -> None:
    (pod,), endpoints = world.servers_of(1)
    world.apply({WEB: Backends(endpoints)})
    assert pod.fetch("10.43.7.7", 80) == "pod0 10.42.0.1"


def test_a_service_without_endpoints_refuses_at_once(world: World) -> None:
    _, endpoints = world.servers_of(1)
    world.apply({WEB: Backends(), NODE_WEB: Backends(), EXTERNAL: Backends(), UDP: Backends()})
    route_outside(world, EXTERNAL.address)
    client, _ = world.pod(Request("client"))
    for caller, address, port in (
        (client, "10.43.7.7", 80),
        (world.node, "10.43.7.7", 80),
        (client, "10.43.7.7", 81),
        (client, "10.42.0.1", 30080),
        (world.outside, NODE_OUTER, 30080),
        (world.outside, EXTERNAL.address, 80),
        (client, EXTERNAL.address, 80),
    ):
        with pytest.raises(ConnectionRefusedError):
            caller.fetch(address, port)
    with pytest.raises(ConnectionRefusedError):
        client.fetch_udp("10.43.7.7", 53)
    world.apply({WEB: Backends(endpoints)})
    assert client.fetch("10.43.7.7", 80).startswith("pod0")
    world.apply({WEB: None, UDP: None})
    with pytest.raises(TimeoutError):
        client.fetch("10.43.7.7", 80, timeout=0.3)


def test_a_segment_out_of_the_window_does_not_end_a_connection(world: World) -> None:
    pod, address = world.pod(Request("server"))
    client, _ = world.pod(Request("client"))
    world.apply({WEB: Backends((Endpoint(address, 9000),))})
    with (
        pod.call(lambda: socket.create_server((address, 9000))) as listener,
        pod.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)) as raw,
        client.call(lambda: socket.create_connection(("10.43.7.7", 80), 5)) as calling,
    ):
        for one in (listener, raw):
            one.settimeout(5)
        served, (peer, _) = listener.accept()
        with served:
            served.settimeout(5)
            calling.sendall(b"hello")
            assert served.recv(5) == b"hello"
            raw.sendto(stray_answer(raw, address, peer), (peer, 0))
            served.sendall(b"alive")
            assert calling.recv(5) == b"alive"
            calling.sendall(b"world")
            assert served.recv(5) == b"world"


def stray_answer(raw: socket.socket, address: str, peer: str) -> bytes:
    """A segment from `address` that answers the first one with data, numbered far beyond what the peer waits for."""
    data, segment = b"", b""
    while not data:
        packet = raw.recv(65535)
        segment = packet[(packet[0] & 15) * 4 :]
        data = segment[(segment[12] >> 4) * 4 :]
    source, port, sequence, acknowledged = struct.unpack(">HHII", segment[:12])
    wrong = (acknowledged + 3_000_000) % 2**32
    head = struct.pack(">HHIIBBH", port, source, wrong, (sequence + len(data)) % 2**32, 5 << 4, 0x10, 1000)
    pseudo = socket.inet_aton(address) + socket.inet_aton(peer) + struct.pack(">HH", socket.IPPROTO_TCP, 20)
    total = sum(struct.unpack(">14H", pseudo + head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head + struct.pack(">HH", ~total & 0xFFFF, 0)


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
def test_a_client_that_uses_its_port_again_reaches_the_endpoint_of_now(world: World, resets: bool) -> None:
    """The connection before, with the same addresses and ports, is remembered with the endpoint of then."""
    _, endpoints = world.servers_of(2)
    client, address = world.pod(Request("client"))
    world.apply({WEB: Backends(endpoints[:1])})

    def fetch() -> str:
        with socket.socket() as calling:
            calling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # a reset leaves nobody waiting for stray segments; otherwise the server closes first, and waits
            if resets:
                calling.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            calling.bind((address, 40_000))
            calling.settimeout(5)
            calling.connect(("10.43.7.7", 80))
            calling.settimeout(ANSWER_SECONDS)
            if resets:
                return calling.recv(4).decode()
            return calling.makefile("rb").read().decode().split()[0]

    for number in range(20):
        world.apply({WEB: Backends((endpoints[number % 2],))})
        assert client.call(fetch) == f"pod{number % 2}"


def test_the_answer_to_a_client_that_has_said_all_may_take_long(world: World) -> None:
    """Answers [sig-network] KubeProxy should set TCP CLOSE_WAIT timeout."""
    pod, address = world.pod(Request("server", (Mapping(18080, 9000),)))
    client, _ = world.pod(Request("client"))
    world.apply({WEB: Backends((Endpoint(address, 9000),))})
    with pod.call(lambda: socket.create_server((address, 9000))) as listener:
        listener.settimeout(ANSWER_SECONDS)
        for caller, to in ((client, ("10.43.7.7", 80)), (world.outside, (NODE_OUTER, 18080))):
            with caller.call(partial(socket.create_connection, to, 5)) as calling, listener.accept()[0] as served:
                served.settimeout(ANSWER_SECONDS)
                calling.shutdown(socket.SHUT_WR)
                assert served.recv(1) == b""
                words = ["", "", "", "FIN_WAIT"]
                end = time.monotonic() + 60
                while words[3] == "FIN_WAIT" and time.monotonic() < end:  # until the server has acknowledged it
                    words = world.node.call(partial(flow_to, *to)).split()
                assert words[3] == "CLOSE_WAIT"
                assert int(words[2]) > 3000


def flow_to(address: str, port: int) -> str:
    """The kernel's line about the connection: its protocol twice, the seconds that it is remembered for, its state."""
    command = ["conntrack", "-L", "-p", "tcp", "-d", address, "--dport", str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_node_ports_are_open_everywhere_and_outside_callers_are_seen(world: World) -> None:
    (pod, _), endpoints = world.servers_of(2)
    world.apply({NODE_WEB: Backends(endpoints)})
    assert world.outside.fetch(NODE_OUTER, 30080).split()[1] == OUTSIDE
    assert world.node.fetch("127.0.0.1", 30080).split()[1] == "10.42.0.1"
    assert world.node.fetch(NODE_OUTER, 30080).startswith("pod")
    assert pod.fetch("10.42.0.1", 30080).startswith("pod")
    world.apply({NODE_WEB: None})
    with pytest.raises(ConnectionRefusedError):
        world.outside.fetch(NODE_OUTER, 30080)


def test_outside_callers_get_only_what_is_meant_for_them(world: World) -> None:
    (_, client), (one, two) = world.servers_of(2)
    local = Backends((one, two), outside=(two,))
    world.apply({NODE_WEB: local, EXTERNAL: local})
    route_outside(world, EXTERNAL.address)
    for address, port in ((NODE_OUTER, 30080), (EXTERNAL.address, 80)):
        assert {world.outside.fetch(address, port) for _ in range(12)} == {f"pod1 {OUTSIDE}"}
    assert {client.fetch(EXTERNAL.address, 80).split()[0] for _ in range(30)} == {"pod0", "pod1"}
    assert {world.node.fetch("10.42.0.1", 30080).split()[0] for _ in range(30)} == {"pod0", "pod1"}
    world.apply({NODE_WEB: Backends((one, two), outside=())})
    with pytest.raises(TimeoutError):
        world.outside.fetch(NODE_OUTER, 30080, timeout=0.3)


def test_source_ranges_keep_others_away(world: World) -> None:
    _, endpoints = world.servers_of(1)
    route_outside(world, EXTERNAL.address)
    world.apply({EXTERNAL: Backends(endpoints, sources=("192.0.2.0/24",))})
    with pytest.raises(TimeoutError):
        world.outside.fetch(EXTERNAL.address, 80, timeout=0.3)
    world.apply({EXTERNAL: Backends(endpoints, sources=("192.0.2.0/24", "198.51.100.0/28"))})
    assert world.outside.fetch(EXTERNAL.address, 80) == f"pod0 {OUTSIDE}"


def test_a_sticky_client_keeps_its_endpoint_while_others_come_and_go(world: World) -> None:
    _, endpoints = world.servers_of(4)
    client, _ = world.pod(Request("client"))
    world.apply({WEB: Backends(endpoints, sticky_seconds=30)})
    (chosen,) = {client.fetch("10.43.7.7", 80).split()[0] for _ in range(15)}
    kept = endpoints[int(chosen[-1])]
    others = tuple(e for e in endpoints if e != kept)
    world.apply({WEB: Backends((*others[1:], kept), sticky_seconds=30)})
    assert {client.fetch("10.43.7.7", 80).split()[0] for _ in range(15)} == {chosen}
    world.apply({WEB: Backends(others, sticky_seconds=30)})
    (second,) = {client.fetch("10.43.7.7", 80).split()[0] for _ in range(15)}
    assert second != chosen


@pytest.mark.slow
def test_a_sticky_client_is_forgotten_after_the_timeout(world: World) -> None:
    _, endpoints = world.servers_of(4)
    client, _ = world.pod(Request("client"))
    world.apply({WEB: Backends(endpoints, sticky_seconds=1)})
    seen = {client.fetch("10.43.7.7", 80).split()[0]}
    for _ in range(20):
        # only the kernel's clock ends the timeout
        time.sleep(1.2)
        seen.add(client.fetch("10.43.7.7", 80).split()[0])
        if len(seen) > 1:
            return
    pytest.fail("twenty times the same of four")


def test_udp_clients_that_never_pause_are_led_away_from_an_endpoint_that_has_gone(world: World) -> None:
    _, endpoints = world.servers_of(2)
    one, two = (e._replace(port=5353) for e in endpoints)
    client, _ = world.pod(Request("client"))
    world.apply({UDP: Backends((one,))})

    def ask(connection: socket.socket) -> str:
        connection.send(b"hello")
        return connection.recv(100).decode().split()[0]

    def open_socket() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(2)
        made.connect(("10.43.7.7", 53))
        return made

    with client.call(open_socket) as connection:
        assert ask(connection) == "pod0"
        world.apply({UDP: Backends((one, two))})
        assert ask(connection) == "pod0", "a flow stays where it is"
        world.apply({UDP: Backends((two,))})
        assert ask(connection) == "pod1"


def test_udp_clients_that_never_pause_find_a_node_port_that_comes_later(world: World) -> None:
    _, (one,) = world.servers_of(1)
    with (
        world.node.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as early,
        world.outside.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking,
    ):
        early.bind((NODE_OUTER, 30053))
        for one_end in (early, asking):
            one_end.settimeout(ANSWER_SECONDS)
        asking.connect((NODE_OUTER, 30053))
        asking.send(b"hello")
        assert early.recv(100) == b"hello"
        world.apply({ServicePort("", "udp", 30053): Backends((one._replace(port=5353),))})
        asking.send(b"hello")
        assert asking.recv(100).startswith(b"pod0")


def test_everything_goes_again(world: World) -> None:
    _, endpoints = world.servers_of(2)
    world.apply({WEB: Backends(endpoints, sticky_seconds=9), NODE_WEB: Backends(endpoints, outside=endpoints[:1])})
    assert world.network is not None
    world.node.call(lambda: remove_everything(LAYOUT.cluster, world.folder))

    def addresses() -> list[str]:
        with netlink.Netlink() as node:
            return [a.address for a in node.addresses()]

    assert not [a for a in world.node.call(addresses) if a.startswith("10.4")]


def test_further_ranges_are_led_to_and_go_without_a_trace(world: World) -> None:
    _, endpoints = world.servers_of(1)
    network, further = world.network, ServicePort("10.90.0.3", "tcp", 80)
    assert network is not None

    def lead(*ranges: str) -> None:
        world.node.call(lambda: network.lead_services(ranges))

    def led_to() -> set[str]:
        with netlink.Netlink() as node:
            found = node.routes()
        return {f"{r.destination}/{r.prefix_length}" for r in found if r.destination.startswith("10.9")}

    world.apply({further: Backends(endpoints)})
    lead("10.43.0.0/16", "10.90.0.0/29", "10.91.0.0/24")
    client, _ = world.pod(Request("client"))
    for caller in (client, world.node):
        assert caller.fetch("10.90.0.3", 80).startswith("pod0")
        with pytest.raises(ConnectionRefusedError):
            caller.fetch("10.90.0.3", 81)
    assert world.node.call(led_to) == {"10.90.0.0/29", "10.91.0.0/24"}
    lead("10.90.0.0/24")  # wider, and the other one has gone
    assert world.node.call(led_to) == {"10.90.0.0/24"}
    assert world.node.fetch("10.90.0.3", 80).startswith("pod0")
    lead("10.90.0.0/24", "10.42.0.0/15")  # Pods have addresses there: not Services alone
    assert client.fetch("10.90.0.3", 80).startswith("pod0")
    # after a restart of the agent the table is made anew
    world.node.call(network.set_up)
    assert world.node.call(led_to) == {"10.90.0.0/24"}
    lead("10.43.0.0/16")
    assert world.node.call(led_to) == set()
    lead("10.90.0.0/24")
    world.node.call(lambda: remove_everything(LAYOUT.cluster, world.folder))
    assert world.node.call(led_to) == set()


@pytest.mark.slow
def test_many_services_cost_little(world: World) -> None:
    """Prints what a bench would; only gross failures fail."""
    many = {
        ServicePort(f"10.43.{100 + n // 200}.{n % 200 + 1}", "tcp", 80): Backends(
            tuple(Endpoint(f"10.42.0.{e + 2}", 8080) for e in range(5))
        )
        for n in range(1000)
    }
    started = time.monotonic()
    world.apply(dict(many))
    whole = time.monotonic() - started
    port = ServicePort("10.43.101.5", "tcp", 80)
    started = time.monotonic()
    world.apply({port: Backends((*many[port].endpoints[:4], Endpoint("10.42.0.99", 8080)))})
    one = time.monotonic() - started
    print(f"1000 services of 5: {whole * 1000:.0f} ms; one endpoint: {one * 1000:.1f} ms")
    assert whole < 5
    assert one < 1


@pytest.mark.slow
def test_five_hundred_changes_under_load_lose_no_connection_to_a_living_endpoint(world: World) -> None:
    _, endpoints = world.servers_of(4)
    client, _ = world.pod(Request("client"))
    living = endpoints[0]
    world.apply({WEB: Backends(endpoints)})
    begun, stopped = threading.Event(), threading.Event()
    failures: list[str] = []
    answers: Counter[str] = Counter()

    def load() -> None:
        while not stopped.is_set():
            try:
                answers[client.fetch("10.43.7.7", 80).split()[0]] += 1
                begun.set()
            except OSError as error:
                failures.append(repr(error))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        assert begun.wait(60)
        for number in range(500):
            others = [e for bit, e in enumerate(endpoints[1:]) if number >> bit & 1]
            world.apply({WEB: Backends((living, *others))})
    finally:
        stopped.set()
        thread.join()
    assert failures == []
    assert answers.total() > 1, "there was no load while endpoints changed"
    world.apply({WEB: Backends((living,))})
    assert client.fetch("10.43.7.7", 80).startswith("pod0")

"""Worlds of network namespaces for tests: a node with Pods, and an outside host that knows the node alone."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from network.namespaces import Namespace, stop

from carob.base.clock import SystemClock
from carob.host import netlink
from carob.host.nftables import open_nftables
from carob.network.layout import NetworkLayout
from carob.network.node import IP_FORWARD, Network, open_network
from carob.network.services import Backends, Endpoint, ServicePort

LAYOUT = NetworkLayout(cluster="packets", pod_range="10.42.0.0/29")
NODE_OUTER, OUTSIDE = "198.51.100.1", "198.51.100.2"


@dataclass(frozen=True)
class Mapping:
    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True)
class Request:
    sandbox_id: str
    port_mappings: tuple[Mapping, ...] = ()
    namespace: str = "default"
    name: str = "pod"
    annotations: dict[str, str] = field(default_factory=dict)
    uid: str = ""
    netns_path: str = ""


@dataclass
class World:
    folder: Path
    node: Namespace = field(default_factory=Namespace)
    outside: Namespace = field(default_factory=Namespace)
    made: list[Namespace] = field(default_factory=list)
    servers: list[socket.socket] = field(default_factory=list)
    network: Network | None = None

    def start(self, layout: NetworkLayout = LAYOUT) -> Network:
        self.network = self.node.call(lambda: open_network(layout, self.folder, SystemClock()))
        self.node.call(self.network.set_up)
        return self.network

    def pod(self, request: Request) -> tuple[Namespace, str]:
        pod, (address,) = self.pod_with(request)
        return pod, address

    def pod_with(self, request: Request) -> tuple[Namespace, list[str]]:
        network = self.network
        assert network is not None
        pod = Namespace()
        self.made.append(pod)
        pod.call(loopback_up)
        addresses: list[str] = pod.call(lambda: network.pods.attach(request))
        return pod, addresses

    def servers_of(self, count: int) -> tuple[list[Namespace], tuple[Endpoint, ...]]:
        """Pods that tell who they are on TCP 8080 and UDP 5353."""
        pods, endpoints = [], []
        for number in range(count):
            pod, address = self.pod(Request(f"server-{number}"))
            greeting = f"pod{number}".encode()
            self.servers += [pod.serve(address, 8080, greeting), pod.serve_udp(address, 5353, greeting)]
            pods.append(pod)
            endpoints.append(Endpoint(address, 8080))
        return pods, tuple(endpoints)

    def apply(self, changes: dict[ServicePort, Backends | None]) -> None:
        assert self.network is not None
        self.network.services.apply(changes)

    def close(self) -> None:
        """Everything of it ends, whatever it had."""
        for server in self.servers:
            stop(server)
        if self.network is not None:
            self.network.close()
        for namespace in (*self.made, self.outside, self.node):
            namespace.close()


def loopback_up() -> None:
    with netlink.Netlink() as inside:
        inside.send(netlink.set_up(1))


def connect_outside(world: World) -> None:
    peer = world.outside.descriptor()

    def node_side() -> None:
        with netlink.Netlink() as node:
            node.send(netlink.add_veth("eth0", "02:00:00:00:00:01", "eth0", "02:00:00:00:00:02", peer))
            link = node.link("eth0")
            assert link is not None
            node.send(netlink.set_up(link.index), netlink.replace_address(link.index, NODE_OUTER, 24))

    def outside_side() -> None:
        with netlink.Netlink() as outside:
            link = outside.link("eth0")
            assert link is not None
            outside.send(
                netlink.set_up(1), netlink.set_up(link.index), netlink.replace_address(link.index, OUTSIDE, 24)
            )

    world.node.call(node_side)
    world.outside.call(outside_side)
    os.close(peer)


def traces() -> object:
    """What a cluster could leave in the namespace of the calling thread."""
    nftables = open_nftables()
    try:
        with netlink.Netlink() as node:
            return (
                [(link.name, link.kind) for link in node.links()],
                node.addresses(),
                node.routes(),
                nftables.query("list ruleset")[1:],
                IP_FORWARD.read_text(),
            )
    finally:
        nftables.close()

"""Network policies with real packets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from network.namespaces import Namespace
from network.worlds import LAYOUT, OUTSIDE, Request, World, connect_outside

from carob.api import codec
from carob.api.types import networking_v1
from carob.host.nftables import open_nftables, table_names
from carob.kubelet.policy_rules import Peer, compile_policies
from carob.network.node import remove_everything
from carob.network.services import Backends, Endpoint, ServicePort

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SHORT = 0.3


class Town(World):
    """A web server, a friend and a stranger, in that order."""

    def settle(self) -> None:
        self.pods: dict[str, Namespace] = {}
        self.peers: list[Peer] = []
        for name in ("web", "friend", "stranger"):
            pod, address = self.pod(Request(name))
            self.pods[name] = pod
            ports = [{"name": "http", "containerPort": 80, "protocol": "TCP"}]
            tree = {
                "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
                "spec": {"nodeName": "node", "containers": [{"ports": ports}]},
                "status": {"phase": "Running", "podIP": address},
            }
            self.peers.append(codec.from_tree(Peer, tree))
            self.servers += [pod.serve(address, port, name.encode()) for port in (80, 81, 82)]
        self.web = self.peers[0].status.pod_ip
        for peer in self.peers:
            # the kernel lets a new wire's far end send a moment later, and longer while it takes others apart
            assert self.node.fetch(peer.status.pod_ip, 80, 20).startswith(peer.metadata.name)

    def enforce(self, *specs: dict[str, Any]) -> None:
        assert self.network is not None
        policies = [
            codec.from_tree(
                networking_v1.NetworkPolicy,
                {"metadata": {"name": f"p{number}", "namespace": "default"}, "spec": {"podSelector": {}} | spec},
            )
            for number, spec in enumerate(specs)
        ]
        self.network.policies.apply(compile_policies(policies, self.peers, {"default": {}}, "node"))

    def reaches(self, who: str, port: int = 80, address: str = "") -> bool:
        try:
            return bool(self.pods[who].fetch(address or self.web, port, SHORT))
        except TimeoutError:
            return False


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    connect_outside(town)
    town.start()
    town.settle()
    yield town
    town.close()


ONLY_WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
FRIEND = {"podSelector": {"matchLabels": {"app": "friend"}}}


def test_default_deny_and_back(town: Town) -> None:
    assert town.reaches("stranger")
    town.enforce(ONLY_WEB)
    assert not town.reaches("stranger")
    assert town.node.fetch(town.web, 80).startswith("web"), "the node always reaches its Pods"
    assert town.reaches("web", address=town.peers[1].status.pod_ip), "and answers come back"
    town.enforce()
    assert town.reaches("stranger")


def test_only_friends_and_only_some_ports(town: Town) -> None:
    town.enforce(ONLY_WEB | {"ingress": [{"from": [FRIEND], "ports": [{"port": "http"}, {"port": 82}]}]})
    assert [town.reaches("friend", port) for port in (80, 81, 82)] == [True, False, True]
    assert not town.reaches("stranger")
    town.enforce(ONLY_WEB | {"ingress": [{"ports": [{"port": 81, "endPort": 82}]}]})
    assert [town.reaches("stranger", port) for port in (80, 81, 82)] == [False, True, True]


def test_the_way_out(town: Town) -> None:
    town.servers.append(town.outside.serve(OUTSIDE, 80, b"world"))
    block = {"cidr": "198.51.100.0/24", "except": [f"{OUTSIDE}/32"]}
    out = {"podSelector": FRIEND["podSelector"], "policyTypes": ["Egress"]}
    town.enforce(out | {"egress": [{"to": [{"ipBlock": block}]}]})
    assert not town.reaches("friend")
    assert not town.reaches("friend", address=OUTSIDE)
    assert town.reaches("stranger", address=OUTSIDE)
    town.enforce(out | {"egress": [{"to": [{"ipBlock": block | {"except": []}}]}]})
    assert town.reaches("friend", address=OUTSIDE)


def test_services_and_oneself(town: Town) -> None:
    assert town.network is not None
    service = ServicePort("10.43.7.7", "tcp", 80)
    town.network.services.apply({service: Backends((Endpoint(town.web, 80),))})
    town.enforce(ONLY_WEB | {"policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [FRIEND]}]})
    assert town.reaches("friend", address="10.43.7.7")
    assert not town.reaches("stranger", address="10.43.7.7")
    assert town.reaches("web", address="10.43.7.7"), "a Pod is never kept from itself"


def test_a_connection_that_was_allowed_goes_on(town: Town) -> None:
    web = town.pods["web"]
    server = web.call(lambda: socket.create_server((town.web, 9000)))
    client = town.pods["stranger"].call(lambda: socket.create_connection((town.web, 9000), 2))
    other, _ = server.accept()
    with server, client, other:
        town.enforce(ONLY_WEB)
        client.sendall(b"still here")
        other.settimeout(2)
        assert other.recv(100) == b"still here"


def test_nothing_stays(town: Town) -> None:
    town.enforce(ONLY_WEB | {"ingress": [{"from": [FRIEND], "ports": [{"port": 80}]}]})
    town.node.call(lambda: remove_everything(LAYOUT.cluster, town.folder))

    def tables() -> list[tuple[str, str]]:
        nftables = open_nftables()
        try:
            return table_names(nftables, "carob-")
        finally:
            nftables.close()

    assert town.node.call(tables) == []

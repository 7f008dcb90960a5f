"""What NetworkPolicies mean for the Pods of a node."""

from __future__ import annotations

from typing import Any

from carob.api import codec
from carob.api.types import networking_v1
from carob.kubelet.policy_rules import Peer, compile_policies
from carob.network.policy import PolicyRules

NAMESPACES: dict[str, dict[str, str]] = {"shop": {"team": "a"}, "lab": {"team": "b"}}


def pod(name: str, address: str, namespace: str = "shop", node: str = "node-0", **spec: Any) -> Peer:
    tree = {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"nodeName": node} | spec,
        "status": {"phase": "Running", "podIP": address},
    }
    return codec.from_tree(Peer, tree)


def policy(selector: dict[str, str] | None = None, name: str = "p", **spec: Any) -> networking_v1.NetworkPolicy:
    tree = {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": selector or {}}} | spec,
    }
    return codec.from_tree(networking_v1.NetworkPolicy, tree)


WEB = pod("web", "10.42.0.2", containers=[{"ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}])
DB = pod("db", "10.42.1.3", node="node-1")
LAB = pod("lab", "10.42.0.4", "lab")
PODS = [WEB, DB, LAB]


def compiled(*policies: networking_v1.NetworkPolicy, pods: list[Peer] = PODS) -> PolicyRules:
    return compile_policies(policies, pods, NAMESPACES, "node-0")


def keys(rules: PolicyRules, ending: str) -> set[str]:
    return {key for name, key in rules.elements if name.endswith(ending)}


def lines(rules: PolicyRules, direction: str) -> list[str]:
    ((_, found),) = [item for item in rules.chains.items() if item[0].startswith(direction)]
    return found


def test_without_a_policy_there_is_nothing() -> None:
    assert compiled() == PolicyRules()


def test_default_deny_meets_the_selected_pods_of_this_node() -> None:
    rules = compiled(policy())
    assert keys(rules, "ingress") == {"10.42.0.2"}
    assert keys(rules, "egress") == set()
    assert lines(rules, "ingress") == ["drop"]
    assert keys(rules, "itself") == {"10.42.0.2 . 10.42.0.2"}


def test_egress_counts_when_it_is_named_or_given() -> None:
    assert keys(compiled(policy(policyTypes=["Egress"])), "egress") == {"10.42.0.2"}
    both = compiled(policy(egress=[{}]))
    assert (keys(both, "ingress"), keys(both, "egress")) == ({"10.42.0.2"}, {"10.42.0.2"})
    assert lines(both, "egress") == ["return", "drop"]


def test_peers_are_pods_of_the_same_namespace_or_of_selected_ones() -> None:
    same = compiled(policy(ingress=[{"from": [{"podSelector": {}}]}]))
    assert keys(same, "-pods") == {"10.42.0.2", "10.42.1.3"}
    other = compiled(policy(ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}]))
    assert keys(other, "-pods") == {"10.42.0.4"}
    peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "db"}}}
    both = compiled(policy(ingress=[{"from": [peer]}]))
    assert keys(both, "-pods") == {"10.42.1.3"}
    nobody = compiled(policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "x"}}}]}]))
    assert keys(nobody, "-pods") == set()
    assert len(lines(nobody, "ingress")) == 2, "an empty set allows nobody"


def test_blocks_lose_their_exceptions() -> None:
    block = {"cidr": "10.0.0.0/30", "except": ["10.0.0.1/32"]}
    rules = compiled(policy(egress=[{"to": [{"ipBlock": block}, {"ipBlock": {"cidr": "10.0.0.2/32"}}]}]))
    assert keys(rules, "-blocks") == {"10.0.0.0/32", "10.0.0.2/31"}


def test_ports_ranges_and_names() -> None:
    ports = [
        {"port": 80},
        {"protocol": "UDP", "port": 1000, "endPort": 2000},
        {"protocol": "UDP", "port": 1500, "endPort": 2500},
        {"port": "http"},
        {"protocol": "SCTP"},
    ]
    rules = compiled(policy({"app": "web"}, ingress=[{"ports": ports}]))
    assert keys(rules, "-ports") == {"tcp . 80", "udp . 1000-2500", "sctp . 0-65535"}
    assert keys(rules, "-named") == {"10.42.0.2 . tcp . 8080"}
    outward = compiled(policy({"app": "web"}, egress=[{"to": [{"podSelector": {}}], "ports": [{"port": "http"}]}]))
    assert keys(outward, "-named") == {"10.42.0.2 . tcp . 8080"}


def test_several_policies_allow_what_one_of_them_allows() -> None:
    first = policy(name="a", ingress=[{"ports": [{"port": 80}]}])
    second = policy(name="b", ingress=[{"ports": [{"port": 81}]}])
    found = lines(compiled(first, second), "ingress")
    assert (len(found), found[-1]) == (3, "drop")


def test_pods_without_an_address_of_their_own_do_not_count() -> None:
    ended = pod("web", "10.42.0.9")
    ended.status.phase = "Succeeded"
    rules = compiled(policy(), pods=[pod("a", "10.42.0.1", hostNetwork=True), pod("b", ""), ended])
    assert rules == PolicyRules()

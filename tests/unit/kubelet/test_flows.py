"""What `explain-flow` says of a flow, by table; and that it is what the nodes' rules do, for policies drawn by lot."""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from carob.api import codec, flows
from carob.api.types import networking_v1
from carob.kubelet.policy_rules import DualPeer, Peer, compile_policies
from carob.network.policy import PolicyRules

NAMESPACES = {"shop": {"team": "a"}, "lab": {"team": "b"}}
NAMED = {("TCP", "http"): 8080}


def end(name: str, address: str, namespace: str = "shop", **more: Any) -> flows.End:
    labels = NAMESPACES[namespace]
    return flows.End(address, namespace, name, {"app": name}, labels, **({"named_ports": NAMED} | more))


WEB, DB, LAB = end("web", "10.42.0.2"), end("db", "10.42.1.3"), end("lab", "10.42.0.4", "lab")
OUTSIDE = flows.End("192.0.2.7", is_pod=False)
ENDS = (WEB, DB, LAB, OUTSIDE)


def policy(name: str = "p", namespace: str = "shop", **spec: Any) -> networking_v1.NetworkPolicy:
    tree = {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}} | spec}
    return codec.from_tree(networking_v1.NetworkPolicy, tree)


def verdicts(*policies: networking_v1.NetworkPolicy, port: int = 8080, source: flows.End = LAB) -> tuple[bool, bool]:
    egress, ingress = flows.judge(policies, source, WEB, "TCP", port)
    return egress.allowed, ingress.allowed


CASES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "default deny": ({}, False, "p: allows nothing"),
    "another direction": ({"policyTypes": ["Egress"]}, True, ""),
    "everybody": ({"ingress": [{}]}, True, ""),
    "own namespace": ({"ingress": [{"from": [{"podSelector": {}}]}]}, False, "lab/lab is not in namespace shop"),
    "its namespace": ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}]}, True, ""),
    "another namespace": (
        {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "c"}}}]}]},
        False,
        "p ingress[0]: namespace lab is not one with team=c",
    ),
    "another Pod there": (
        {"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "x"}}}]}]},
        False,
        "lab/lab is no Pod with app=x",
    ),
    "another port": ({"ingress": [{"ports": [{"port": 80}, {"protocol": "UDP"}]}]}, False, "not 8080/TCP"),
    "a range": ({"ingress": [{"ports": [{"port": 8000, "endPort": 9000}]}]}, True, ""),
    "a named port": ({"ingress": [{"ports": [{"port": "http"}]}]}, True, ""),
    "a block": ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.42.0.0/24"}}]}]}, True, ""),
    "a hole in it": (
        {"ingress": [{"from": [{"ipBlock": {"cidr": "10.42.0.0/24", "except": ["10.42.0.4/32"]}}]}]},
        False,
        "10.42.0.4 is in 10.42.0.4/32, which 10.42.0.0/24 leaves out",
    ),
    "the second rule": ({"ingress": [{"ports": [{"port": 1}]}, {"ports": [{"port": 8080}]}]}, True, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_who_allows_and_why_not(case: str) -> None:
    spec, allowed, why = CASES[case]
    _, ingress = flows.judge([policy(**spec)], LAB, WEB, "TCP", 8080)
    assert ingress.allowed == allowed
    assert why in "; ".join(ingress.refusals)
    assert bool(ingress.refusals) == (not allowed)


def test_the_rule_that_allows_is_named() -> None:
    rules = [{"ports": [{"port": 1}]}, {"ports": [{"port": 8080}]}]
    _, ingress = flows.judge([policy("a"), policy("b", ingress=rules)], LAB, WEB, "TCP", 8080)
    assert (ingress.allowed, ingress.policy, ingress.rule) == (True, "b", 1)


def test_nobody_is_kept_from_himself_and_nobody_outside_is_selected() -> None:
    assert verdicts(policy(policyTypes=["Ingress", "Egress"]), source=WEB) == (True, True)
    assert verdicts(policy(policyTypes=["Ingress", "Egress"]), source=OUTSIDE) == (True, False)
    assert verdicts(policy(policyTypes=["Ingress", "Egress"], namespace="lab")) == (False, True)


# --- against the rules of a node

SELECTORS = st.sampled_from([{}, {"matchLabels": {"app": "web"}}, {"matchLabels": {"app": "db"}}])
TEAMS = st.sampled_from([{}, {"matchLabels": {"team": "a"}}, {"matchLabels": {"team": "b"}}])
BLOCKS = st.sampled_from(
    [
        {"cidr": "10.42.0.0/16"},
        {"cidr": "192.0.2.0/24"},
        {"cidr": "10.42.0.0/24", "except": ["10.42.0.4/31"]},
        {"cidr": "fd00::/16"},
        {"cidr": "fd00:10:42::/48", "except": ["fd00:10:42:0::4/127"]},
    ]
)
PEERS = st.one_of(
    st.builds(lambda s: {"podSelector": s}, SELECTORS),
    st.builds(lambda s: {"namespaceSelector": s}, TEAMS),
    st.builds(lambda n, p: {"namespaceSelector": n, "podSelector": p}, TEAMS, SELECTORS),
    st.builds(lambda b: {"ipBlock": b}, BLOCKS),
)
PORTS = st.sampled_from(
    [{"port": 80}, {"port": "http"}, {"protocol": "UDP"}, {"port": 8000, "endPort": 9000}, {"port": "nobody"}]
)
LISTS = st.tuples(st.lists(PEERS, max_size=2), st.lists(PORTS, max_size=2))
SPECS = st.fixed_dictionaries(
    {"podSelector": SELECTORS},
    optional={
        "ingress": st.lists(LISTS.map(lambda one: {"from": one[0], "ports": one[1]}), max_size=2),
        "egress": st.lists(LISTS.map(lambda one: {"to": one[0], "ports": one[1]}), max_size=2),
        "policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
    },
)


def second(one: flows.End) -> flows.End:
    """The same end in IPv6: 10.42.0.2 has fd00:10:42:0::2."""
    *network, number = one.address.split(".")
    return replace(one, address=str(ipaddress.ip_address(f"fd00:{':'.join(network)}::{number}")))


def peer(one: flows.End, *, dual: bool) -> Peer:
    ports = [{"name": name, "containerPort": number, "protocol": p} for (p, name), number in one.named_ports.items()]
    tree = {
        "metadata": {"name": one.name, "namespace": one.namespace, "labels": dict(one.labels)},
        "spec": {"nodeName": "node-0", "containers": [{"ports": ports}]},
        "status": {
            "phase": "Running",
            "podIP": one.address,
            "podIPs": [{"ip": one.address}, {"ip": second(one).address}],
        },
    }
    return codec.from_tree(DualPeer if dual else Peer, tree)


LINE = re.compile(
    r"(?:(ip6?) [sd]addr @(\S+) )?(?:(?:(ip6?) daddr \. )?meta l4proto \. th dport @(\S+) )?(return|drop)"
)


def passes(rules: PolicyRules, direction: str, source: flows.End, target: flows.End, protocol: str, port: int) -> bool:
    """What the packet meets in a node's table."""
    own, other = (source, target) if direction == "egress" else (target, source)
    family, mark = ("ip6", "6") if ":" in own.address else ("ip", "")
    verdict = rules.elements.get((direction + mark, own.address))
    if verdict is None or (f"itself{mark}", f"{source.address} . {target.address}") in rules.elements:
        return True
    for line in rules.chains[verdict.removeprefix("jump ")]:
        match = LINE.fullmatch(line)
        assert match is not None, line
        of, whom, named, ports, action = match.groups()
        if {of, named} - {None, family} or (whom is not None and not holds(rules, whom, "", other.address)):
            continue
        place = f"{target.address} . {protocol.lower()} . " if named else f"{protocol.lower()} . "
        if ports is not None and not holds(rules, ports, place, str(port)):
            continue
        return action == "return"
    raise AssertionError("a chain without an end")


def holds(rules: PolicyRules, name: str, place: str, value: str) -> bool:
    """Whether a set has the element, ranges and networks included."""
    for found, key in rules.elements:
        if found != name or not key.startswith(place):
            continue
        rest = key.removeprefix(place)
        if rest == value:
            return True
        if "/" in rest and ipaddress.ip_address(value) in ipaddress.ip_network(rest):
            return True
        first, dash, last = rest.partition("-")
        if dash and int(first) <= int(value) <= int(last):
            return True
    return False


WHATS = [("TCP", 80), ("TCP", 8080), ("TCP", 8500), ("UDP", 53)]


BLOCK_OF_NAMES = {"podSelector": {}, "policyTypes": ["Egress"]} | {
    "egress": [{"to": [{"ipBlock": {"cidr": "10.42.0.0/16"}}], "ports": [{"port": "http"}]}]
}


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(["shop", "lab"]), SPECS), max_size=3), st.booleans())
@example([("lab", BLOCK_OF_NAMES)], False)
def test_what_is_explained_is_what_the_nodes_do(drawn: list[tuple[str, dict[str, Any]]], dual: bool) -> None:
    policies = [policy(f"p{number}", namespace, **spec) for number, (namespace, spec) in enumerate(drawn)]
    pods = [peer(one, dual=dual) for one in ENDS if one.is_pod]
    rules = compile_policies(policies, pods, NAMESPACES, "node-0", dual=dual)
    if not dual:
        assert not [name for name in (*rules.sets, *(name for name, _ in rules.elements)) if name.endswith("6")]
    pairs = [*itertools.product(ENDS, ENDS)]
    if dual:
        pairs += [(second(source), second(target)) for source, target in pairs]
    for (source, target), what in itertools.product(pairs, WHATS):
        egress, ingress = flows.judge(policies, source, target, *what)
        assert egress.allowed == passes(rules, "egress", source, target, *what)
        assert ingress.allowed == passes(rules, "ingress", source, target, *what)

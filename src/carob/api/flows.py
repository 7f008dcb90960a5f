"""Whether NetworkPolicies let one end speak to another, and which of their rules says so.

Pure: policies and ends in, judgements out. It judges from the objects alone, as the documentation of NetworkPolicy says
it; the node's own rules are made elsewhere, and a test holds the two against each other.

Source: Kubernetes NetworkPolicy documentation; `networking.k8s.io/v1` API reference.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from carob.api import selectors
from carob.api.types import networking_v1

NetworkPolicy = networking_v1.NetworkPolicy


class End(Struct, frozen=True):
    """One end of a flow. An end outside of the cluster, or on the host's network, has an address and no labels."""

    address: str = ""
    namespace: str = ""
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    named_ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Numbers of the container ports that have a name, by protocol and name."""
    is_pod: bool = True
    """Whether policies can select it, and meet it by its labels."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.name else self.address


class Judgement(Struct, frozen=True):
    """What one direction's policies say. `policy` and `rule`: who allowed it; empty and -1 where no policy applies."""

    direction: str
    allowed: bool
    policy: str = ""
    rule: int = -1
    refusals: tuple[str, ...] = ()
    """For a denial: each policy that applies, and why each of its rules does not allow the flow."""


def judge(
    policies: Sequence[NetworkPolicy], source: End, target: End, protocol: str, port: int
) -> tuple[Judgement, Judgement]:
    """What egress policies of the source and ingress policies of the target say; both must allow.

    Shape: `policies` of any namespaces, in any order. `protocol` is TCP, UDP or SCTP; `port` the target Pod's own.
    """
    if source.is_pod and target.is_pod and (source.namespace, source.name) == (target.namespace, target.name):
        return Judgement("Egress", True), Judgement("Ingress", True)
    return (
        _direction("Egress", policies, source, target, target, protocol, port),
        _direction("Ingress", policies, target, source, target, protocol, port),
    )


def _direction(
    direction: str,
    policies: Sequence[NetworkPolicy],
    own: End,
    peer: End,
    target: End,
    protocol: str,
    port: int,
) -> Judgement:
    refusals: list[str] = []
    applies = False
    for policy in sorted(policies, key=lambda one: one.metadata.name):
        if not _selects(policy, own, direction):
            continue
        applies = True
        rules = _rules(policy, direction)
        name = policy.metadata.name
        if not rules:
            refusals.append(f"{name}: allows nothing")
        for index, (peers, ports) in enumerate(rules):
            why = _not_by_ports(ports, target, protocol, port) or _not_by_peers(peers, peer, policy.metadata.namespace)
            if not why:
                return Judgement(direction, True, name, index)
            refusals.append(f"{name} {direction.lower()}[{index}]: {why}")
    return Judgement(direction, not applies, refusals=tuple(refusals))


def _selects(policy: NetworkPolicy, own: End, direction: str) -> bool:
    if not own.is_pod or policy.metadata.namespace != own.namespace:
        return False
    # a policy that does not say so is about ingress, and about egress if it has such rules
    types = policy.spec.policy_types or ["Ingress", *(["Egress"] if policy.spec.egress else [])]
    return direction in types and selectors.from_struct(policy.spec.pod_selector).matches(own.labels)


def _rules(
    policy: NetworkPolicy, direction: str
) -> list[tuple[list[networking_v1.NetworkPolicyPeer], list[networking_v1.NetworkPolicyPort]]]:
    if direction == "Egress":
        return [(rule.to, rule.ports) for rule in policy.spec.egress]
    return [(rule.from_, rule.ports) for rule in policy.spec.ingress]


def _not_by_ports(ports: Sequence[networking_v1.NetworkPolicyPort], target: End, protocol: str, port: int) -> str:
    """Why no port of the rule is meant; empty when one is, or all are."""
    if not ports:
        return ""
    for one in ports:
        if (one.protocol or "TCP") != protocol:
            continue
        if one.port is None:
            return ""
        if isinstance(one.port, str):
            if target.named_ports.get((protocol, one.port)) == port:
                return ""
        elif one.port <= port <= (one.end_port or one.port):
            return ""
    return f"is about {', '.join(map(_shown_port, ports))}, not {port}/{protocol}"


def _shown_port(port: networking_v1.NetworkPolicyPort) -> str:
    numbers = "every port" if port.port is None else str(port.port)
    if port.end_port:
        numbers += f"-{port.end_port}"
    return f"{numbers}/{port.protocol or 'TCP'}"


def _not_by_peers(peers: Sequence[networking_v1.NetworkPolicyPeer], end: End, namespace: str) -> str:
    """Why no peer of the rule is this end; empty when one is, or all are."""
    reasons = [_not_by_peer(one, end, namespace) for one in peers]
    return "" if not reasons or "" in reasons else " nor ".join(dict.fromkeys(reasons))


def _not_by_peer(peer: networking_v1.NetworkPolicyPeer, end: End, namespace: str) -> str:
    if peer.ip_block is not None:
        return _not_in_block(peer.ip_block, end)
    if not end.is_pod:
        return f"{end} is no Pod that a selector could meet"
    if peer.namespace_selector is None:
        if end.namespace != namespace:
            return f"{end} is not in namespace {namespace}"
    else:
        wanted = selectors.from_struct(peer.namespace_selector)
        if not wanted.matches(end.namespace_labels):
            return f"namespace {end.namespace} is not one with {wanted}"
    if peer.pod_selector is not None:
        chosen = selectors.from_struct(peer.pod_selector)
        if not chosen.matches(end.labels):
            return f"{end} is no Pod with {chosen}"
    return ""


def _not_in_block(block: networking_v1.IPBlock, end: End) -> str:
    if not end.address:
        return f"{end} has no address yet"
    address = ipaddress.ip_address(end.address)
    if address not in ipaddress.ip_network(block.cidr, strict=False):
        return f"{end.address} is not in {block.cidr}"
    for one in block.except_:
        if address in ipaddress.ip_network(one, strict=False):
            return f"{end.address} is in {one}, which {block.cidr} leaves out"
    return ""

"""What NetworkPolicies mean for the Pods of one node.

Pure: objects in, `PolicyRules` out. Source: `networking.k8s.io/v1` NetworkPolicy.
Shape: a rule has lines for IPv4 and, in a dual-stack cluster, lines for IPv6; their sets end with a 6.
Differs: peers on the host's network are met by ipBlock alone.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct, field

from carob.api.resources import add_view
from carob.api.selectors import NOTHING, SelectorError, from_struct
from carob.api.types import core_v1
from carob.network.policy import (
    ADDRESSES,
    ADDRESSES6,
    NAMED_PORTS,
    NAMED_PORTS6,
    PORTS,
    RANGES,
    RANGES6,
    PolicyRules,
)
from carob.network.service_rules import family_mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from carob.api.selectors import LabelSelector
    from carob.api.types import meta_v1, networking_v1

INGRESS, EGRESS = "ingress", "egress"


class PeerMeta(Struct, kw_only=True, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = field(default="", name="resourceVersion")
    labels: dict[str, str] = field(default_factory=dict)
    managed_fields: Raw = field(default_factory=lambda: Raw(b"[]"), name="managedFields")
    """Never looked at; declared because informers empty it."""


class PeerPort(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    container_port: int = field(default=0, name="containerPort")
    protocol: str = ""


class PeerContainer(Struct, kw_only=True, frozen=True, gc=False):
    ports: tuple[PeerPort, ...] = ()


class PeerSpec(Struct, kw_only=True, gc=False):
    node_name: str = field(default="", name="nodeName")
    host_network: bool = field(default=False, name="hostNetwork")
    containers: tuple[PeerContainer, ...] = ()
    init_containers: tuple[PeerContainer, ...] = field(default=(), name="initContainers")


class PeerStatus(Struct, kw_only=True, gc=False):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")


class Peer(Struct, kw_only=True, gc=False):
    """A Pod, as far as policies look at it."""

    metadata: PeerMeta = field(default_factory=PeerMeta)
    spec: PeerSpec = field(default_factory=PeerSpec)
    status: PeerStatus = field(default_factory=PeerStatus)

    @property
    def counts(self) -> bool:
        """Whether it has an address of its own."""
        ip = self.status.pod_ip
        ended = self.status.phase in ("Succeeded", "Failed")
        return bool(ip) and ":" not in ip and not self.spec.host_network and not ended

    def port(self, name: str, protocol: str) -> int:
        """The number of a named port; 0 if it has none."""
        for container in (*self.spec.containers, *self.spec.init_containers):
            for port in container.ports:
                if port.name == name and (port.protocol or "TCP") == protocol:
                    return port.container_port
        return 0

    @property
    def address6(self) -> str:
        """Its second address; empty in a cluster of one family."""
        return ""


class PeerAddress(Struct, kw_only=True, frozen=True, gc=False):
    ip: str = ""


class DualPeerStatus(PeerStatus, kw_only=True, gc=False):
    pod_ips: tuple[PeerAddress, ...] = field(default=(), name="podIPs")


class DualPeer(Peer, kw_only=True, gc=False):
    """A Pod of a dual-stack cluster."""

    status: DualPeerStatus = field(default_factory=DualPeerStatus)

    @property
    def address6(self) -> str:
        return next((one.ip for one in self.status.pod_ips if ":" in one.ip), "")


add_view(Peer, core_v1.Pod)
add_view(DualPeer, core_v1.Pod)


def directions(policy: networking_v1.NetworkPolicy) -> list[str]:
    """What the policy restricts. Source: the default of `policyTypes`."""
    spec = policy.spec
    if spec.policy_types:
        return [kind.lower() for kind in spec.policy_types]
    return [INGRESS, EGRESS] if spec.egress else [INGRESS]


def compile_policies(
    policies: Iterable[networking_v1.NetworkPolicy],
    pods: Iterable[Peer],
    namespaces: Mapping[str, Mapping[str, str]],
    node: str,
    *,
    dual: bool = False,
) -> PolicyRules:
    """The rules of a node. Shape: `namespaces` are labels by name. `dual`: the node has IPv6, too."""
    return _Compiler([pod for pod in pods if pod.counts], namespaces, node, dual=dual).compile(policies)


Match = tuple[str, str]
"""A part of a rule, and the family that it is about: empty for both, `4` or `6`."""


class _Compiler:
    def __init__(
        self, pods: Sequence[Peer], namespaces: Mapping[str, Mapping[str, str]], node: str, *, dual: bool
    ) -> None:
        self._namespaces = namespaces
        self._node = node
        self._dual = dual
        self._by_namespace: dict[str, list[Peer]] = {}
        for pod in pods:
            self._by_namespace.setdefault(pod.metadata.namespace, []).append(pod)
        self._rules = PolicyRules()

    def compile(self, policies: Iterable[networking_v1.NetworkPolicy]) -> PolicyRules:
        selecting: dict[tuple[str, str], list[tuple[str, list[str]]]] = {}
        for policy in sorted(policies, key=_key):
            here = [pod for pod in self._select(policy) if pod.spec.node_name == self._node]
            if not here:
                continue
            for direction in directions(policy):
                lines = self._direction(policy, direction, here)
                for pod in here:
                    for address in filter(None, (pod.status.pod_ip, pod.address6)):
                        selecting.setdefault((direction, address), []).append((_key(policy), lines))
        for (direction, address), found in selecting.items():
            six = family_mark(address)
            chain = f"{direction}-{_short(','.join(key for key, _ in found))}"
            self._rules.chains[chain] = [line for _, lines in found for line in lines] + ["drop"]
            self._rules.elements[f"{direction}{six}", address] = f"jump {chain}"
            self._rules.elements[f"itself{six}", f"{address} . {address}"] = ""
        return self._rules

    def _select(self, policy: networking_v1.NetworkPolicy) -> list[Peer]:
        selector = _selector(policy.spec.pod_selector)
        pods = self._by_namespace.get(policy.metadata.namespace, [])
        return [pod for pod in pods if selector.matches(pod.metadata.labels)]

    def _direction(self, policy: networking_v1.NetworkPolicy, direction: str, here: Sequence[Peer]) -> list[str]:
        lines: list[str] = []
        rules: Sequence[Any] = policy.spec.ingress if direction == INGRESS else policy.spec.egress
        for number, rule in enumerate(rules):
            peers = rule.from_ if direction == INGRESS else rule.to
            name = f"r{_short(f'{_key(policy)}/{direction}/{number}')}"
            lines += self._rule(name, direction, policy.metadata.namespace, peers, rule.ports, here)
        return lines

    def _rule(
        self,
        name: str,
        direction: str,
        namespace: str,
        peers: Sequence[networking_v1.NetworkPolicyPeer],
        ports: Sequence[networking_v1.NetworkPolicyPort],
        here: Sequence[Peer],
    ) -> list[str]:
        side = "saddr" if direction == INGRESS else "daddr"
        found = [pod for peer in peers if peer.ip_block is None for pod in self._peers(peer, namespace)]
        whom: list[Match] = []
        if not peers:
            whom.append(("", ""))
        if any(peer.ip_block is None for peer in peers):
            self._set(f"{name}-pods", ADDRESSES, {pod.status.pod_ip for pod in found})
            whom.append((f"ip {side} @{name}-pods ", "4"))
            if self._dual:
                self._set(f"{name}-pods6", ADDRESSES6, {pod.address6 for pod in found if pod.address6})
                whom.append((f"ip6 {side} @{name}-pods6 ", "6"))
        blocks = [peer.ip_block for peer in peers if peer.ip_block is not None]
        if blocks:
            self._set(f"{name}-blocks", RANGES, _blocks(blocks, 4))
            whom.append((f"ip {side} @{name}-blocks ", "4"))
            if self._dual:
                self._set(f"{name}-blocks6", RANGES6, _blocks(blocks, 6))
                whom.append((f"ip6 {side} @{name}-blocks6 ", "6"))
        ways = self._ports(name, ports, self._reached(direction, peers, found, here))
        return [f"{who}{where}return" for who, one in whom for where, other in ways if {one, other} != {"4", "6"}]

    def _reached(
        self,
        direction: str,
        peers: Sequence[networking_v1.NetworkPolicyPeer],
        found: Sequence[Peer],
        here: Sequence[Peer],
    ) -> Sequence[Peer]:
        """The Pods whose named ports a rule means: those that packets go to. In a block of addresses there may be any."""
        if direction == INGRESS:
            return here
        if peers and all(peer.ip_block is None for peer in peers):
            return found
        return [pod for pods in self._by_namespace.values() for pod in pods]

    def _ports(
        self, name: str, ports: Sequence[networking_v1.NetworkPolicyPort], reached: Sequence[Peer]
    ) -> list[Match]:
        if not ports:
            return [("", "")]
        found: list[Match] = []
        numbers: dict[str, list[tuple[int, int]]] = {}
        named: set[str] = set()
        named6: set[str] = set()
        has_names = False
        for port in ports:
            protocol = port.protocol or "TCP"
            if isinstance(port.port, str):
                has_names = True
                for pod in reached:
                    number = pod.port(port.port, protocol)
                    if number:
                        named.add(f"{pod.status.pod_ip} . {protocol.lower()} . {number}")
                    if number and pod.address6:
                        named6.add(f"{pod.address6} . {protocol.lower()} . {number}")
            elif port.port is None:
                numbers.setdefault(protocol.lower(), []).append((0, 65535))
            else:
                numbers.setdefault(protocol.lower(), []).append((port.port, port.end_port or port.port))
        if numbers:
            keys = {f"{p} . {_span(*one)}" for p, spans in numbers.items() for one in _joined(spans)}
            self._set(f"{name}-ports", PORTS, keys)
            found.append((f"meta l4proto . th dport @{name}-ports ", ""))
        if has_names:
            self._set(f"{name}-named", NAMED_PORTS, named)
            found.append((f"ip daddr . meta l4proto . th dport @{name}-named ", "4"))
            if self._dual:
                self._set(f"{name}-named6", NAMED_PORTS6, named6)
                found.append((f"ip6 daddr . meta l4proto . th dport @{name}-named6 ", "6"))
        return found

    def _peers(self, peer: networking_v1.NetworkPolicyPeer, own: str) -> list[Peer]:
        if peer.namespace_selector is None:
            names = [own]
        else:
            wanted = _selector(peer.namespace_selector)
            names = [name for name, labels in self._namespaces.items() if wanted.matches(labels)]
        pods = [pod for name in names for pod in self._by_namespace.get(name, [])]
        if peer.pod_selector is None:
            return pods
        selector = _selector(peer.pod_selector)
        return [pod for pod in pods if selector.matches(pod.metadata.labels)]

    def _set(self, name: str, kind: str, keys: Iterable[str]) -> None:
        self._rules.sets[name] = kind
        for key in keys:
            self._rules.elements[name, key] = ""


def _key(policy: networking_v1.NetworkPolicy) -> str:
    return f"{policy.metadata.namespace}/{policy.metadata.name}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _selector(struct: meta_v1.LabelSelector) -> LabelSelector:
    try:
        return from_struct(struct)
    except SelectorError:
        return NOTHING


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same ports in as few spans as possible, none touching another."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _blocks(blocks: Iterable[networking_v1.IPBlock], version: int) -> list[str]:
    """All addresses of the blocks of an IP version without their exceptions, as ranges that do not overlap."""
    left: list[Any] = []
    for block in blocks:
        whole = ipaddress.ip_network(block.cidr, strict=False)
        if whole.version != version:
            continue
        parts: list[Any] = [whole]
        for text in block.except_:
            hole = ipaddress.ip_network(text, strict=False)
            if hole.version == version:
                parts = [piece for part in parts for piece in _without(part, hole)]
        left += parts
    return [str(network) for network in ipaddress.collapse_addresses(left)]


def _without(part: Any, hole: Any) -> list[Any]:
    """What is left of a range without another one of the same family."""
    if part.subnet_of(hole):
        return []
    return list(part.address_exclude(hole)) if hole.subnet_of(part) else [part]

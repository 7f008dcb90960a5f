"""`describe` of what is decreed: PodDisruptionBudget and NetworkPolicy.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.workloads import selector_text
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree


def describe_budget(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about a PodDisruptionBudget."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    if spec.get("minAvailable") is not None:
        writer.line(0, f"Min available:\t{spec['minAvailable']}")
    elif spec.get("maxUnavailable") is not None:
        writer.line(0, f"Max unavailable:\t{spec['maxUnavailable']}")
    selector = spec.get("selector")
    writer.line(0, "Selector:\t" + (selector_text(selector) if selector is not None else "<unset>"))
    writer.line(0, "Status:")
    for field, title in (
        ("disruptionsAllowed", "Allowed disruptions"),
        ("currentHealthy", "Current"),
        ("desiredHealthy", "Desired"),
        ("expectedPods", "Total"),
    ):
        writer.line(2, f"{title}:\t{status.get(field, 0)}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_network_policy(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about a NetworkPolicy; kubectl shows no events here."""
    writer = Writer()
    metadata, spec = tree["metadata"], tree.get("spec") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(0, f"Created on:\t{_go_time(metadata['creationTimestamp'])}")
    parts.marks(writer, metadata)
    writer.line(0, "Spec:")
    selector = spec.get("podSelector") or {}
    writer.write(1, "PodSelector: ")
    if selector.get("matchLabels") or selector.get("matchExpressions"):
        writer.line(0, f"    {_selector(selector)}")
    else:
        writer.line(0, "    <none> (Allowing the specific traffic to all pods in this namespace)")
    types = spec.get("policyTypes") or []
    for kind, word, peers in (("Ingress", "ingress", "from"), ("Egress", "egress", "to")):
        if kind in types:
            writer.line(1, f"Allowing {word} traffic:")
            _rules(writer, spec.get(word) or [], word, peers)
        else:
            writer.line(1, f"Not affecting {word} traffic")
    writer.line(1, f"Policy Types: {', '.join(types)}")
    return writer.text()


def _go_time(text: str) -> str:
    """As Go prints a time of the machine's own zone: `2026-11-28 20:32:53 +0000 UTC`."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")


def _selector(selector: Tree) -> str:
    return selector_text(selector)


def _rules(writer: Writer, rules: Sequence[Tree], word: str, peers: str) -> None:
    if not rules:
        writer.line(2, f"<none> (Selected pods are isolated for {word} connectivity)")
        return
    side = {"from": "source", "to": "destination"}[peers]
    for index, rule in enumerate(rules):
        ports = rule.get("ports") or []
        if not ports:
            writer.line(2, "To Port: <any> (traffic allowed to all ports)")
        for port in ports:
            _port(writer, port)
        if not rule.get(peers):
            writer.line(2, f"{peers.title()}: <any> (traffic not restricted by {side})")
        for peer in rule.get(peers) or []:
            writer.line(2, f"{peers.title()}:")
            _peer(writer, peer)
        if index != len(rules) - 1:
            writer.line(2, "----------")


def _port(writer: Writer, port: Tree) -> None:
    protocol = port.get("protocol") or "TCP"
    if port.get("endPort") is not None:
        writer.line(2, f"To Port Range: {port.get('port')}-{port['endPort']}/{protocol}")
    else:
        writer.line(2, f"To Port: {port['port'] if port.get('port') is not None else '<any>'}/{protocol}")


def _peer(writer: Writer, peer: Tree) -> None:
    if peer.get("ipBlock"):
        writer.line(3, "IPBlock:")
        writer.line(4, f"CIDR: {peer['ipBlock'].get('cidr', '')}")
        writer.line(4, f"Except: {', '.join(peer['ipBlock'].get('except') or [])}")
        return
    for field, title in (("namespaceSelector", "NamespaceSelector"), ("podSelector", "PodSelector")):
        if peer.get(field) is not None:
            writer.line(3, f"{title}: {_selector(peer[field])}")

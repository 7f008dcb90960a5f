"""`describe` of Ingress and IngressClass, of ServiceCIDR and IPAddress.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.cli.describers.parts import Tree


def describe_ingress(tree: Tree, events: Sequence[Tree] | None, endpoints: Callable[[Tree], str]) -> str:
    """The whole text; `endpoints` says what stands behind a service backend."""
    writer = Writer()
    metadata, spec = tree["metadata"], tree.get("spec") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    parts.labels(writer, "Labels", metadata.get("labels"))
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(0, f"Address:\t{_addresses(tree)}")
    writer.line(0, f"Ingress Class:\t{spec.get('ingressClassName') or '<none>'}")
    default = spec.get("defaultBackend")
    writer.line(0, f"Default backend:\t{_backend(default, endpoints) if default else '<default>'}")
    if spec.get("tls"):
        writer.line(0, "TLS:")
        for tls in spec["tls"]:
            hosts = ",".join(tls.get("hosts") or [])
            if tls.get("secretName"):
                writer.line(1, f"{tls['secretName']} terminates {hosts}")
            else:
                writer.line(1, f"SNI routes {hosts}")
    writer.line(0, "Rules:\n  Host\tPath\tBackends")
    writer.line(1, "----\t----\t--------")
    count = 0
    for rule in spec.get("rules") or []:
        if not rule.get("http"):
            continue
        count += 1
        writer.line(1, f"{rule.get('host') or '*'}\t")
        for path in rule["http"].get("paths") or []:
            writer.line(2, f"\t{path.get('path', '')} \t{_backend(path.get('backend') or {}, endpoints)}")
    if count == 0:
        shown = _backend(default, endpoints) if default else "<default>"
        writer.line(1, f"*\t*\t{shown}")
    parts.annotation_lines(writer, "Annotations", metadata.get("annotations"))
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _addresses(tree: Tree) -> str:
    found = ((tree.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return ",".join(str(i.get("ip") or i.get("hostname") or "") for i in found)


def _backend(backend: Tree, endpoints: Callable[[Tree], str]) -> str:
    service, resource = backend.get("service"), backend.get("resource")
    if service:
        port = service.get("port") or {}
        return f"{service.get('name')}:{port.get('number') or port.get('name', '')} ({endpoints(backend)})"
    if resource:
        group = resource.get("apiGroup") or "<none>"
        return f"APIGroup: {group}, Kind: {resource.get('kind')}, Name: {resource.get('name')}"
    return ""


def describe_ingress_class(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about an IngressClass."""
    writer = Writer()
    parts.head(writer, tree["metadata"], namespaced=False)
    spec = tree.get("spec") or {}
    writer.line(0, f"Controller:\t{spec.get('controller', '')}")
    parameters = spec.get("parameters")
    if parameters:
        writer.line(0, "Parameters:")
        if parameters.get("apiGroup"):
            writer.line(1, f"APIGroup:\t{parameters['apiGroup']}")
        writer.line(1, f"Kind:\t{parameters.get('kind', '')}")
        writer.line(1, f"Name:\t{parameters.get('name', '')}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_service_cidr(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about a ServiceCIDR."""
    writer = Writer()
    parts.head(writer, tree["metadata"], namespaced=False)
    writer.line(0, f"CIDRs:\t{', '.join((tree.get('spec') or {}).get('cidrs') or [])}")
    conditions = (tree.get("status") or {}).get("conditions") or []
    if conditions:
        writer.line(0, "Status:")
        writer.line(0, "Conditions:")
        writer.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage")
        writer.line(1, "----\t------\t------------------\t------\t-------")
        for c in conditions:
            cells = (c.get("type"), c.get("status"), parts.rfc1123(c["lastTransitionTime"]), c.get("reason", ""))
            writer.line(1, "\t".join(str(cell) for cell in cells) + f"\t{c.get('message', '')}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_ip_address(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about an IPAddress."""
    writer = Writer()
    parts.head(writer, tree["metadata"], namespaced=False)
    parent = (tree.get("spec") or {}).get("parentRef")
    if parent is not None:
        writer.line(0, "Parent Reference:")
        for field, title in (
            ("group", "Group"),
            ("resource", "Resource"),
            ("namespace", "Namespace"),
            ("name", "Name"),
        ):
            writer.line(1, f"{title}:\t{parent.get(field, '')}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()

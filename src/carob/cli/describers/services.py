"""`describe` of Services, and of what stands behind them.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.writer import Writer
from carob.cli.printers.table import format_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

MAX_ENDPOINTS = 3


def describe_service(tree: Tree, slices: Sequence[Tree], events: Sequence[Tree] | None) -> str:
    """The whole text; `slices` are the Service's EndpointSlices."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    parts.head(writer, metadata)
    writer.line(0, f"Selector:\t{format_labels(spec.get('selector') or {})}")
    writer.line(0, f"Type:\t{spec.get('type', '')}")
    if spec.get("ipFamilyPolicy"):
        writer.line(0, f"IP Family Policy:\t{spec['ipFamilyPolicy']}")
    writer.line(0, f"IP Families:\t{','.join(spec.get('ipFamilies') or []) or '<none>'}")
    writer.line(0, f"IP:\t{spec.get('clusterIP', '')}")
    writer.line(0, f"IPs:\t{','.join(spec.get('clusterIPs') or []) or '<none>'}")
    if spec.get("externalIPs"):
        writer.line(0, f"External IPs:\t{','.join(spec['externalIPs'])}")
    if spec.get("loadBalancerIP"):
        writer.line(0, f"Desired LoadBalancer IP:\t{spec['loadBalancerIP']}")
    if spec.get("externalName"):
        writer.line(0, f"External Name:\t{spec['externalName']}")
    ingress = (status.get("loadBalancer") or {}).get("ingress") or []
    if ingress:
        writer.line(0, f"LoadBalancer Ingress:\t{', '.join(_ingress(i) for i in ingress)}")
    for port in spec.get("ports") or []:
        _port(writer, port, slices)
    _policies(writer, spec)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _ingress(ingress: Tree) -> str:
    address = ingress.get("ip") or ingress.get("hostname") or ""
    return f"{address} ({ingress['ipMode']})" if ingress.get("ipMode") else str(address)


def _port(writer: Writer, port: Tree, slices: Sequence[Tree]) -> None:
    name = port.get("name") or "<unset>"
    protocol = port.get("protocol", "TCP")
    writer.line(0, f"Port:\t{name}\t{port.get('port', 0)}/{protocol}")
    writer.line(0, f"TargetPort:\t{port.get('targetPort', 0)}/{protocol}")
    if port.get("nodePort"):
        writer.line(0, f"NodePort:\t{name}\t{port['nodePort']}/{protocol}")
    writer.line(0, f"Endpoints:\t{_endpoints(slices, port.get('name', ''))}")


def _endpoints(slices: Sequence[Tree], port_name: str) -> str:
    found: list[str] = []
    more = 0
    for one in slices:
        numbers = [p.get("port") for p in one.get("ports") or [] if (p.get("name") or "") == port_name]
        for number in numbers or ([None] if not one.get("ports") else []):
            for endpoint in one.get("endpoints") or []:
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint.get("addresses") or []:
                    host = f"[{address}]" if ":" in address else address
                    if len(found) == MAX_ENDPOINTS:
                        more += 1
                    else:
                        found.append(f"{host}:{number}" if number is not None else address)
    if not slices:
        return "<none>"
    return ",".join(found) + (f" + {more} more..." if more else "")


def backend_endpoints(service: Tree, slices: Sequence[Tree], port: Tree) -> str:
    """What stands behind this port (`number` or `name`) of a Service, as an Ingress shows it."""
    name = ""
    for one in (service.get("spec") or {}).get("ports") or []:
        if one.get("port") == port.get("number") or (port.get("name") and one.get("name") == port["name"]):
            name = one.get("name") or ""
            break
    return _endpoints(slices, name)


def _policies(writer: Writer, spec: Tree) -> None:
    writer.line(0, f"Session Affinity:\t{spec.get('sessionAffinity', '')}")
    for field, title in (
        ("externalTrafficPolicy", "External Traffic Policy"),
        ("internalTrafficPolicy", "Internal Traffic Policy"),
        ("trafficDistribution", "Traffic Distribution"),
        ("healthCheckNodePort", "HealthCheck NodePort"),
    ):
        if spec.get(field):
            writer.line(0, f"{title}:\t{spec[field]}")
    if spec.get("loadBalancerSourceRanges"):
        writer.line(0, f"LoadBalancer Source Ranges:\t{','.join(spec['loadBalancerSourceRanges'])}")


def describe_endpoints(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Addresses and ports, by subset."""
    writer = Writer()
    parts.head(writer, tree["metadata"])
    writer.line(0, "Subsets:")
    for subset in tree.get("subsets") or []:
        for field, title in (("addresses", "Addresses"), ("notReadyAddresses", "NotReadyAddresses")):
            addresses = ",".join(a.get("ip", "") for a in subset.get(field) or [])
            writer.line(1, f"{title}:\t{addresses or '<none>'}")
        if subset.get("ports"):
            writer.line(1, "Ports:")
            writer.line(2, "Name\tPort\tProtocol")
            writer.line(2, "----\t----\t--------")
            for port in subset["ports"]:
                writer.line(2, f"{port.get('name') or '<unset>'}\t{port.get('port', 0)}\t{port.get('protocol', 'TCP')}")
        writer.line(0, "")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_slice(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Ports, and every endpoint with its conditions."""
    writer = Writer()
    parts.head(writer, tree["metadata"])
    writer.line(0, f"AddressType:\t{tree.get('addressType', '')}")
    ports = tree.get("ports") or []
    writer.line(0, "Ports:" if ports else "Ports:\t<unset>")
    if ports:
        writer.line(1, "Name\tPort\tProtocol")
        writer.line(1, "----\t----\t--------")
        for port in ports:
            writer.line(
                1, f"{port.get('name') or '<unset>'}\t{port.get('port', '<unset>')}\t{port.get('protocol', '')}"
            )
    endpoints = tree.get("endpoints") or []
    writer.line(0, "Endpoints:" if endpoints else "Endpoints:\t<none>")
    for endpoint in endpoints:
        _endpoint(writer, endpoint)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _endpoint(writer: Writer, endpoint: Tree) -> None:
    writer.line(1, f"- Addresses:\t{', '.join(endpoint.get('addresses') or [])}")
    writer.line(2, "Conditions:")
    conditions = endpoint.get("conditions") or {}
    ready = conditions.get("ready")
    writer.line(3, f"Ready:\t{'<unset>' if ready is None else str(ready).lower()}")
    writer.line(2, f"Hostname:\t{endpoint.get('hostname') or '<unset>'}")
    target = endpoint.get("targetRef")
    if target:
        writer.line(2, f"TargetRef:\t{target.get('kind')}/{target.get('name')}")
    writer.line(2, f"NodeName:\t{endpoint.get('nodeName') or '<unset>'}")
    writer.line(2, f"Zone:\t{endpoint.get('zone') or '<unset>'}")

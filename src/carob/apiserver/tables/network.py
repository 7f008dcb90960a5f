"""Rows of Services, endpoints, networking and discovery.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.tables.text import NONE, UNSET, age, balancer, labels, selector, shortened

if TYPE_CHECKING:
    from carob.api.types import core_v1, discovery_v1, networking_v1

SHOWN_ENDPOINTS = 3
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def _service(obj: core_v1.Service, now: float) -> list[Any]:
    spec = obj.spec
    return [
        obj.metadata.name,
        spec.type,
        spec.cluster_ips[0] if spec.cluster_ips else NONE,
        _external(obj),
        _ports(spec.ports),
        age(obj, now),
        labels(spec.selector),
    ]


def _external(obj: core_v1.Service) -> str:
    spec = obj.spec
    if spec.type == "ExternalName":
        return spec.external_name
    if spec.type != "LoadBalancer":
        return ",".join(spec.external_ips) or NONE
    shown = balancer(obj.status.load_balancer.ingress)
    both = [*(shown.split(",") if shown else []), *spec.external_ips]
    return ",".join(both) or "<pending>"


def _ports(ports: list[core_v1.ServicePort]) -> str:
    shown = [
        f"{port.port}:{port.node_port}/{port.protocol}" if port.node_port else f"{port.port}/{port.protocol}"
        for port in ports
    ]
    return ",".join(shown) or NONE


def _endpoints(obj: core_v1.Endpoints, now: float) -> list[Any]:
    shown: list[str] = []
    for subset in obj.subsets:
        if not subset.ports:
            shown += [address.ip for address in subset.addresses]
        for port in subset.ports:
            shown += [_host_port(address.ip, port.port) for address in subset.addresses]
    text = shortened(shown, SHOWN_ENDPOINTS) if obj.subsets else NONE
    return [obj.metadata.name, text, age(obj, now)]


def _host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _endpoint_slice(obj: discovery_v1.EndpointSlice, now: float) -> list[Any]:
    ports = ["*" if port.port is None else str(port.port) for port in obj.ports or []]
    addresses = [address for endpoint in obj.endpoints or [] for address in endpoint.addresses]
    return [
        obj.metadata.name,
        obj.address_type,
        shortened(ports, SHOWN_ENDPOINTS) or UNSET,
        shortened(addresses, SHOWN_ENDPOINTS) or UNSET,
        age(obj, now),
    ]


def _network_policy(obj: networking_v1.NetworkPolicy, now: float) -> list[Any]:
    return [obj.metadata.name, selector(obj.spec.pod_selector), age(obj, now)]


def _ingress(obj: networking_v1.Ingress, now: float) -> list[Any]:
    kind = obj.spec.ingress_class_name or obj.metadata.annotations.get(_CLASS_ANNOTATION) or NONE
    hosts = [rule.host for rule in obj.spec.rules if rule.host]
    return [
        obj.metadata.name,
        kind,
        shortened(hosts, SHOWN_ENDPOINTS) or "*",
        balancer(obj.status.load_balancer.ingress),
        "80, 443" if obj.spec.tls else "80",
        age(obj, now),
    ]


def _ingress_class(obj: networking_v1.IngressClass, now: float) -> list[Any]:
    found = obj.spec.parameters
    shown = NONE
    if found is not None:
        shown = f"{found.kind}.{found.api_group}/{found.name}" if found.api_group else f"{found.kind}/{found.name}"
    return [obj.metadata.name, obj.spec.controller, shown, age(obj, now)]


def _ip_address(obj: networking_v1.IPAddress, now: float) -> list[Any]:
    found = obj.spec.parent_ref
    shown = NONE
    if found is not None:
        resource = f"{found.resource}.{found.group}" if found.group else found.resource
        shown = "/".join(part for part in (resource, found.namespace, found.name) if part)
    return [obj.metadata.name, shown, age(obj, now)]


def _service_range(obj: networking_v1.ServiceCIDR, now: float) -> list[Any]:
    return [obj.metadata.name, ",".join(obj.spec.cidrs), age(obj, now)]


CELLS = {
    "endpoints": _endpoints,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "ingressclasses.networking.k8s.io": _ingress_class,
    "ingresses.networking.k8s.io": _ingress,
    "ipaddresses.networking.k8s.io": _ip_address,
    "networkpolicies.networking.k8s.io": _network_policy,
    "servicecidrs.networking.k8s.io": _service_range,
    "services": _service,
}

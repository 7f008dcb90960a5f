"""What a Service asks of a node's network: each of its ports, and the endpoints behind it.

Pure. Source: kube-proxy `pkg/proxy/topology.go` (CategorizeEndpoints), `serviceport.go`; KEP-1669 (terminating
endpoints serve while there is no other), KEP-4444 (trafficDistribution).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.network.services import ANY_NODE6, Backends, Endpoint, ServicePort

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.api.types import core_v1, discovery_v1

SERVICE_LABEL = "kubernetes.io/service-name"
FOREIGN_LABELS = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
"""Services with one of them, whatever its value, are left to others."""
DEFAULT_STICKY_SECONDS = 10800


class Place(NamedTuple):
    """Where the node is."""

    node: str
    zone: str = ""


def service_of(one: discovery_v1.EndpointSlice) -> tuple[str, ...]:
    """The key of the Service whose slice this is."""
    name = one.metadata.labels.get(SERVICE_LABEL)
    return (f"{one.metadata.namespace}/{name}",) if name else ()


def listeners(
    service: core_v1.Service, slices: Sequence[discovery_v1.EndpointSlice], place: Place, *, dual: bool = False
) -> dict[ServicePort, Backends]:
    """Every port of the Service on this node; none for a Service without an address. `dual`: also those in IPv6."""
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
        return {}
    if any(label in service.metadata.labels for label in FOREIGN_LABELS):
        return {}
    found = _of_family(service, slices, place, "IPv4")
    return found | _of_family(service, slices, place, "IPv6") if dual else found


def _of_family(
    service: core_v1.Service, slices: Sequence[discovery_v1.EndpointSlice], place: Place, family: str
) -> dict[ServicePort, Backends]:
    """What has the family's addresses; nothing for a Service that was not given one."""
    spec = service.spec
    own = _only(family, spec.cluster_ips or [spec.cluster_ip])
    if not own:
        return {}
    sticky = _sticky_seconds(spec)
    slices = [one for one in slices if one.address_type == family]
    ranges = tuple(_only(family, (text.strip() for text in spec.load_balancer_source_ranges)))
    balancers = [i.ip for i in service.status.load_balancer.ingress if i.ip and i.ip_mode != "Proxy"]
    found: dict[ServicePort, Backends] = {}
    for port in spec.ports:
        protocol = (port.protocol or "TCP").lower()
        everything = [
            (endpoint, number) for one in slices for endpoint, number in _of_port(one, port.name, protocol.upper())
        ]
        whole = usable(everything, place)
        local = _serving([pair for pair in everything if pair[0].node_name == place.node])
        inside = Backends(whole, sticky_seconds=sticky)
        outside = inside._replace(outside=local) if spec.external_traffic_policy == "Local" and whole else inside
        if spec.internal_traffic_policy == "Local":
            inside = Backends(local, sticky_seconds=sticky, drops=bool(everything))
        for address in own:
            found[ServicePort(address, protocol, port.port)] = inside
        for address in _only(family, spec.external_ips):
            found[ServicePort(address, protocol, port.port)] = outside
        if spec.type == "LoadBalancer":
            for address in _only(family, balancers):
                found[ServicePort(address, protocol, port.port)] = outside._replace(sources=ranges)
        if port.node_port and spec.type in ("NodePort", "LoadBalancer"):
            found[ServicePort(ANY_NODE6 if family == "IPv6" else "", protocol, port.node_port)] = outside
    return found


def _only(family: str, texts: Iterable[str]) -> list[str]:
    """The addresses or ranges of a family."""
    return [text for text in texts if (":" in text) == (family == "IPv6")]


def _sticky_seconds(spec: core_v1.ServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config is not None and config.client_ip is not None else None
    return seconds or DEFAULT_STICKY_SECONDS


Pair = tuple["discovery_v1.Endpoint", int]


def _of_port(one: discovery_v1.EndpointSlice, name: str, protocol: str) -> list[Pair]:
    numbers = [
        p.port for p in one.ports or () if (p.name or "") == name and (p.protocol or "TCP") == protocol and p.port
    ]
    return [(endpoint, number) for endpoint in one.endpoints or () for number in numbers]


def usable(pairs: Sequence[Pair], place: Place) -> tuple[Endpoint, ...]:
    """The endpoints for clients of this node: near ones if every endpoint says whom it is for."""
    ready = [pair for pair in pairs if pair[0].conditions.ready is not False]
    if not ready:
        return _serving(pairs)
    hints = [endpoint.hints for endpoint, _ in ready]
    if place.node and all(h is not None and h.for_nodes for h in hints):
        near = [p for p, h in zip(ready, hints, strict=True) if h and any(n.name == place.node for n in h.for_nodes)]
        if near:
            return _addresses(near)
    if place.zone and all(h is not None and h.for_zones for h in hints):
        near = [p for p, h in zip(ready, hints, strict=True) if h and any(z.name == place.zone for z in h.for_zones)]
        if near:
            return _addresses(near)
    return _addresses(ready)


def _serving(pairs: Sequence[Pair]) -> tuple[Endpoint, ...]:
    """Those that are ready; if there is none, those that end but still serve."""
    ready = [pair for pair in pairs if pair[0].conditions.ready is not False]
    return _addresses(ready or [p for p in pairs if p[0].conditions.serving and p[0].conditions.terminating])


def _addresses(pairs: Iterable[Pair]) -> tuple[Endpoint, ...]:
    return tuple(sorted({Endpoint(endpoint.addresses[0], number) for endpoint, number in pairs if endpoint.addresses}))

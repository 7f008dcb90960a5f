"""Which names a Service has, by the cluster's DNS specification.

Pure. Source: Kubernetes DNS-Based Service Discovery 1.1.0; CoreDNS plugin `kubernetes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.network.dns.zone import Record, dashed, reverse_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from carob.api.types import core_v1, discovery_v1


def records_of(service: core_v1.Service, slices: Sequence[discovery_v1.EndpointSlice], domain: str) -> Iterator[Record]:
    """Every record of the Service."""
    metadata, spec = service.metadata, service.spec
    name = f"{metadata.name}.{metadata.namespace}.svc.{domain}"
    if spec.type == "ExternalName":
        yield Record(name, "CNAME", spec.external_name.lower().rstrip("."))
    elif spec.cluster_ip == "None":
        yield from _headless(name, slices)
    elif spec.cluster_ip:
        for address in spec.cluster_ips or [spec.cluster_ip]:
            yield Record(name, _kind(address), address)
            yield Record(reverse_name(address), "PTR", name)
        for port in spec.ports:
            yield from _ports(name, port.name, port.protocol, f"0 100 {port.port} {name}")


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _ports(name: str, port: str, protocol: str | None, data: str) -> Iterator[Record]:
    yield Record(name, "SRV", data)
    if port:
        yield Record(f"_{port.lower()}._{(protocol or 'TCP').lower()}.{name}", "SRV", data)


def _headless(name: str, slices: Iterable[discovery_v1.EndpointSlice]) -> Iterator[Record]:
    found = [
        (one, endpoint, address)
        for one in slices
        if one.address_type in ("IPv4", "IPv6")
        for endpoint in one.endpoints or ()
        if endpoint.conditions.ready is not False
        for address in endpoint.addresses[:1]
    ]
    weight = max(1, 100 // max(1, len(found)))
    for one, endpoint, address in found:
        own = f"{(endpoint.hostname or dashed(address)).lower()}.{name}"
        yield Record(name, _kind(address), address)
        yield Record(own, _kind(address), address)
        yield Record(reverse_name(address), "PTR", own)
        for port in one.ports or ():
            if port.port:
                yield from _ports(name, port.name or "", port.protocol, f"0 {weight} {port.port} {own}")

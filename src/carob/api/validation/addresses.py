"""Rules of IPAddresses, ServiceCIDRs and EndpointSlices.

Pure. Source: `pkg/apis/{networking,discovery}/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import discovery_v1, networking_v1
from carob.api.validation import field, meta, names
from carob.api.validation.containers import PROTOCOLS, port_number
from carob.api.validation.pod import address
from carob.api.validation.service import ordinary_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.validation.field import Cause

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS, MAX_ADDRESSES, MAX_PORTS, MAX_HINTS, MAX_TOPOLOGY = 1000, 100, 20_000, 8, 16
HOST_LABEL = "kubernetes.io/hostname"


def _address_name(value: str) -> list[str]:
    ip = names.parse_ip(value)
    if ip is None:
        return [names.IP_WORDS]
    return [] if str(ip) == value else [f'must be in canonical form ("{ip}")']


def ip_address(out: list[Cause], obj: networking_v1.IPAddress) -> None:
    """An address in use; its name is the address."""
    meta.core(out, obj.metadata, False, _address_name)
    parent = obj.spec.parent_ref
    if parent is None:
        out.append(field.required("spec.parentRef"))
        return
    here = "spec.parentRef"
    if parent.group:
        meta.wrong_name(out, f"{here}.group", parent.group, names.dns_subdomain(parent.group))
    for name, value in (("resource", parent.resource), ("name", parent.name)):
        if not value:
            out.append(field.required(f"{here}.{name}"))
        else:
            meta.wrong_name(out, f"{here}.{name}", value, names.path_segment(value))
    if parent.namespace:
        meta.wrong_name(out, f"{here}.namespace", parent.namespace, names.path_segment(parent.namespace))


def ip_address_update(out: list[Cause], new: networking_v1.IPAddress, old: networking_v1.IPAddress) -> None:
    """Who uses it stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec.parentRef", new.spec.parent_ref, old.spec.parent_ref)


def service_range(out: list[Cause], obj: networking_v1.ServiceCIDR) -> None:
    """A range of addresses for Services."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _ranges(out, "spec.cidrs", obj.spec.cidrs)


def _ranges(out: list[Cause], path: str, ranges: Sequence[str]) -> None:
    if not ranges:
        out.append(field.required(path, "at least one CIDR required"))
        return
    if len(ranges) > 2:
        out.append(field.invalid(path, list(ranges), "may only hold up to 2 values"))
        return
    parsed = [names.parse_cidr(text) for text in ranges]
    if len(ranges) == 2 and {p.version for p in parsed if p is not None} != {4, 6}:
        words = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        out.append(field.invalid(path, list(ranges), words))
    for i, (text, one) in enumerate(zip(ranges, parsed, strict=True)):
        if one is None:
            out.append(field.invalid(f"{path}[{i}]", text, names.CIDR_WORDS))
        elif str(one.network) != text:
            words = f'must be in canonical form ("{one.network}")'
            if one.network.network_address != one.ip:
                words = "must not have bits set beyond the prefix length"
            out.append(field.invalid(f"{path}[{i}]", text, words))


def service_range_update(out: list[Cause], new: networking_v1.ServiceCIDR, old: networking_v1.ServiceCIDR) -> None:
    """The ranges stay; a second one may be added."""
    meta.core_updated(out, new.metadata, old.metadata)
    ours, theirs = new.spec.cidrs, old.spec.cidrs
    if len(theirs) == 1 and len(ours) == 2 and ours[0] == theirs[0]:
        _ranges(out, "spec.cidrs", ours)
    else:
        meta.immutable(out, "spec.cidrs", ours, theirs)


def endpoint_slice(out: list[Cause], obj: discovery_v1.EndpointSlice) -> None:
    """Part of the addresses behind a Service."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    kind = obj.address_type
    if not kind:
        out.append(field.required("addressType"))
    elif kind not in ADDRESS_TYPES:
        out.append(field.not_supported("addressType", kind, ADDRESS_TYPES))
    endpoints = obj.endpoints or []
    if len(endpoints) > MAX_ENDPOINTS:
        out.append(field.too_many("endpoints", len(endpoints), MAX_ENDPOINTS))
    else:
        for i, endpoint in enumerate(endpoints):
            _endpoint(out, f"endpoints[{i}]", endpoint, kind)
    _ports(out, "ports", obj.ports or [])


def _endpoint(out: list[Cause], path: str, endpoint: discovery_v1.Endpoint, kind: str) -> None:
    found = endpoint.addresses
    if not found:
        out.append(field.required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(found) > MAX_ADDRESSES:
        out.append(field.too_many(f"{path}.addresses", len(found), MAX_ADDRESSES))
    for j, text in enumerate(found):
        _address(out, f"{path}.addresses[{j}]", text, kind)
    if endpoint.node_name is not None:
        wrong = names.dns_subdomain(endpoint.node_name)
        meta.wrong_name(out, f"{path}.nodeName", endpoint.node_name, wrong)
    if len(endpoint.deprecated_topology) > MAX_TOPOLOGY:
        here = f"{path}.deprecatedTopology"
        out.append(field.too_many(here, len(endpoint.deprecated_topology), MAX_TOPOLOGY))
    meta.labels(out, f"{path}.deprecatedTopology", endpoint.deprecated_topology)
    if endpoint.hostname is not None:
        meta.wrong_name(out, f"{path}.hostname", endpoint.hostname, names.dns_label(endpoint.hostname))
    if endpoint.hints is not None:
        zones = [zone.name for zone in endpoint.hints.for_zones]
        _hints(out, f"{path}.hints.forZones", zones, names.label_value)
        nodes = [node.name for node in endpoint.hints.for_nodes]
        _hints(out, f"{path}.hints.forNodes", nodes, names.dns_subdomain)


def _hints(out: list[Cause], path: str, found: Sequence[str], rule: Callable[[str], Sequence[str]]) -> None:
    if len(found) > MAX_HINTS:
        out.append(field.too_many(path, len(found), MAX_HINTS))
        return
    again = field.repeated(found)
    for i, name in enumerate(found):
        here = f"{path}[{i}].name"
        if again[i]:
            out.append(field.duplicate(here, name))
        meta.wrong_name(out, here, name, rule(name))


def _address(out: list[Cause], path: str, text: str, kind: str) -> None:
    if kind == "FQDN":
        plain = text.removesuffix(".")
        meta.wrong_name(out, path, text, names.dns_subdomain(plain))
        if "." not in plain:
            out.append(field.invalid(path, text, "should be a domain with at least two segments separated by dots"))
    elif kind in ("IPv4", "IPv6"):
        ip = names.parse_ip(text)
        if ip is None or f"IPv{ip.version}" != kind:
            out.append(field.invalid(path, text, f"must be a valid {kind} address"))
        if ip is not None:
            address(out, path, text)
            ordinary_address(out, path, text)


def _ports(out: list[Cause], path: str, ports: Sequence[discovery_v1.EndpointPort]) -> None:
    if len(ports) > MAX_PORTS:
        out.append(field.too_many(path, len(ports), MAX_PORTS))
        return
    seen: set[str] = set()
    for i, found in enumerate(ports):
        here, name = f"{path}[{i}]", found.name or ""
        if name:
            meta.wrong_name(out, f"{here}.name", name, names.dns_label(name))
        if name in seen:
            out.append(field.duplicate(f"{here}.name", name))
        seen.add(name)
        if found.protocol is None:
            out.append(field.required(f"{here}.protocol"))
        elif found.protocol not in PROTOCOLS:
            out.append(field.not_supported(f"{here}.protocol", found.protocol, PROTOCOLS))
        if found.port is not None:
            port_number(out, f"{here}.port", found.port)
        if found.app_protocol is not None:
            wrong = names.qualified_name(found.app_protocol)
            meta.wrong_name(out, f"{here}.appProtocol", found.app_protocol, wrong)


def endpoint_slice_update(out: list[Cause], new: discovery_v1.EndpointSlice, old: discovery_v1.EndpointSlice) -> None:
    """A changed slice; the type of its addresses stays."""
    endpoint_slice(out, new)
    meta.immutable(out, "addressType", new.address_type, old.address_type)


CREATE: dict[type[Any], Any] = {
    networking_v1.IPAddress: ip_address,
    networking_v1.ServiceCIDR: service_range,
    discovery_v1.EndpointSlice: endpoint_slice,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (networking_v1.IPAddress, ""): ip_address_update,
    (networking_v1.ServiceCIDR, ""): service_range_update,
    (discovery_v1.EndpointSlice, ""): endpoint_slice_update,
}

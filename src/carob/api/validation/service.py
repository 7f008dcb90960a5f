"""Rules of Services and Endpoints. Pure. Source: `pkg/apis/core/validation` (ValidateService and below)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from carob.api.defaulting.core import externally_accessible
from carob.api.types import core_v1
from carob.api.validation import field, meta, names
from carob.api.validation.containers import PROTOCOLS, port_number
from carob.api.validation.pod import address
from carob.api.validation.probes import port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
MAX_AFFINITY_SECONDS = 86400
_TOPOLOGY, _OLD_TOPOLOGY = "service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"
_OLD_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"
_SET_ONCE = "may not change once set"


def is_headless(spec: core_v1.ServiceSpec) -> bool:
    """True for a Service without an address of its own."""
    return spec.cluster_ips == ["None"]


def needs_health_check(spec: core_v1.ServiceSpec) -> bool:
    """True where a load balancer must ask each node."""
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def service(out: list[Cause], obj: core_v1.Service) -> None:
    """A Service, with addresses and ports already allocated."""
    meta.core(out, obj.metadata, True, names.dns_1035_label)
    hints, mode = (obj.metadata.annotations.get(key) for key in (_OLD_TOPOLOGY, _TOPOLOGY))
    if hints is not None and mode is not None and hints != mode:
        words = f"must match annotations[{_OLD_TOPOLOGY}] when both are specified"
        out.append(field.invalid(f"metadata.annotations[{_TOPOLOGY}]", mode, words))
    spec = obj.spec
    headless = is_headless(spec)
    if not spec.ports and not headless and spec.type != "ExternalName":
        out.append(field.required("spec.ports"))
    if headless and spec.type in ("LoadBalancer", "NodePort"):
        words = f"may not be set to 'None' for {spec.type} services"
        out.append(field.invalid("spec.clusterIPs[0]", "None", words))
    elif spec.type == "ExternalName":
        _external_name(out, spec)
    _ports(out, spec.ports)
    if spec.selector:
        meta.labels(out, "spec.selector", spec.selector)
    _affinity(out, spec)
    family_fields(out, spec)
    if spec.ip_family_policy == "SingleStack" and len(spec.ip_families) > 1:
        # the server says so earlier, where it settles the families
        words = "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"
        out.append(field.invalid("spec.ipFamilyPolicy", spec.ip_family_policy, words))
    for i, ip in enumerate(spec.external_ips):
        here = f"spec.externalIPs[{i}]"
        address(out, here, ip)
        if names.parse_ip(ip) is not None:
            ordinary_address(out, here, ip)
    if spec.type not in TYPES:
        out.append(field.not_supported("spec.type", spec.type, TYPES) if spec.type else field.required("spec.type"))
    _port_numbers(out, spec)
    _source_ranges(out, obj)
    if spec.allocate_load_balancer_node_ports is not None and spec.type != "LoadBalancer":
        out.append(field.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_LOAD_BALANCER))
    if spec.allocate_load_balancer_node_ports is None and spec.type == "LoadBalancer":
        out.append(field.required("allocateLoadBalancerNodePorts"))
    _load_balancer_class(out, spec)
    _traffic(out, spec)


def _external_name(out: list[Cause], spec: core_v1.ServiceSpec) -> None:
    for name, value in (
        ("clusterIPs", spec.cluster_ips),
        ("ipFamilies", spec.ip_families),
        ("ipFamilyPolicy", spec.ip_family_policy),
    ):
        if value:
            out.append(field.forbidden(f"spec.{name}", "may not be set for ExternalName services"))
    name = spec.external_name.removesuffix(".")
    if not name:
        out.append(field.required("spec.externalName"))
    else:
        meta.wrong_name(out, "spec.externalName", name, names.dns_subdomain(name))


def _ports(out: list[Cause], ports: Sequence[core_v1.ServicePort]) -> None:
    taken: set[str] = set()
    for i, found in enumerate(ports):
        here = f"spec.ports[{i}]"
        if found.name:
            meta.wrong_name(out, f"{here}.name", found.name, names.dns_label(found.name))
            if found.name in taken:
                out.append(field.duplicate(f"{here}.name", found.name))
            taken.add(found.name)
        elif len(ports) > 1:
            out.append(field.required(f"{here}.name"))
        port_number(out, f"{here}.port", found.port)
        if found.protocol not in PROTOCOLS:
            shown = f"{here}.protocol"
            missing = not found.protocol
            out.append(field.required(shown) if missing else field.not_supported(shown, found.protocol, PROTOCOLS))
        port(out, f"{here}.targetPort", found.target_port)
        if found.app_protocol is not None:
            meta.wrong_name(out, f"{here}.appProtocol", found.app_protocol, names.qualified_name(found.app_protocol))


def _affinity(out: list[Cause], spec: core_v1.ServiceSpec) -> None:
    affinity, config = spec.session_affinity, spec.session_affinity_config
    path = "spec.sessionAffinityConfig"
    if affinity not in ("ClientIP", "None"):
        here = "spec.sessionAffinity"
        supported = ("ClientIP", "None")
        out.append(field.not_supported(here, affinity, supported) if affinity else field.required(here))
    if affinity == "ClientIP":
        words = "when session affinity type is ClientIP"
        if config is None:
            out.append(field.required(path, words))
        elif config.client_ip is None:
            out.append(field.required(f"{path}.clientIP", words))
        elif config.client_ip.timeout_seconds is None:
            out.append(field.required(f"{path}.clientIP.timeoutSeconds", words))
        elif not 0 < config.client_ip.timeout_seconds <= MAX_AFFINITY_SECONDS:
            words = f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"
            seconds = config.client_ip.timeout_seconds
            out.append(field.invalid(f"{path}.clientIP.timeoutSeconds", seconds, words))
    elif affinity == "None" and config is not None:
        out.append(field.forbidden(path, "must not be set when session affinity is None"))


def family_fields(out: list[Cause], spec: core_v1.ServiceSpec) -> None:
    """Addresses, families and their policy, as they fit each other."""
    if spec.type == "ExternalName":
        return
    ips, path = spec.cluster_ips, "spec.clusterIPs"
    if spec.cluster_ip and not ips:
        out.append(field.required(path))
    elif spec.cluster_ip and ips[0] != spec.cluster_ip:
        out.append(field.invalid(path, ips, "first value must match `clusterIP`"))
    elif not spec.cluster_ip and ips:
        out.append(field.invalid(path, ips, "must be empty when `clusterIP` is not specified"))
    again = field.repeated(spec.ip_families)
    for i, family in enumerate(spec.ip_families):
        here = f"spec.ipFamilies[{i}]"
        if family not in FAMILIES:
            out.append(field.not_supported(here, family, FAMILIES))
        if again[i]:
            out.append(field.duplicate(here, family))
    policy = spec.ip_family_policy
    if policy is not None and policy not in FAMILY_POLICIES:
        out.append(field.not_supported("spec.ipFamilyPolicy", policy, FAMILY_POLICIES))
    if _broken_ips(out, path, ips):
        return
    parsed = [names.parse_ip(ip) for ip in ips]
    if len(ips) > 1 and {p.version for p in parsed if p is not None} != {4, 6}:
        out.append(field.invalid(path, ips, "may specify no more than one IP for each IP family"))
    for i, (found, family) in enumerate(zip(parsed, spec.ip_families, strict=False)):
        if found is not None and family in FAMILIES and family != f"IPv{found.version}":
            words = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            out.append(field.invalid(f"{path}[{i}]", ips[i], words))


def _broken_ips(out: list[Cause], path: str, ips: Sequence[str]) -> bool:
    broken = False
    for i, ip in enumerate(ips):
        if i == 0 and ip == "None":
            if len(ips) > 1:
                broken = True
                out.append(field.invalid(path, list(ips), "'None' must be the first and only value"))
        else:
            address(out, f"{path}[{i}]", ip)
            broken = broken or names.parse_ip(ip) is None
    if len(ips) > 2:
        out.append(field.invalid(path, list(ips), "may only hold up to 2 values"))
    return broken


def ordinary_address(out: list[Cause], path: str, value: str) -> None:
    """An address that traffic can be sent to: none that means the machine itself or everybody."""
    ip = names.parse_ip(value)
    if ip is None:
        out.append(field.invalid(path, value, "must be a valid IP address"))
        return
    if ip.is_unspecified:
        out.append(field.invalid(path, value, f"may not be unspecified ({value})"))
    if ip.is_loopback:
        out.append(field.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if ip.is_link_local:
        out.append(field.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    multicast = ipaddress.ip_network("224.0.0.0/24" if ip.version == 4 else "ff02::/16")
    if ip in multicast:
        words = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        out.append(field.invalid(path, value, words))


def _port_numbers(out: list[Cause], spec: core_v1.ServiceSpec) -> None:
    for i, found in enumerate(spec.ports):
        if found.node_port and spec.type == "ClusterIP":
            words = "may not be used when `type` is 'ClusterIP'"
            out.append(field.forbidden(f"spec.ports[{i}].nodePort", words))
    seen_nodes: set[tuple[str, int]] = set()
    for i, found in enumerate(spec.ports):
        key = (found.protocol, found.node_port)
        if found.node_port and key in seen_nodes:
            out.append(field.duplicate(f"spec.ports[{i}].nodePort", found.node_port))
        seen_nodes.add(key)
    seen: set[tuple[str, int]] = set()
    for i, found in enumerate(spec.ports):
        key = (found.protocol, found.port)
        if key in seen:
            shown = {"Name": "", "Protocol": found.protocol, "AppProtocol": None, "Port": found.port}
            out.append(field.duplicate(f"spec.ports[{i}]", shown | {"TargetPort": 0, "NodePort": 0}))
        seen.add(key)


def _source_ranges(out: list[Cause], obj: core_v1.Service) -> None:
    path = "spec.LoadBalancerSourceRanges"
    if not obj.spec.load_balancer_source_ranges:
        old_way = obj.metadata.annotations.get(_OLD_RANGES)
        if old_way is None:
            return
        path = f"metadata.annotations[{_OLD_RANGES}]"
        if obj.spec.type != "LoadBalancer":
            out.append(field.forbidden(path, _ONLY_LOAD_BALANCER))
        for text in old_way.split(",") if old_way.strip() else ():
            out += [field.invalid(path, text.strip(), words) for words in names.cidr(text.strip())]
        return
    if obj.spec.type != "LoadBalancer":
        out.append(field.forbidden(path, _ONLY_LOAD_BALANCER))
    for i, text in enumerate(obj.spec.load_balancer_source_ranges):
        out += [field.invalid(f"{path}[{i}]", text.strip(), words) for words in names.cidr(text.strip())]


def _load_balancer_class(out: list[Cause], spec: core_v1.ServiceSpec, old: core_v1.ServiceSpec | None = None) -> None:
    path, wanted = "spec.loadBalancerClass", spec.load_balancer_class
    both = old is not None and old.type == "LoadBalancer" and spec.type == "LoadBalancer"
    if old is not None and both and old.load_balancer_class != wanted:
        out.append(field.invalid(path, wanted, _SET_ONCE))
    if wanted is None:
        return
    if spec.type == "LoadBalancer":
        meta.wrong_name(out, path, wanted, names.qualified_name(wanted))
    else:
        out.append(field.forbidden(path, _ONLY_LOAD_BALANCER))


def _traffic(out: list[Cause], spec: core_v1.ServiceSpec) -> None:
    policy, here = spec.external_traffic_policy, "spec.externalTrafficPolicy"
    if not externally_accessible(spec):
        if policy:
            out.append(field.invalid(here, policy, "may only be set for externally-accessible services"))
    elif policy not in ("Cluster", "Local"):
        out.append(field.not_supported(here, policy, ("Cluster", "Local")) if policy else field.required(here))
    number, here = spec.health_check_node_port, "spec.healthCheckNodePort"
    if not needs_health_check(spec):
        if number:
            words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            out.append(field.invalid(here, number, words))
    elif number == 0:
        out.append(field.required(here))
    else:
        port_number(out, here, number)
    inside, here = spec.internal_traffic_policy, "spec.internalTrafficPolicy"
    if inside is None and spec.type in ("NodePort", "LoadBalancer", "ClusterIP"):
        out.append(field.required(here))
    if inside is not None and inside not in ("Cluster", "Local"):
        out.append(field.not_supported(here, inside, ("Cluster", "Local")))
    distribution = spec.traffic_distribution
    if distribution is not None and distribution not in DISTRIBUTIONS:
        out.append(field.not_supported("spec.trafficDistribution", distribution, DISTRIBUTIONS))


def service_update(out: list[Cause], new: core_v1.Service, old: core_v1.Service) -> None:
    """A changed Service: its first address and family stay, unless it is from or to ExternalName."""
    meta.core_updated(out, new.metadata, old.metadata)
    if "ExternalName" not in (new.spec.type, old.spec.type):
        _kept_ips(out, new.spec, old.spec)
        _kept_families(out, new.spec, old.spec)
    _load_balancer_class(out, new.spec, old.spec)
    both = needs_health_check(new.spec) and needs_health_check(old.spec)
    if both and new.spec.health_check_node_port != old.spec.health_check_node_port:
        out.append(field.forbidden("spec.healthCheckNodePort", "field is immutable"))
    service(out, new)


def _kept_ips(out: list[Cause], new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> None:
    if is_headless(new) and is_headless(old):
        return
    ours, theirs, path = new.cluster_ips, old.cluster_ips, "spec.clusterIPs"
    if len(ours) == len(theirs):
        for i, ip in enumerate(theirs):
            if ip != ours[i]:
                out.append(field.invalid(f"{path}[{i}]", ours, _SET_ONCE))
        return
    if not ours:
        out.append(field.invalid(f"{path}[0]", ours, "primary clusterIP can not be unset"))
    elif theirs and ours[0] != theirs[0]:
        out.append(field.invalid(f"{path}[0]", ours, _SET_ONCE))
    if len(ours) == 1 < len(theirs) and new.ip_family_policy != "SingleStack":
        words = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        out.append(field.invalid("spec.ipFamilyPolicy", new.ip_family_policy, words))


def _kept_families(out: list[Cause], new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> None:
    if is_headless(new) or is_headless(old):
        return
    ours, theirs, path = new.ip_families, old.ip_families, "spec.ipFamilies"
    if len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            if one != other:
                out.append(field.invalid(f"{path}[0]", ours, _SET_ONCE))
        return
    if len(ours) < len(theirs) and not new.cluster_ips:
        out.append(field.invalid(f"{path}[0]", ours, "primary ipFamily can not be unset"))
    if ours and theirs and ours[0] != theirs[0]:
        out.append(field.invalid(f"{path}[0]", new.cluster_ips, _SET_ONCE))
    if len(ours) == 1 < len(theirs) and new.ip_family_policy != "SingleStack":
        words = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        out.append(field.invalid("spec.ipFamilyPolicy", new.ip_family_policy, words))


def service_status(out: list[Cause], new: core_v1.Service, old: core_v1.Service) -> None:
    """The load balancer's addresses."""
    meta.core_updated(out, new.metadata, old.metadata)
    path, found = "status.loadBalancer.ingress", new.status.load_balancer.ingress
    if found and new.spec.type != "LoadBalancer":
        out.append(field.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"))
        return
    for i, ingress in enumerate(found):
        here = f"{path}[{i}]"
        if ingress.ip:
            address(out, f"{here}.ip", ingress.ip)
        mode = ingress.ip_mode
        if mode is None:
            if ingress.ip:
                out.append(field.required(f"{here}.ipMode", "must be specified when `ip` is set"))
        elif not ingress.ip:
            out.append(field.forbidden(f"{here}.ipMode", "may not be specified when `ip` is not set"))
        elif mode not in ("Proxy", "VIP"):
            out.append(field.not_supported(f"{here}.ipMode", mode, ("Proxy", "VIP")))
        if ingress.hostname:
            meta.wrong_name(out, f"{here}.hostname", ingress.hostname, names.dns_subdomain(ingress.hostname))
            if names.parse_ip(ingress.hostname) is not None:
                words = "must be a DNS name, not an IP address"
                out.append(field.invalid(f"{here}.hostname", ingress.hostname, words))


def endpoints(out: list[Cause], obj: core_v1.Endpoints) -> None:
    """The addresses behind a Service, the old way."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    for i, subset in enumerate(obj.subsets):
        here = f"subsets[{i}]"
        if not subset.addresses and not subset.not_ready_addresses:
            out.append(field.required(here, "must specify `addresses` or `notReadyAddresses`"))
        for name, found in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for j, place in enumerate(found):
                _endpoint(out, f"{here}.{name}[{j}]", place)
        for j, one in enumerate(subset.ports):
            _endpoint_port(out, f"{here}.ports[{j}]", one, named=len(subset.ports) > 1)


def _endpoint(out: list[Cause], path: str, place: core_v1.EndpointAddress) -> None:
    address(out, f"{path}.ip", place.ip)
    if place.hostname:
        meta.wrong_name(out, f"{path}.hostname", place.hostname, names.dns_label(place.hostname))
    if place.node_name is not None:
        meta.wrong_name(out, f"{path}.nodeName", place.node_name, names.dns_subdomain(place.node_name))
    if names.parse_ip(place.ip) is not None:
        address(out, f"{path}.ip", place.ip)
    ordinary_address(out, f"{path}.ip", place.ip)


def _endpoint_port(out: list[Cause], path: str, found: core_v1.EndpointPort, *, named: bool) -> None:
    if found.name:
        meta.wrong_name(out, f"{path}.name", found.name, names.dns_label(found.name))
    elif named:
        out.append(field.required(f"{path}.name"))
    port_number(out, f"{path}.port", found.port)
    if found.protocol not in PROTOCOLS:
        missing = not found.protocol
        here = f"{path}.protocol"
        out.append(field.required(here) if missing else field.not_supported(here, found.protocol, PROTOCOLS))
    if found.app_protocol is not None:
        meta.wrong_name(out, f"{path}.appProtocol", found.app_protocol, names.qualified_name(found.app_protocol))


def endpoints_update(out: list[Cause], new: core_v1.Endpoints, old: core_v1.Endpoints) -> None:
    """Changed Endpoints."""
    meta.core_updated(out, new.metadata, old.metadata)
    endpoints(out, new)


CREATE: dict[type[Any], Any] = {core_v1.Service: service, core_v1.Endpoints: endpoints}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (core_v1.Service, ""): service_update,
    (core_v1.Service, "status"): service_status,
    (core_v1.Endpoints, ""): endpoints_update,
}

"""Rules of NetworkPolicies, Ingresses and IngressClasses. Pure. Source: `pkg/apis/networking/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import networking_v1
from carob.api.validation import field, meta, names
from carob.api.validation.containers import port_number
from carob.api.validation.pod import address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_POLICY_PROTOCOLS = ("TCP", "UDP", "SCTP")


def network_policy(out: list[Cause], obj: networking_v1.NetworkPolicy) -> None:
    """A NetworkPolicy."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _policy_spec(out, obj.spec)


def _policy_spec(out: list[Cause], spec: networking_v1.NetworkPolicySpec) -> None:
    meta.label_selector(out, "spec.podSelector", spec.pod_selector)
    for i, incoming in enumerate(spec.ingress):
        _policy_ports(out, f"spec.ingress[{i}].ports", incoming.ports)
        _peers(out, f"spec.ingress[{i}].from", incoming.from_)
    for i, outgoing in enumerate(spec.egress):
        _policy_ports(out, f"spec.egress[{i}].ports", outgoing.ports)
        _peers(out, f"spec.egress[{i}].to", outgoing.to)
    if len(spec.policy_types) > 2:
        words = "may not specify more than two policyTypes"
        out.append(field.invalid("spec.policyTypes", spec.policy_types, words))
        return
    for kind in spec.policy_types:
        if kind not in ("Egress", "Ingress"):
            out.append(field.not_supported("spec.policyTypes", kind, ("Egress", "Ingress")))


def _policy_ports(out: list[Cause], path: str, ports: Sequence[networking_v1.NetworkPolicyPort]) -> None:
    for i, found in enumerate(ports):
        here, last = f"{path}[{i}]", found.end_port
        if found.protocol is not None and found.protocol not in _POLICY_PROTOCOLS:
            out.append(field.not_supported(f"{here}.protocol", found.protocol, _POLICY_PROTOCOLS))
        if isinstance(found.port, int):
            port_number(out, f"{here}.port", found.port)
            if last is not None:
                if last < found.port:
                    words = "must be greater than or equal to `port`"
                    out.append(field.invalid(f"{here}.endPort", found.port, words))
                port_number(out, f"{here}.endPort", last)
        elif found.port is not None:
            if last is not None:
                words = "may not be specified when `port` is non-numeric"
                out.append(field.invalid(f"{here}.endPort", last, words))
            meta.wrong_name(out, f"{here}.port", found.port, names.port_name(found.port))
        elif last is not None:
            out.append(field.invalid(f"{here}.endPort", last, "may not be specified when `port` is not specified"))


def _peers(out: list[Cause], path: str, peers: Sequence[networking_v1.NetworkPolicyPeer]) -> None:
    for i, peer in enumerate(peers):
        here = f"{path}[{i}]"
        meta.label_selector(out, f"{here}.podSelector", peer.pod_selector)
        meta.label_selector(out, f"{here}.namespaceSelector", peer.namespace_selector)
        by_label = peer.pod_selector is not None or peer.namespace_selector is not None
        if peer.ip_block is not None:
            _ip_block(out, f"{here}.ipBlock", peer.ip_block)
            if by_label:
                out.append(field.forbidden(here, "may not specify both ipBlock and another peer"))
        elif not by_label:
            out.append(field.required(here, "must specify a peer"))


def _ip_block(out: list[Cause], path: str, block: networking_v1.IPBlock) -> None:
    if not block.cidr:
        out.append(field.required(f"{path}.cidr"))
        return
    out += [field.invalid(f"{path}.cidr", block.cidr, words) for words in names.cidr(block.cidr)]
    whole = names.parse_cidr(block.cidr)
    if whole is None:
        return
    for i, text in enumerate(block.except_):
        here, part = f"{path}.except[{i}]", names.parse_cidr(text)
        out += [field.invalid(here, text, words) for words in names.cidr(text)]
        if part is None:
            continue
        smaller = part.network.prefixlen > whole.network.prefixlen
        if part.version != whole.version or part.ip not in whole.network or not smaller:
            out.append(field.invalid(here, text, "must be a strict subset of `cidr`"))


def network_policy_update(out: list[Cause], new: networking_v1.NetworkPolicy, old: networking_v1.NetworkPolicy) -> None:
    """A changed NetworkPolicy."""
    meta.core_updated(out, new.metadata, old.metadata)
    _policy_spec(out, new.spec)


def ingress(out: list[Cause], obj: networking_v1.Ingress) -> None:
    """A new Ingress."""
    _ingress(out, obj)
    old_way = obj.metadata.annotations.get(CLASS_ANNOTATION)
    if old_way is not None and obj.spec.ingress_class_name not in (None, old_way):
        words = "must match `ingressClassName` when both are specified"
        out.append(field.invalid(f"annotations.{CLASS_ANNOTATION}", old_way, words))


def _ingress(out: list[Cause], obj: networking_v1.Ingress) -> None:
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    spec = obj.spec
    if not spec.rules and spec.default_backend is None:
        words = "either `defaultBackend` or `rules` must be specified"
        out.append(field.invalid("spec", None, words))
    if spec.default_backend is not None:
        _backend(out, "spec.defaultBackend", spec.default_backend)
    for i, rule in enumerate(spec.rules):
        here = f"spec.rules[{i}]"
        if rule.host:
            if names.parse_ip(rule.host) is not None:
                out.append(field.invalid(f"{here}.host", rule.host, "must be a DNS name, not an IP address"))
            _host(out, f"{here}.host", rule.host)
        if rule.http is not None:
            if not rule.http.paths:
                out.append(field.required(f"{here}.http.paths"))
            for j, path in enumerate(rule.http.paths):
                _http_path(out, f"{here}.http.paths[{j}]", path)
    for i, tls in enumerate(spec.tls):
        for j, host in enumerate(tls.hosts):
            _host(out, f"spec.tls[{i}].hosts[{j}]", host)
        if tls.secret_name:
            wrong = names.dns_subdomain(tls.secret_name)
            meta.wrong_name(out, f"spec.tls[{i}].secretName", tls.secret_name, wrong)
    if spec.ingress_class_name is not None:
        wrong = names.dns_subdomain(spec.ingress_class_name)
        meta.wrong_name(out, "spec.ingressClassName", spec.ingress_class_name, wrong)


def _host(out: list[Cause], path: str, host: str) -> None:
    meta.wrong_name(out, path, host, names.wildcard_subdomain(host) if "*" in host else names.dns_subdomain(host))


def _http_path(out: list[Cause], path: str, found: networking_v1.HTTPIngressPath) -> None:
    here, text, kind = f"{path}.path", found.path, found.path_type
    if kind is None:
        out.append(field.required(f"{path}.pathType", "pathType must be specified"))
        return
    if kind not in PATH_TYPES:
        out.append(field.not_supported(f"{path}.pathType", kind, PATH_TYPES))
    elif not text.startswith("/") and (text or kind != "ImplementationSpecific"):
        out.append(field.invalid(here, text, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        for part in _BAD_PARTS:
            if part in text:
                out.append(field.invalid(here, text, f"must not contain '{part}'"))
        for end in _BAD_ENDS:
            if text.endswith(end):
                out.append(field.invalid(here, text, f"cannot end with '{end}'"))
    _backend(out, f"{path}.backend", found.backend)


def _backend(out: list[Cause], path: str, backend: networking_v1.IngressBackend) -> None:
    service = backend.service
    if backend.resource is not None:
        if service is not None:
            out.append(field.invalid(path, "", "cannot set both resource and service backends"))
        else:
            resource = backend.resource
            _local_reference(out, f"{path}.resource", resource.api_group, resource.kind, resource.name)
        return
    if service is None:
        out.append(field.invalid(path, "", "resource or service backend is required"))
        return
    if not service.name:
        out.append(field.required(f"{path}.service.name"))
    else:
        meta.wrong_name(out, f"{path}.service.name", service.name, names.dns_label(service.name))
    port = service.port
    if port.name and port.number:
        out.append(field.invalid(path, "", "cannot set both port name & port number"))
    elif port.name:
        meta.wrong_name(out, f"{path}.service.port.name", port.name, names.port_name(port.name))
    elif port.number:
        port_number(out, f"{path}.service.port.number", port.number)
    else:
        out.append(field.required(path, "port name or number is required"))


def _local_reference(out: list[Cause], path: str, group: str | None, kind: str, name: str) -> None:
    if group is not None:
        meta.wrong_name(out, f"{path}.apiGroup", group, names.dns_subdomain(group))
    for key, value in (("kind", kind), ("name", name)):
        if not value:
            out.append(field.required(f"{path}.{key}"))
        else:
            meta.wrong_name(out, f"{path}.{key}", value, names.path_segment(value))


def ingress_update(out: list[Cause], new: networking_v1.Ingress, old: networking_v1.Ingress) -> None:
    """A changed Ingress."""
    meta.core_updated(out, new.metadata, old.metadata)
    _ingress(out, new)


def ingress_status(out: list[Cause], new: networking_v1.Ingress, old: networking_v1.Ingress) -> None:
    """The addresses of an Ingress."""
    meta.core_updated(out, new.metadata, old.metadata)
    for i, place in enumerate(new.status.load_balancer.ingress):
        here = f"status.loadBalancer.ingress[{i}]"
        if place.ip:
            address(out, f"{here}.ip", place.ip)
        if place.hostname:
            meta.wrong_name(out, f"{here}.hostname", place.hostname, names.dns_subdomain(place.hostname))
            if names.parse_ip(place.hostname) is not None:
                words = "must be a DNS name, not an IP address"
                out.append(field.invalid(f"{here}.hostname", place.hostname, words))


def ingress_class(out: list[Cause], obj: networking_v1.IngressClass) -> None:
    """An IngressClass."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    if len(obj.spec.controller) > 250:
        out.append(field.too_long("spec.controller", 250))
    meta.domain_prefixed(out, "spec.controller", obj.spec.controller)
    parameters = obj.spec.parameters
    if parameters is None:
        return
    path, scope = "spec.parameters", parameters.scope
    _local_reference(out, path, parameters.api_group, parameters.kind, parameters.name)
    if scope is None:
        out.append(field.required(f"{path}.scope"))
    elif scope == "Namespace":
        if parameters.namespace is None:
            out.append(field.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
        else:
            wrong = names.dns_label(parameters.namespace)
            meta.wrong_name(out, f"{path}.namespace", parameters.namespace, wrong)
    elif scope == "Cluster":
        if parameters.namespace is not None:
            out.append(field.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    else:
        out.append(field.not_supported(f"{path}.scope", scope, ("Cluster", "Namespace")))


def ingress_class_update(out: list[Cause], new: networking_v1.IngressClass, old: networking_v1.IngressClass) -> None:
    """A changed IngressClass; its controller stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec.controller", new.spec.controller, old.spec.controller)
    ingress_class(out, new)


CREATE: dict[type[Any], Any] = {
    networking_v1.NetworkPolicy: network_policy,
    networking_v1.Ingress: ingress,
    networking_v1.IngressClass: ingress_class,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (networking_v1.NetworkPolicy, ""): network_policy_update,
    (networking_v1.Ingress, ""): ingress_update,
    (networking_v1.Ingress, "status"): ingress_status,
    (networking_v1.IngressClass, ""): ingress_class_update,
}

"""Defaults of NetworkPolicies, IngressClasses and EndpointSlices. Source: `pkg/apis/{networking,discovery}/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import discovery_v1, networking_v1

if TYPE_CHECKING:
    from collections.abc import Callable


def _network_policy(obj: networking_v1.NetworkPolicy) -> None:
    spec = obj.spec
    ports = [port for rule in spec.ingress for port in rule.ports]
    ports += [port for rule in spec.egress for port in rule.ports]
    for port in ports:
        if port.protocol is None:
            port.protocol = "TCP"
    if not spec.policy_types:
        spec.policy_types = ["Ingress", "Egress"] if spec.egress else ["Ingress"]


def _ingress_class(obj: networking_v1.IngressClass) -> None:
    if obj.spec.parameters is not None and obj.spec.parameters.scope is None:
        obj.spec.parameters.scope = "Cluster"


def _endpoint_slice(obj: discovery_v1.EndpointSlice) -> None:
    obj.endpoints, obj.ports = obj.endpoints or None, obj.ports or None
    for port in obj.ports or ():
        if port.name is None:
            port.name = ""
        if port.protocol is None:
            port.protocol = "TCP"


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    networking_v1.NetworkPolicy: _network_policy,
    networking_v1.IngressClass: _ingress_class,
    discovery_v1.EndpointSlice: _endpoint_slice,
}

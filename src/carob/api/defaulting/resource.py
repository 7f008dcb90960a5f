"""Defaults of resource claims. Source: `pkg/apis/resource/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import resource_v1

if TYPE_CHECKING:
    from collections.abc import Callable

EXACT_COUNT = "ExactCount"


def _claim_spec(spec: resource_v1.ResourceClaimSpec) -> None:
    spec.devices.requests = spec.devices.requests or None
    for request in spec.devices.requests or ():
        for one in (request.exactly, *request.first_available):
            if one is None:
                continue
            one.allocation_mode = one.allocation_mode or EXACT_COUNT
            if one.allocation_mode == EXACT_COUNT and one.count == 0:
                one.count = 1
            for toleration in one.tolerations:
                toleration.operator = toleration.operator or "Equal"


def _claim(obj: resource_v1.ResourceClaim) -> None:
    _claim_spec(obj.spec)


def _claim_template(obj: resource_v1.ResourceClaimTemplate) -> None:
    _claim_spec(obj.spec.spec)


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    resource_v1.ResourceClaim: _claim,
    resource_v1.ResourceClaimTemplate: _claim_template,
}

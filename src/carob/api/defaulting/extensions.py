"""Defaults of CustomResourceDefinitions and APIServices.

Source: `apiextensions-apiserver/pkg/apis/apiextensions/v1/defaults.go`, `kube-aggregator/pkg/apis/apiregistration/v1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import apiextensions_v1, apiregistration_v1

if TYPE_CHECKING:
    from collections.abc import Callable


def _definition(obj: apiextensions_v1.CustomResourceDefinition) -> None:
    names = obj.spec.names
    names.singular = names.singular or names.kind.lower()
    if not names.list_kind and names.kind:
        names.list_kind = names.kind + "List"
    if obj.spec.conversion is None:
        obj.spec.conversion = apiextensions_v1.CustomResourceConversion(strategy="None")
    webhook = obj.spec.conversion.webhook
    if webhook is not None and webhook.client_config is not None and webhook.client_config.service is not None:
        service = webhook.client_config.service
        service.port = 443 if service.port is None else service.port


def _api_service(obj: apiregistration_v1.APIService) -> None:
    if obj.spec.service is not None and obj.spec.service.port is None:
        obj.spec.service.port = 443


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    apiextensions_v1.CustomResourceDefinition: _definition,
    apiregistration_v1.APIService: _api_service,
}

"""Rows of admission configuration and aggregated APIs.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`, kube-aggregator `registry/apiservice`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.tables.text import UNSET, age

if TYPE_CHECKING:
    from carob.api.types import admissionregistration_v1, apiregistration_v1


def _webhooks(obj: admissionregistration_v1.ValidatingWebhookConfiguration, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.webhooks), age(obj, now)]


def _validating_policy(obj: admissionregistration_v1.ValidatingAdmissionPolicy, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.spec.validations), _parameters(obj.spec.param_kind), age(obj, now)]


def _mutating_policy(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.spec.mutations), _parameters(obj.spec.param_kind), age(obj, now)]


def _parameters(kind: Any) -> str:
    return UNSET if kind is None else f"{kind.api_version}/{kind.kind}"


def _policy_binding(obj: Any, now: float) -> list[Any]:
    found = obj.spec.param_ref
    shown = UNSET
    if found is not None:
        shown = f"{found.namespace}/{found.name}" if found.namespace else found.name
    return [obj.metadata.name, obj.spec.policy_name, shown, age(obj, now)]


def _api_service(obj: apiregistration_v1.APIService, now: float) -> list[Any]:
    service = obj.spec.service
    where = "Local" if service is None else f"{service.namespace}/{service.name}"
    available = "Unknown"
    for condition in obj.status.conditions or ():
        if condition.type == "Available":
            available = condition.status
            if condition.status != "True":
                available = f"{condition.status} ({condition.reason})"
    return [obj.metadata.name, where, available, age(obj, now)]


_GROUP = "admissionregistration.k8s.io"

CELLS = {
    "apiservices.apiregistration.k8s.io": _api_service,
    f"mutatingadmissionpolicies.{_GROUP}": _mutating_policy,
    f"mutatingadmissionpolicybindings.{_GROUP}": _policy_binding,
    f"mutatingwebhookconfigurations.{_GROUP}": _webhooks,
    f"validatingadmissionpolicies.{_GROUP}": _validating_policy,
    f"validatingadmissionpolicybindings.{_GROUP}": _policy_binding,
    f"validatingwebhookconfigurations.{_GROUP}": _webhooks,
}

"""Rules of APIServices. Pure. Source: kube-aggregator `pkg/apis/apiregistration/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import apiregistration_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.validation.field import Cause


STATUSES = ("False", "True", "Unknown")


def api_service(out: list[Cause], obj: apiregistration_v1.APIService) -> None:
    """A group and version of the API that another server answers."""
    spec = obj.spec
    group, version = spec.group or "", spec.version or ""
    wanted = f"{version}.{group}"

    def rule(name: str) -> list[str]:
        wrong = list(names.path_segment(name))
        if wrong or name == wanted:
            return wrong
        return [f'must be `spec.version+"."+spec.group`: "{wanted}"']

    meta.core(out, obj.metadata, False, rule)
    if not group and version != "v1":
        words = "only v1 may have an empty group and it better be legacy kube"
        out.append(field.required("spec.group", words))
    if group:
        meta.wrong_name(out, "spec.group", group, names.dns_subdomain(group))
    meta.wrong_name(out, "spec.version", version, names.dns_1035_label(version))
    for name, value, limit in (
        ("groupPriorityMinimum", spec.group_priority_minimum, 20_000),
        ("versionPriority", spec.version_priority, 1000),
    ):
        if not 0 < value <= limit:
            words = f"must be positive and less than {limit}"
            out.append(field.invalid(f"spec.{name}", value, words))
    insecure = spec.insecure_skip_tls_verify
    if spec.service is None:
        if spec.ca_bundle:
            size = len(spec.ca_bundle) * 3 // 4 - spec.ca_bundle[-2:].count("=")
            words = "local APIServices may not have a caBundle"
            out.append(field.invalid("spec.caBundle", f"{size} bytes", words))
        if insecure:
            words = "local APIServices may not have insecureSkipTLSVerify"
            out.append(field.invalid("spec.insecureSkipTLSVerify", True, words))
        return
    for name, text in (("namespace", spec.service.namespace), ("name", spec.service.name)):
        if not text:
            out.append(field.required(f"spec.service.{name}"))
    port = spec.service.port
    if port is not None and names.port_number(port):
        words = f"port is not valid: {names.port_number(port)[0]}"
        out.append(field.invalid("spec.service.port", port, words))
    if insecure and spec.ca_bundle:
        words = "may not be true if caBundle is present"
        out.append(field.invalid("spec.insecureSkipTLSVerify", True, words))


def _update(out: list[Cause], new: apiregistration_v1.APIService, old: apiregistration_v1.APIService) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    api_service(out, new)


def _status(out: list[Cause], new: apiregistration_v1.APIService, old: apiregistration_v1.APIService) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    for i, condition in enumerate(new.status.conditions):
        if condition.status not in STATUSES:
            here = f"status.conditions[{i}].status"
            out.append(field.not_supported(here, condition.status, STATUSES))


CREATE: dict[type[Any], Any] = {apiregistration_v1.APIService: api_service}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (apiregistration_v1.APIService, ""): _update,
    (apiregistration_v1.APIService, "status"): _status,
}

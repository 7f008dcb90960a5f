"""Rules of LimitRanges and ResourceQuotas. Pure. Source: `pkg/apis/core/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.api.types import core_v1
from carob.api.validation import field, meta, names, resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.scalars import Quantity
    from carob.api.validation.field import Cause

QUOTA_SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)
_POD_COMPUTE = frozenset(
    {"pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
    | {"ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage"}
)
LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")


def limit_range(out: list[Cause], obj: core_v1.LimitRange) -> None:
    """A LimitRange: minimum, default and maximum must be in order."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    seen: set[str] = set()
    for i, item in enumerate(obj.spec.limits):
        here = f"spec.limits[{i}]"
        wrong = names.qualified_name(item.type)
        meta.wrong_name(out, f"{here}.type", item.type, wrong)
        if not wrong and "/" not in item.type and item.type not in LIMIT_TYPES:
            words = "must be a standard limit type or fully qualified"
            out.append(field.invalid(f"{here}.type", item.type, words))
        if item.type in seen:
            out.append(field.duplicate(f"{here}.type", item.type))
        seen.add(item.type)
        _limit_item(out, here, item)


def _limit_item(out: list[Cause], path: str, item: core_v1.LimitRangeItem) -> None:
    strict = item.type in ("Pod", "Container")
    check = resources.container_resource_name if strict else resources.resource_name

    def check_names(name: str, found: Mapping[str, Quantity]) -> None:
        for key in found:
            check(out, f"{path}.{name}[{key}]", key)

    check_names("max", item.max)
    check_names("min", item.min)
    if item.type == "Pod":
        for name, found in (("default", item.default), ("defaultRequest", item.default_request)):
            if found:
                out.append(field.forbidden(f"{path}.{name}", "may not be specified when `type` is 'Pod'"))
    else:
        check_names("default", item.default)
        check_names("defaultRequest", item.default_request)
    if item.type == "PersistentVolumeClaim" and "storage" not in item.min and "storage" not in item.max:
        words = "either minimum or maximum storage value is required, but neither was provided"
        out.append(field.required(f"{path}.limits", words))
    check_names("maxLimitRequestRatio", item.max_limit_request_ratio)
    whole = item.type == "Pod"
    defaults, requests = ({}, {}) if whole else (item.default, item.default_request)
    keys = dict.fromkeys([*item.max, *item.min, *defaults, *requests, *item.max_limit_request_ratio])
    for key in keys:
        low, high = item.min.get(key), item.max.get(key)
        _ordered_limits(out, path, key, low, high, defaults.get(key), requests.get(key))
        _ratio(out, f"{path}.maxLimitRequestRatio[{key}]", low, high, item.max_limit_request_ratio.get(key))
        _same_default(out, path, key, defaults.get(key), requests.get(key))


def _ordered_limits(
    out: list[Cause],
    path: str,
    key: str,
    low: Quantity | None,
    high: Quantity | None,
    default: Quantity | None,
    request: Quantity | None,
) -> None:
    for name, shown, one, what, other, than in (
        ("min", low, low, "min value", high, "max value"),
        ("defaultRequest", request, low, "min value", request, "default request value"),
        ("defaultRequest", request, request, "default request value", high, "max value"),
        ("defaultRequest", request, request, "default request value", default, "default limit value"),
        ("default", low, low, "min value", default, "default value"),
        ("default", high, default, "default value", high, "max value"),
    ):
        if one is not None and other is not None and quantity.compare(one, other) > 0:
            words = f"{what} {one} is greater than {than} {other}"
            out.append(field.invalid(f"{path}.{name}[{key}]", shown, words))


def _ratio(out: list[Cause], path: str, low: Quantity | None, high: Quantity | None, ratio: Quantity | None) -> None:
    if ratio is None:
        return
    if quantity.nano(ratio) < quantity.NANO:
        out.append(field.invalid(path, ratio, f"ratio {ratio} is less than 1"))
    if low is not None and high is not None and quantity.nano(low):
        limit = quantity.nano(high) / quantity.nano(low)
        if quantity.nano(ratio) / quantity.NANO > limit:
            out.append(field.invalid(path, ratio, f"ratio {ratio} is greater than max/min = {limit:f}"))


def _same_default(out: list[Cause], path: str, key: str, default: Quantity | None, request: Quantity | None) -> None:
    if resources.may_overcommit(key) or default is None or request is None:
        return
    if quantity.compare(default, request) != 0:
        words = f"default value {default} must equal to defaultRequest value {request} in {key}"
        out.append(field.invalid(f"{path}.defaultRequest[{key}]", request, words))


def _limit_range_update(out: list[Cause], new: core_v1.LimitRange, old: core_v1.LimitRange) -> None:
    limit_range(out, new)


def resource_quota(out: list[Cause], obj: core_v1.ResourceQuota) -> None:
    """A ResourceQuota."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _quota_spec(out, obj.spec)
    _quota_status(out, obj.status)


def _quota_status(out: list[Cause], status: core_v1.ResourceQuotaStatus) -> None:
    for name, amounts in (("hard", status.hard), ("used", status.used)):
        for key, amount in amounts.items():
            here = f"status.{name}[{key}]"
            resources.quota_resource_name(out, here, key)
            resources.value(out, here, key, amount)


# of a list of scopes; more than there are kinds of them can only be wrong
MAX_SCOPES_TOLD = 64


def _quota_spec(out: list[Cause], spec: core_v1.ResourceQuotaSpec) -> None:
    for key, amount in spec.hard.items():
        here = f"spec.hard[{key}]"
        resources.quota_resource_name(out, here, key)
        resources.value(out, here, key, amount)
    names = [key for key in sorted(spec.hard) if resources.is_quota_resource(key)]
    # each complaint shows all scopes, and there are seven
    for scope in spec.scopes[:MAX_SCOPES_TOLD]:
        if scope not in QUOTA_SCOPES:
            out.append(field.invalid("spec.scopes", spec.scopes, "unsupported scope"))
        for key in names:
            if not _scope_fits(scope, key):
                out.append(field.invalid("spec.scopes", spec.scopes, "unsupported scope applied to resource"))
    _conflicts(out, "spec.scopes", spec.scopes, spec)
    if spec.scope_selector is not None:
        _scope_selector(out, spec, spec.scope_selector)


def _scope_fits(scope: str, key: str) -> bool:
    if scope in ("Terminating", "NotTerminating", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"):
        return key in _POD_COMPUTE or key.startswith(("hugepages-", "requests.hugepages-"))
    if scope == "BestEffort":
        return key == "pods"
    if scope == "VolumeAttributesClass":
        return key in ("persistentvolumeclaims", "requests.storage")
    return True


def _conflicts(out: list[Cause], path: str, scopes: list[str], spec: core_v1.ResourceQuotaSpec) -> None:
    for pair in (("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating")):
        if all(scope in scopes for scope in pair):
            out.append(field.invalid(path, spec.scopes or None, "conflicting scopes"))


def _scope_selector(out: list[Cause], spec: core_v1.ResourceQuotaSpec, selector: core_v1.ScopeSelector) -> None:
    path = "spec.scopeSelector.matchExpressions"
    found = []
    keys = [key for key in sorted(spec.hard) if resources.is_quota_resource(key)]
    for requirement in selector.match_expressions[:MAX_SCOPES_TOLD]:
        scope, operator, values = requirement.scope_name, requirement.operator, requirement.values
        if scope not in QUOTA_SCOPES:
            out.append(field.invalid(f"{path}.scopeName", scope, "unsupported scope"))
        for key in keys:
            if not _scope_fits(scope, key):
                out.append(field.invalid(path, selector, "unsupported scope applied to resource"))
        if scope in QUOTA_SCOPES and scope not in ("PriorityClass", "VolumeAttributesClass") and operator != "Exists":
            words = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                "ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            out.append(field.invalid(f"{path}.operator", operator, words))
        if operator in ("In", "NotIn"):
            if not values:
                words = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                out.append(field.required(f"{path}.values", words))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                words = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                out.append(field.invalid(f"{path}.values", values, words))
        else:
            out.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
        found.append(scope)
    _conflicts(out, path, found, spec)


def quota_update(out: list[Cause], new: core_v1.ResourceQuota, old: core_v1.ResourceQuota) -> None:
    """A changed quota; its scopes stay."""
    meta.core_updated(out, new.metadata, old.metadata)
    _quota_spec(out, new.spec)
    if set(new.spec.scopes) != set(old.spec.scopes):
        out.append(field.invalid("spec.scopes", new.spec.scopes, meta.IMMUTABLE))


def quota_status(out: list[Cause], new: core_v1.ResourceQuota, old: core_v1.ResourceQuota) -> None:
    """What is used."""
    meta.core_updated(out, new.metadata, old.metadata)
    _quota_status(out, new.status)


CREATE: dict[type[Any], Any] = {core_v1.LimitRange: limit_range, core_v1.ResourceQuota: resource_quota}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (core_v1.LimitRange, ""): _limit_range_update,
    (core_v1.ResourceQuota, ""): quota_update,
    (core_v1.ResourceQuota, "status"): quota_status,
}

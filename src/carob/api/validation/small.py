"""Rules of kinds with few rules: PriorityClass, RuntimeClass, PodDisruptionBudget, Scale, ResourceQuota.

Pure. Source: `pkg/apis/{scheduling,node,policy,autoscaling,core}/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import autoscaling_v1, core_v1, node_v1, policy_v1, scheduling_v1
from carob.api.validation import field, meta, names, quantities, resources, scheduling

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
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


def priority_class(out: list[Cause], obj: scheduling_v1.PriorityClass) -> None:
    """A PriorityClass; the highest priorities belong to the system."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    name = obj.metadata.name
    if name.startswith("system-"):
        if SYSTEM_PRIORITIES.get(name) != obj.value:
            words = "priority class names with 'system-' prefix are reserved for system use only. error:"
            why = f"{name} is not a known system priority class"
            if name in SYSTEM_PRIORITIES:
                why = f"value of {name} PriorityClass must be {SYSTEM_PRIORITIES[name]}"
            out.append(field.forbidden("metadata.name", f"{words} {why}"))
    elif obj.value > HIGHEST_USER_PRIORITY:
        words = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        out.append(field.forbidden("value", words))
    policy = obj.preemption_policy
    if policy is not None and policy not in ("PreemptLowerPriority", "Never"):
        supported = ("PreemptLowerPriority", "Never")
        missing = field.required("preemptionPolicy")
        out.append(field.not_supported("preemptionPolicy", policy, supported) if policy else missing)


def priority_class_update(out: list[Cause], new: scheduling_v1.PriorityClass, old: scheduling_v1.PriorityClass) -> None:
    """Value and policy stay."""
    meta.core_updated(out, new.metadata, old.metadata)
    if new.value != old.value:
        out.append(field.forbidden("value", "may not be changed in an update."))
    meta.immutable(out, "preemptionPolicy", new.preemption_policy, old.preemption_policy)


def runtime_class(out: list[Cause], obj: node_v1.RuntimeClass) -> None:
    """A RuntimeClass."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    meta.wrong_name(out, "handler", obj.handler, names.dns_label(obj.handler))
    if obj.overhead is not None:
        wanted = core_v1.ResourceRequirements(limits=obj.overhead.pod_fixed)
        resources.requirements(out, "overhead", wanted)
    if obj.scheduling is not None:
        meta.labels(out, "scheduling.nodeSelector", obj.scheduling.node_selector)
        tolerations = obj.scheduling.tolerations
        scheduling.tolerations(out, "scheduling.tolerations", tolerations)
        for i, toleration in enumerate(tolerations):
            if toleration in tolerations[:i]:
                out.append(field.duplicate(f"scheduling.tolerations[{i}]", toleration))


def runtime_class_update(out: list[Cause], new: node_v1.RuntimeClass, old: node_v1.RuntimeClass) -> None:
    """The handler stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "handler", new.handler, old.handler)


def disruption_budget(out: list[Cause], obj: policy_v1.PodDisruptionBudget) -> None:
    """A PodDisruptionBudget."""
    spec = obj.spec
    if spec.min_available is not None and spec.max_unavailable is not None:
        out.append(field.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for name, value in (("minAvailable", spec.min_available), ("maxUnavailable", spec.max_unavailable)):
        if value is not None:
            quantities.positive(out, f"spec.{name}", value)
            quantities.at_most_all(out, f"spec.{name}", value)
    meta.label_selector(out, "spec.selector", spec.selector)
    policy = spec.unhealthy_pod_eviction_policy
    if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
        supported = ("AlwaysAllow", "IfHealthyBudget")
        out.append(field.not_supported("spec.unhealthyPodEvictionPolicy", policy, supported))


def _budget_update(out: list[Cause], new: policy_v1.PodDisruptionBudget, old: policy_v1.PodDisruptionBudget) -> None:
    disruption_budget(out, new)


def scale(out: list[Cause], obj: autoscaling_v1.Scale) -> None:
    """The `/scale` of a workload."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    meta.non_negative(out, "spec.replicas", obj.spec.replicas)


def _scale_update(out: list[Cause], new: autoscaling_v1.Scale, old: autoscaling_v1.Scale) -> None:
    scale(out, new)


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


def _quota_spec(out: list[Cause], spec: core_v1.ResourceQuotaSpec) -> None:
    for key, amount in spec.hard.items():
        here = f"spec.hard[{key}]"
        resources.quota_resource_name(out, here, key)
        resources.value(out, here, key, amount)
    for scope in spec.scopes:
        if scope not in QUOTA_SCOPES:
            out.append(field.invalid("spec.scopes", spec.scopes, "unsupported scope"))
        for key in sorted(spec.hard):
            if resources.is_quota_resource(key) and not _scope_fits(scope, key):
                out.append(field.invalid("spec.scopes", spec.scopes, "unsupported scope applied to resource"))
    _conflicts(out, spec.scopes, spec)
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


def _conflicts(out: list[Cause], scopes: list[str], spec: core_v1.ResourceQuotaSpec) -> None:
    for pair in (("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating")):
        if all(scope in scopes for scope in pair):
            out.append(field.invalid("spec.scopes", spec.scopes, "conflicting scopes"))


def _scope_selector(out: list[Cause], spec: core_v1.ResourceQuotaSpec, selector: core_v1.ScopeSelector) -> None:
    path = "spec.scopeSelector.matchExpressions"
    found = []
    for requirement in selector.match_expressions:
        scope, operator, values = requirement.scope_name, requirement.operator, requirement.values
        if scope not in QUOTA_SCOPES:
            out.append(field.invalid(f"{path}.scopeName", scope, "unsupported scope"))
        for key in sorted(spec.hard):
            if resources.is_quota_resource(key) and not _scope_fits(scope, key):
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
    _conflicts(out, found, spec)


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


CREATE: dict[type[Any], Any] = {
    scheduling_v1.PriorityClass: priority_class,
    node_v1.RuntimeClass: runtime_class,
    policy_v1.PodDisruptionBudget: disruption_budget,
    autoscaling_v1.Scale: scale,
    core_v1.ResourceQuota: resource_quota,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (scheduling_v1.PriorityClass, ""): priority_class_update,
    (node_v1.RuntimeClass, ""): runtime_class_update,
    (policy_v1.PodDisruptionBudget, ""): _budget_update,
    (autoscaling_v1.Scale, ""): _scale_update,
    (autoscaling_v1.Scale, "scale"): _scale_update,
    (core_v1.ResourceQuota, ""): quota_update,
    (core_v1.ResourceQuota, "status"): quota_status,
}

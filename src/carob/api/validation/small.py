"""Rules of kinds with few rules: PriorityClass, RuntimeClass, PodDisruptionBudget, Scale.

Pure. Source: `pkg/apis/{scheduling,node,policy,autoscaling}/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.types import autoscaling_v1, core_v1, node_v1, policy_v1, scheduling_v1
from carob.api.validation import conditions, counts, field, meta, names, quantities, resources, scheduling

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


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
        again = field.repeated(codec.encode(one) for one in tolerations)
        for i, toleration in enumerate(tolerations):
            if again[i]:
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


def _budget_status(out: list[Cause], new: policy_v1.PodDisruptionBudget, old: policy_v1.PodDisruptionBudget) -> None:
    conditions.check(out, "status.conditions", new.status.conditions)
    counts.not_negative(out, new.status, "disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def scale(out: list[Cause], obj: autoscaling_v1.Scale) -> None:
    """The `/scale` of a workload."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    meta.non_negative(out, "spec.replicas", obj.spec.replicas)


def _scale_update(out: list[Cause], new: autoscaling_v1.Scale, old: autoscaling_v1.Scale) -> None:
    scale(out, new)


CREATE: dict[type[Any], Any] = {
    scheduling_v1.PriorityClass: priority_class,
    node_v1.RuntimeClass: runtime_class,
    policy_v1.PodDisruptionBudget: disruption_budget,
    autoscaling_v1.Scale: scale,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (scheduling_v1.PriorityClass, ""): priority_class_update,
    (node_v1.RuntimeClass, ""): runtime_class_update,
    (policy_v1.PodDisruptionBudget, ""): _budget_update,
    (policy_v1.PodDisruptionBudget, "status"): _budget_status,
    (autoscaling_v1.Scale, ""): _scale_update,
    (autoscaling_v1.Scale, "scale"): _scale_update,
}

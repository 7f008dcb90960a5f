"""One look at one autoscaler: the size to set, the status, what is to be told. Pure.

Invariant: the size lies between the bounds of the spec, whatever the metrics say; 0 is left only by hand.
Source: kube-controller-manager `podautoscaler/horizontal.go` (reconcileAutoscaler).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from carob.api.types import autoscaling_v2 as v2
from carob.base.clock import rfc3339
from carob.controllers.autoscaling import limits
from carob.controllers.autoscaling.limits import Change, Memory
from carob.controllers.autoscaling.metrics import wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.controllers.autoscaling.metrics import Situation, Wish
    from carob.controllers.autoscaling.readings import Reading

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
Event = tuple[str, str, str]
"""Type, reason, message."""


class Plan(Struct):
    """`size` None: leave it; else `reason` says why. `error` is to be logged by whoever acts."""

    status: v2.HorizontalPodAutoscalerStatus
    memory: Memory
    size: int | None = None
    reason: str = ""
    events: list[Event] = field(default_factory=list)
    error: str = ""


def needs_metrics(spec: v2.HorizontalPodAutoscalerSpec, current: int) -> bool:
    """Whether the size is to be calculated at all."""
    low = limits.min_replicas(spec)
    return not (current == 0 and low != 0) and low <= current <= spec.max_replicas


def no_scale(hpa: v2.HorizontalPodAutoscaler, memory: Memory, why: str, now: float) -> Plan:
    """The target cannot be asked for its size."""
    plan = _plan(hpa, memory)
    words = f"the HPA controller was unable to get the target's current scale: {why}"
    put(plan.status, ABLE, "False", "FailedGetScale", words, now)
    plan.events.append(("Warning", "FailedGetScale", why))
    plan.error = f"failed to query scale subresource for {_reference(hpa)}: {why}"
    return plan


def no_selector(
    hpa: v2.HorizontalPodAutoscaler, memory: Memory, current: int, event: Event, why: tuple[str, str], now: float
) -> Plan:
    """The target's Pods cannot be told from others; `why` is reason and message of the condition."""
    plan = _begin(hpa, memory, current, now)
    plan.events.append(event)
    put(plan.status, ACTIVE, "False", *why, now)
    return _failed(hpa, plan, current, event[2])


def reconcile(
    hpa: v2.HorizontalPodAutoscaler, situation: Situation, readings: Sequence[Reading], memory: Memory
) -> Plan:
    """The next step. `readings` are in the order of the spec's metrics; none are needed where `needs_metrics` says no."""
    spec, current, now = hpa.spec, situation.spec_replicas, situation.now
    plan = _begin(hpa, memory, current, now)
    low = limits.min_replicas(spec)
    wanted, reason = current, ""
    if current == 0 and low != 0:
        words = "scaling is disabled since the replica count of the target is zero"
        put(plan.status, ACTIVE, "False", "ScalingDisabled", words, now)
        return _finish(hpa, plan, current, 0, None)
    if current > spec.max_replicas:
        wanted, reason = spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"
    elif current < low:
        wanted, reason = low, "Current number of replicas below Spec.MinReplicas"
    else:
        found = wish(spec, readings, situation, hpa.status)
        if found.replicas is None:
            return _unable(hpa, plan, current, found, now)
        for failure in found.failures:
            plan.events.append(("Warning", failure.reason, failure.words))
        words = f"the HPA was able to successfully calculate a replica count from {found.metric}"
        put(plan.status, ACTIVE, "True", "ValidMetricFound", words, now)
        if found.replicas > current:
            reason = f"{found.metric} above target"
        elif found.replicas < current:
            reason = "All metrics below target"
        limited = limits.limit(spec, current, found.replicas, plan.memory, now)
        plan.memory = replace(plan.memory, recommendations=limited.recommendations)
        put(plan.status, ABLE, "True", *limited.able, now)
        put(plan.status, LIMITED, "True" if limited.is_limited else "False", *limited.limited, now)
        wanted = limited.replicas
        plan.status.current_metrics = found.statuses
    if wanted != current and not reason:
        reason = "All metrics below target" if wanted < current else "Current number of replicas below Spec.MinReplicas"
    plan.reason = reason
    return _finish(hpa, plan, current, wanted, wanted if wanted != current else None)


def scaled(hpa: v2.HorizontalPodAutoscaler, plan: Plan, before: int, now: float) -> None:
    """The new size was accepted."""
    assert plan.size is not None
    words = f"the HPA controller was able to update the target scale to {plan.size}"
    put(plan.status, ABLE, "True", "SucceededRescale", words, now)
    plan.events.append(("Normal", "SuccessfulRescale", f"New size: {plan.size}; reason: {plan.reason}"))
    plan.status.last_scale_time = rfc3339(now)
    ups, downs = limits.after_change(hpa.spec, plan.memory, before, plan.size, now)
    plan.memory = replace(plan.memory, ups=ups, downs=downs)


def not_scaled(plan: Plan, before: int, error: str, now: float) -> None:
    """The new size was refused."""
    words = f"the HPA controller was unable to update the target scale: {error}"
    put(plan.status, ABLE, "False", "FailedUpdateScale", words, now)
    text = f"New size: {plan.size}; reason: {plan.reason}; error: {error}"
    plan.events.append(("Warning", "FailedRescale", text))
    plan.status.desired_replicas = before
    plan.error = f"failed to rescale: {error}"


def put(status: v2.HorizontalPodAutoscalerStatus, kind: str, value: str, reason: str, message: str, now: float) -> None:
    """Set a condition; its time changes with its value alone."""
    old = next((c for c in status.conditions if c.type == kind), None)
    since = old.last_transition_time if old is not None and old.status == value else rfc3339(now)
    made = v2.HorizontalPodAutoscalerCondition(
        type=kind, status=value, reason=reason, message=message, last_transition_time=since
    )
    if old is None:
        status.conditions = [*status.conditions, made]
    else:
        status.conditions = [made if c.type == kind else c for c in status.conditions]


def _plan(hpa: v2.HorizontalPodAutoscaler, memory: Memory) -> Plan:
    return Plan(msgspec.structs.replace(hpa.status, observed_generation=hpa.metadata.generation or None), memory)


def _begin(hpa: v2.HorizontalPodAutoscaler, memory: Memory, current: int, now: float) -> Plan:
    if not memory.recommendations:
        # what somebody wished before we came counts as a recommendation
        memory = replace(memory, recommendations=(Change(now, current),))
    plan = _plan(hpa, memory)
    words = "the HPA controller was able to get the target's current scale"
    put(plan.status, ABLE, "True", "SucceededGetScale", words, now)
    return plan


def _unable(hpa: v2.HorizontalPodAutoscaler, plan: Plan, current: int, found: Wish, now: float) -> Plan:
    for failure in found.failures:
        plan.events.append(("Warning", failure.reason, failure.words))
    if found.failures:
        first = found.failures[0]
        words = f"the HPA was unable to compute the replica count: {first.words}"
        put(plan.status, ACTIVE, "False", first.reason, words, now)
    plan.status.current_metrics = found.statuses
    return _failed(hpa, plan, current, found.summary)


def _failed(hpa: v2.HorizontalPodAutoscaler, plan: Plan, current: int, why: str) -> Plan:
    plan.status.current_replicas = current
    plan.events.append(("Warning", "FailedComputeMetricsReplicas", why))
    plan.error = f"failed to compute desired number of replicas based on listed metrics for {_reference(hpa)}: {why}"
    return plan


def _finish(hpa: v2.HorizontalPodAutoscaler, plan: Plan, current: int, desired: int, size: int | None) -> Plan:
    plan.status.current_replicas, plan.status.desired_replicas = current, desired
    plan.size = size
    return plan


def _reference(hpa: v2.HorizontalPodAutoscaler) -> str:
    target = hpa.spec.scale_target_ref
    return f"{target.kind}/{hpa.metadata.namespace}/{target.name}"

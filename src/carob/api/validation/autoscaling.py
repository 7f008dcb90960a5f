"""Rules of HorizontalPodAutoscalers, of both versions. Pure. Source: `pkg/apis/autoscaling/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.api.types import autoscaling_v1, autoscaling_v2
from carob.api.validation import counts, field, meta, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

LONGEST_WINDOW = 3600
LONGEST_PERIOD = 1800
_TYPES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
_TO_ZERO = "must specify at least one Object or External metric to support scaling to zero replicas"


def autoscaler(out: list[Cause], obj: autoscaling_v2.HorizontalPodAutoscaler) -> None:
    """A HorizontalPodAutoscaler."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _spec(out, obj.spec)


def _spec(out: list[Cause], spec: autoscaling_v2.HorizontalPodAutoscalerSpec) -> None:
    low, high = spec.min_replicas, spec.max_replicas
    if low is not None and low < 1:
        out.append(field.invalid("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        out.append(field.invalid("spec.maxReplicas", high, "must be greater than 0"))
    if low is not None and high < low:
        out.append(field.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    target = spec.scale_target_ref
    _reference(out, "spec.scaleTargetRef", target, grouped=target.kind != "ReplicationController")
    for i, metric in enumerate(spec.metrics):
        _metric(out, f"spec.metrics[{i}]", metric)
    if low == 0 and not any(m.type in ("Object", "External") for m in spec.metrics):
        out.append(field.forbidden("spec.metrics", _TO_ZERO))
    if spec.behavior is not None:
        for name, rules in (("scaleUp", spec.behavior.scale_up), ("scaleDown", spec.behavior.scale_down)):
            if rules is not None:
                _scaling(out, f"spec.behavior.{name}", rules)


def _reference(
    out: list[Cause], path: str, target: autoscaling_v2.CrossVersionObjectReference, *, grouped: bool
) -> None:
    for name, value in (("kind", target.kind), ("name", target.name)):
        if not value:
            out.append(field.required(f"{path}.{name}"))
        else:
            meta.wrong_name(out, f"{path}.{name}", value, names.path_segment(value))
    version = target.api_version
    if version.count("/") > 1:
        words = f"unexpected GroupVersion string: {version}"
        out.append(field.invalid(f"{path}.apiVersion", version, words))
    elif grouped and "/" not in version:
        out.append(field.invalid(f"{path}.apiVersion", version, "apiVersion must specify API group"))


def _metric(out: list[Cause], path: str, metric: autoscaling_v2.MetricSpec) -> None:
    if not metric.type:
        out.append(field.required(f"{path}.type", "must specify a metric source type"))
    if metric.type not in _TYPES:
        out.append(field.not_supported(f"{path}.type", metric.type, sorted(_TYPES)))
    sources = {
        "object": (metric.object, _object),
        "external": (metric.external, _external),
        "pods": (metric.pods, _pods),
        "resource": (metric.resource, _resource),
        "containerResource": (metric.container_resource, _container_resource),
    }
    present = [name for name, (source, _) in sources.items() if source is not None]
    if present:
        found: Any = sources[present[0]]
        found[1](out, f"{path}.{present[0]}", found[0])
    expected = _TYPES.get(metric.type, "")
    if expected and expected not in present:
        words = "must populate information for the given metric source"
        out.append(field.required(f"{path}.{expected}", words))
    if len(present) != 1:
        for name in present:
            if name != expected:
                out.append(field.forbidden(f"{path}.{name}", "must populate the given metric source only"))


def _identifier(out: list[Cause], path: str, metric: autoscaling_v2.MetricIdentifier) -> None:
    if not metric.name:
        out.append(field.required(f"{path}.name", "must specify a metric name"))
    else:
        meta.wrong_name(out, f"{path}.name", metric.name, names.path_segment(metric.name))


def _target(out: list[Cause], path: str, target: autoscaling_v2.MetricTarget) -> None:
    if not target.type:
        out.append(field.required(f"{path}.type", "must specify a metric target type"))
    if target.type not in ("Utilization", "Value", "AverageValue"):
        words = "must be either Utilization, Value, or AverageValue"
        out.append(field.invalid(f"{path}.type", target.type, words))
    if target.value is not None and quantity.nano(target.value) <= 0:
        out.append(field.invalid(f"{path}.value", target.value, "must be positive"))
    if target.average_value is not None and quantity.nano(target.average_value) <= 0:
        out.append(field.invalid(f"{path}.averageValue", target.average_value, "must be positive"))
    if target.average_utilization is not None and target.average_utilization < 1:
        words = "must be greater than 0"
        out.append(field.invalid(f"{path}.averageUtilization", target.average_utilization, words))


def _object(out: list[Cause], path: str, source: autoscaling_v2.ObjectMetricSource) -> None:
    _reference(out, f"{path}.describedObject", source.described_object, grouped=False)
    _identifier(out, f"{path}.metric", source.metric)
    _target(out, f"{path}.target", source.target)
    if source.target.value is None and source.target.average_value is None:
        words = "must set either a target value or averageValue"
        out.append(field.required(f"{path}.target.averageValue", words))


def _external(out: list[Cause], path: str, source: autoscaling_v2.ExternalMetricSource) -> None:
    _identifier(out, f"{path}.metric", source.metric)
    _target(out, f"{path}.target", source.target)
    value, average = source.target.value, source.target.average_value
    if value is None and average is None:
        words = "must set either a target value for metric or a per-pod target"
        out.append(field.required(f"{path}.target.averageValue", words))
    elif value is not None and average is not None:
        words = "may not set both a target value for metric and a per-pod target"
        out.append(field.forbidden(f"{path}.target.value", words))


def _pods(out: list[Cause], path: str, source: autoscaling_v2.PodsMetricSource) -> None:
    _identifier(out, f"{path}.metric", source.metric)
    _target(out, f"{path}.target", source.target)
    average = source.target.average_value
    if average is None or quantity.nano(average) <= 0:
        words = "must specify a positive target averageValue"
        out.append(field.required(f"{path}.target.averageValue", words))


def _resource(out: list[Cause], path: str, source: autoscaling_v2.ResourceMetricSource) -> None:
    if not source.name:
        out.append(field.required(f"{path}.name", "must specify a resource name"))
    _usage(out, f"{path}.target", source.target)


def _usage(out: list[Cause], path: str, target: autoscaling_v2.MetricTarget) -> None:
    _target(out, path, target)
    if target.average_utilization is None and target.average_value is None:
        words = "must set either a target raw value or a target utilization"
        out.append(field.required(f"{path}.averageUtilization", words))
    elif target.average_utilization is not None and target.average_value is not None:
        words = "may not set both a target raw value and a target utilization"
        out.append(field.forbidden(f"{path}.averageValue", words))


def _container_resource(out: list[Cause], path: str, source: autoscaling_v2.ContainerResourceMetricSource) -> None:
    if not source.name:
        out.append(field.required(f"{path}.name", "must specify a resource name"))
    if not source.container:
        out.append(field.required(f"{path}.container", "must specify a container"))
    _usage(out, f"{path}.target", source.target)


def _scaling(out: list[Cause], path: str, rules: autoscaling_v2.HPAScalingRules) -> None:
    window = rules.stabilization_window_seconds
    if window is not None and window < 0:
        words = "must be greater than or equal to zero"
        out.append(field.invalid(f"{path}.stabilizationWindowSeconds", window, words))
    if window is not None and window > LONGEST_WINDOW:
        words = f"must be less than or equal to {LONGEST_WINDOW}"
        out.append(field.invalid(f"{path}.stabilizationWindowSeconds", window, words))
    policies = ("Disabled", "Max", "Min")
    if rules.select_policy is not None and rules.select_policy not in policies:
        out.append(field.not_supported(f"{path}.selectPolicy", rules.select_policy, policies))
    if not rules.policies:
        out.append(field.required(f"{path}.policies", "must specify at least one Policy"))
    _policies(out, f"{path}.policies", rules.policies)
    if rules.tolerance is not None and quantity.nano(rules.tolerance) < 0:
        words = "must be greater or equal to zero"
        out.append(field.invalid(f"{path}.tolerance", rules.tolerance, words))


def _policies(out: list[Cause], path: str, policies: Sequence[autoscaling_v2.HPAScalingPolicy]) -> None:
    for i, policy in enumerate(policies):
        here = f"{path}[{i}]"
        if policy.type not in ("Percent", "Pods"):
            out.append(field.not_supported(f"{here}.type", policy.type, ("Percent", "Pods")))
        if policy.value <= 0:
            out.append(field.invalid(f"{here}.value", policy.value, "must be greater than zero"))
        if policy.period_seconds <= 0:
            out.append(field.invalid(f"{here}.periodSeconds", policy.period_seconds, "must be greater than zero"))
        if policy.period_seconds > LONGEST_PERIOD:
            words = f"must be less than or equal to {LONGEST_PERIOD}"
            out.append(field.invalid(f"{here}.periodSeconds", policy.period_seconds, words))


def _update(
    out: list[Cause],
    new: autoscaling_v2.HorizontalPodAutoscaler,
    old: autoscaling_v2.HorizontalPodAutoscaler,
) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    _spec(out, new.spec)


def _status(
    out: list[Cause],
    new: autoscaling_v1.HorizontalPodAutoscaler | autoscaling_v2.HorizontalPodAutoscaler,
    old: autoscaling_v1.HorizontalPodAutoscaler | autoscaling_v2.HorizontalPodAutoscaler,
) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    counts.not_negative(out, new.status, "currentReplicas", "desiredReplicas")


def _as_v2(old: autoscaling_v1.HorizontalPodAutoscaler) -> autoscaling_v2.HorizontalPodAutoscaler:
    """The same wishes in the newer version, which is the one that is checked."""
    spec, usage = old.spec, old.spec.target_cpu_utilization_percentage
    target = spec.scale_target_ref
    metrics = []
    if usage is not None:
        wanted = autoscaling_v2.MetricTarget(type="Utilization", average_utilization=usage)
        source = autoscaling_v2.ResourceMetricSource(name="cpu", target=wanted)
        metrics.append(autoscaling_v2.MetricSpec(type="Resource", resource=source))
    return autoscaling_v2.HorizontalPodAutoscaler(
        metadata=old.metadata,
        spec=autoscaling_v2.HorizontalPodAutoscalerSpec(
            scale_target_ref=autoscaling_v2.CrossVersionObjectReference(
                kind=target.kind, name=target.name, api_version=target.api_version
            ),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            metrics=metrics,
        ),
    )


def _autoscaler_v1(out: list[Cause], obj: autoscaling_v1.HorizontalPodAutoscaler) -> None:
    autoscaler(out, _as_v2(obj))


def _update_v1(
    out: list[Cause],
    new: autoscaling_v1.HorizontalPodAutoscaler,
    old: autoscaling_v1.HorizontalPodAutoscaler,
) -> None:
    _update(out, _as_v2(new), _as_v2(old))


CREATE: dict[type[Any], Any] = {
    autoscaling_v2.HorizontalPodAutoscaler: autoscaler,
    autoscaling_v1.HorizontalPodAutoscaler: _autoscaler_v1,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (autoscaling_v2.HorizontalPodAutoscaler, ""): _update,
    (autoscaling_v1.HorizontalPodAutoscaler, ""): _update_v1,
    (autoscaling_v2.HorizontalPodAutoscaler, "status"): _status,
    (autoscaling_v1.HorizontalPodAutoscaler, "status"): _status,
}

"""Defaults of HorizontalPodAutoscalers in both versions. Source: `pkg/apis/autoscaling/v{1,2}/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import autoscaling_v1, autoscaling_v2

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_CPU_PERCENT = 80
METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"


def _v1(obj: autoscaling_v1.HorizontalPodAutoscaler) -> None:
    if obj.spec.min_replicas is None:
        obj.spec.min_replicas = 1
    if obj.spec.target_cpu_utilization_percentage is None and METRICS_ANNOTATION not in obj.metadata.annotations:
        obj.spec.target_cpu_utilization_percentage = DEFAULT_CPU_PERCENT


def _v2(obj: autoscaling_v2.HorizontalPodAutoscaler) -> None:
    spec = obj.spec
    if spec.min_replicas is None:
        spec.min_replicas = 1
    if not spec.metrics:
        target = autoscaling_v2.MetricTarget(type="Utilization", average_utilization=DEFAULT_CPU_PERCENT)
        resource = autoscaling_v2.ResourceMetricSource(name="cpu", target=target)
        spec.metrics = [autoscaling_v2.MetricSpec(type="Resource", resource=resource)]
    if spec.behavior is not None:
        spec.behavior.scale_up = _rules(spec.behavior.scale_up, 0, [("Pods", 4, 15), ("Percent", 100, 15)])
        spec.behavior.scale_down = _rules(spec.behavior.scale_down, None, [("Percent", 100, 15)])


def _rules(
    rules: autoscaling_v2.HPAScalingRules | None, window_seconds: int | None, policies: list[tuple[str, int, int]]
) -> autoscaling_v2.HPAScalingRules:
    rules = rules or autoscaling_v2.HPAScalingRules()
    if rules.stabilization_window_seconds is None:
        rules.stabilization_window_seconds = window_seconds
    if rules.select_policy is None:
        rules.select_policy = "Max"
    if not rules.policies:
        rules.policies = [
            autoscaling_v2.HPAScalingPolicy(type=kind, value=value, period_seconds=seconds)
            for kind, value, seconds in policies
        ]
    return rules


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    autoscaling_v1.HorizontalPodAutoscaler: _v1,
    autoscaling_v2.HorizontalPodAutoscaler: _v2,
}

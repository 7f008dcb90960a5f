"""From the readings of every metric of an autoscaler to one wish. Pure.

Source: kube-controller-manager `podautoscaler/horizontal.go` (computeReplicasForMetrics and below).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api import quantity
from carob.api.selectors import SelectorError, from_struct
from carob.api.types import autoscaling_v2 as v2
from carob.controllers.autoscaling import replicas
from carob.controllers.autoscaling.readings import OneValue, PerPod, Unreadable, from_milli, milli
from carob.controllers.autoscaling.replicas import CannotCalculateError, Proposal, Tolerances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1
    from carob.controllers.autoscaling.readings import Reading


class Situation(Struct, frozen=True):
    """What there is: sizes of the target, its Pods, the time."""

    spec_replicas: int
    status_replicas: int
    pods: Sequence[core_v1.Pod]
    now: float


class One(Struct, frozen=True):
    """What one metric asks for, and what the status says of it."""

    replicas: int
    name: str
    status: v2.MetricStatus


class Failed(Struct):
    """Reason and words of the first failure, as event and condition have them; `wrapped` as the summary has them."""

    reason: str
    words: str
    wrapped: str


class Wish(Struct):
    """`replicas` None: nothing can be said. `failed` is the first of `failures`, if there are any."""

    replicas: int | None
    metric: str = ""
    statuses: list[v2.MetricStatus] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    summary: str = ""


def wish(
    spec: v2.HorizontalPodAutoscalerSpec,
    readings: Sequence[Reading],
    situation: Situation,
    old: v2.HorizontalPodAutoscalerStatus,
) -> Wish:
    """The greatest size that any metric asks for; with failures only if it is no smaller than the present one."""
    tolerances = tolerances_of(spec)
    out = Wish(None)
    best: One | None = None
    before = old.current_metrics or []
    for position, (metric, reading) in enumerate(zip(spec.metrics, readings, strict=True)):
        found = _one(metric, reading, situation, tolerances)
        if isinstance(found, Failed):
            out.failures.append(found)
            # what was last known stays; a status must say its type
            same = position < len(before) and before[position].type == metric.type
            out.statuses.append(before[position] if same else v2.MetricStatus(type=""))
            continue
        out.statuses.append(found.status)
        if best is None or found.replicas > best.replicas:
            best = found
    out.statuses = [status for status in out.statuses if status.type]
    if out.failures:
        first = out.failures[0].wrapped
        out.summary = (
            f"invalid metrics ({len(out.failures)} invalid out of {len(spec.metrics)}), first error is: {first}"
        )
    if best is not None and not (out.failures and best.replicas < situation.spec_replicas):
        out.replicas, out.metric = best.replicas, best.name
    return out


def tolerances_of(spec: v2.HorizontalPodAutoscalerSpec) -> Tolerances:
    """Of each direction."""
    behavior = spec.behavior

    def of(rules: v2.HPAScalingRules | None) -> float:
        if rules is None or rules.tolerance is None:
            return replicas.DEFAULT_TOLERANCE
        return float(quantity.parse(rules.tolerance))

    return Tolerances(of(behavior.scale_up), of(behavior.scale_down)) if behavior is not None else Tolerances()


def _one(metric: v2.MetricSpec, reading: Reading, at: Situation, tolerances: Tolerances) -> One | Failed:
    if metric.resource is not None:
        return _resource(metric.resource.name, "", metric.resource.target, reading, at, tolerances)
    if metric.container_resource is not None:
        source = metric.container_resource
        return _resource(source.name, source.container, source.target, reading, at, tolerances)
    if metric.pods is not None:
        return _pods(metric.pods, reading, at, tolerances)
    if metric.object is not None:
        return _object(metric.object, reading, at, tolerances)
    if metric.external is not None:
        return _external(metric.external, reading, at, tolerances)
    words = f'unknown metric source type "{metric.type}"'
    return Failed("InvalidMetricSourceType", words, words)


def _resource(
    name: str, container: str, target: v2.MetricTarget, reading: Reading, at: Situation, tolerances: Tolerances
) -> One | Failed:
    reason = "FailedGetContainerResourceMetric" if container else "FailedGetResourceMetric"
    wrap = (
        f"failed to get {container} container metric value"
        if container
        else f"failed to get {name} resource metric value"
    )

    def failed(words: str) -> Failed:
        return Failed(reason, words, f"{wrap}: {words}")

    kind = "usage" if target.average_value is not None else "utilization"
    if target.average_value is None and target.average_utilization is None:
        return failed(
            "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set"
        )
    if not isinstance(reading, PerPod):
        why = reading.why if isinstance(reading, Unreadable) else "no metrics returned from resource metrics API"
        return failed(f"failed to get {name} {kind}: unable to get metrics for resource {name}: {why}")
    try:
        if target.average_value is not None:
            proposal = replicas.by_average(
                at.spec_replicas, milli(target.average_value), name, reading.pods, at.pods, tolerances, at.now
            )
            metric = f"{name} {'container resource' if container else 'resource'}"
        else:
            assert target.average_utilization is not None
            proposal = replicas.by_utilization(
                at.spec_replicas, target.average_utilization, name, container, reading.pods, at.pods, tolerances, at.now
            )
            what = "container resource utilization" if container else "resource utilization"
            metric = f"{name} {what} (percentage of request)"
    except CannotCalculateError as error:
        return failed(f"failed to get {name} {kind}: {error}")
    current = v2.MetricValueStatus(average_value=from_milli(proposal.milli), average_utilization=proposal.percent)
    if container:
        of_container = v2.ContainerResourceMetricStatus(name=name, container=container, current=current)
        return One(
            proposal.replicas, metric, v2.MetricStatus(type="ContainerResource", container_resource=of_container)
        )
    status = v2.MetricStatus(type="Resource", resource=v2.ResourceMetricStatus(name=name, current=current))
    return One(proposal.replicas, metric, status)


def _pods(source: v2.PodsMetricSource, reading: Reading, at: Situation, tolerances: Tolerances) -> One | Failed:
    name = source.metric.name

    def failed(words: str) -> Failed:
        return Failed("FailedGetPodsMetric", words, f"failed to get pods metric value: {words}")

    if not isinstance(reading, PerPod):
        return failed(f"unable to get metric {name}: {_why(reading)}")
    try:
        target = milli(source.target.average_value or "0")
        proposal = replicas.by_average(at.spec_replicas, target, "", reading.pods, at.pods, tolerances, at.now)
    except CannotCalculateError as error:
        return failed(str(error))
    current = v2.MetricValueStatus(average_value=from_milli(proposal.milli))
    status = v2.MetricStatus(type="Pods", pods=v2.PodsMetricStatus(metric=source.metric, current=current))
    return One(proposal.replicas, f"pods metric {name}", status)


def _object(source: v2.ObjectMetricSource, reading: Reading, at: Situation, tolerances: Tolerances) -> One | Failed:
    name, of = source.metric.name, source.described_object
    if not isinstance(reading, OneValue):
        words = f"unable to get metric {name}: {of.kind} on {_namespace(at)} {of.name}/{_why(reading)}"
        return Failed("FailedGetObjectMetric", words, f"failed to get object metric value: {words}")
    proposal, current = _valued(source.target, reading.milli, at, tolerances)
    status = v2.ObjectMetricStatus(metric=source.metric, described_object=of, current=current)
    title = (
        f"{of.kind} metric {name}"
        if source.target.value is not None
        else f"external metric {name}({_selector(source.metric)})"
    )
    return One(proposal.replicas, title, v2.MetricStatus(type="Object", object=status))


def _external(source: v2.ExternalMetricSource, reading: Reading, at: Situation, tolerances: Tolerances) -> One | Failed:
    name, selector = source.metric.name, _selector(source.metric)
    if not isinstance(reading, OneValue):
        words = f"failed to get {name} external metric: unable to get external metric {_namespace(at)}/{name}/{selector}: {_why(reading)}"
        return Failed("FailedGetExternalMetric", words, f"failed to get {name} external metric value: {words}")
    proposal, current = _valued(source.target, reading.milli, at, tolerances)
    status = v2.MetricStatus(type="External", external=v2.ExternalMetricStatus(metric=source.metric, current=current))
    return One(proposal.replicas, f"external metric {name}({selector})", status)


def _valued(
    target: v2.MetricTarget, value: int, at: Situation, tolerances: Tolerances
) -> tuple[Proposal, v2.MetricValueStatus]:
    if target.average_value is not None and target.value is None:
        proposal = replicas.by_value_per_pod(at.status_replicas, milli(target.average_value), value, tolerances)
        return proposal, v2.MetricValueStatus(average_value=from_milli(proposal.milli))
    proposal = replicas.by_value(at.spec_replicas, milli(target.value or "0"), value, at.pods, tolerances)
    return proposal, v2.MetricValueStatus(value=from_milli(value))


def _why(reading: Reading) -> str:
    return reading.why if isinstance(reading, Unreadable) else "no metrics returned"


def _namespace(at: Situation) -> str:
    return at.pods[0].metadata.namespace if at.pods else ""


def _selector(metric: v2.MetricIdentifier) -> str:
    if metric.selector is None:
        return ""
    try:
        return str(from_struct(metric.selector))
    except SelectorError:
        return "<error>"

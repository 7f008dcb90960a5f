"""Autoscalers: how many replicas a metric asks for, how fast a size may go, and that it never leaves its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api import codec
from carob.api.types import autoscaling_v2 as v2
from carob.api.types import core_v1
from carob.base.clock import rfc3339
from carob.controllers.autoscaling import replicas
from carob.controllers.autoscaling.limits import Change, Memory, limit
from carob.controllers.autoscaling.metrics import Situation
from carob.controllers.autoscaling.reader import window_seconds
from carob.controllers.autoscaling.readings import OneValue, PerPod, PodReading, Reading, Unreadable, from_milli
from carob.controllers.autoscaling.reconcile import needs_metrics, no_scale, not_scaled, reconcile, scaled
from carob.controllers.autoscaling.replicas import CannotCalculateError, Tolerances

NOW = 1_767_225_600.0


def pod(
    name: str,
    request: str | None = "100m",
    *,
    phase: str = "Running",
    ready: bool = True,
    age: float = 1000,
    changed: float = 900,
) -> core_v1.Pod:
    requests = {"cpu": request} if request else {}
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "lastTransitionTime": rfc3339(NOW - changed),
    }
    tree = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]},
        "status": {"phase": phase, "startTime": rfc3339(NOW - age), "conditions": [condition]},
    }
    return codec.from_tree(core_v1.Pod, tree)


def pods(count: int, **how: Any) -> list[core_v1.Pod]:
    return [pod(f"p{i}", **how) for i in range(count)]


def used(*milli: int) -> dict[str, PodReading]:
    return {f"p{i}": PodReading(value, NOW) for i, value in enumerate(milli)}


def hpa(low: int | None = 1, high: int = 10, **spec: Any) -> v2.HorizontalPodAutoscaler:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    tree: dict[str, Any] = {
        "metadata": {"name": "h", "namespace": "default", "generation": 3},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "web"},
            "maxReplicas": high,
            "metrics": spec.pop("metrics", [cpu]),
            **({} if low is None else {"minReplicas": low}),
            **spec,
        },
    }
    return codec.from_tree(v2.HorizontalPodAutoscaler, tree)


@pytest.mark.parametrize(
    ("readings", "these", "replicas_", "percent"),
    [
        pytest.param(used(100, 100), pods(2), 4, 100, id="twice the target"),
        pytest.param(used(52, 53), pods(2), 2, 52, id="within the tolerance"),
        pytest.param(used(10, 10), pods(2), 1, 10, id="far below"),
        pytest.param(used(100), pods(2), 2, 100, id="missing ones count as idle on the way up"),
        pytest.param(used(10), pods(2), 2, 10, id="and as fully used on the way down"),
        pytest.param(used(100, 100), [pod("p0"), pod("p1", phase="Pending")], 2, 100, id="pending ones as idle"),
        pytest.param(used(100, 0), [pod("p0"), pod("p1", phase="Failed")], 2, 100, id="failed ones not at all"),
        pytest.param(used(90, 10), [pod("p0"), pod("p1", ready=False, age=60)], 2, 90, id="unready young ones as idle"),
        pytest.param(
            used(90, 90), [pod("p0"), pod("p1", ready=False, age=1000, changed=10)], 4, 90, id="unready old ones count"
        ),
        pytest.param(
            used(90, 90), [pod("p0"), pod("p1", ready=False, age=1000, changed=990)], 2, 90, id="never ready: not"
        ),
        pytest.param(used(90, 90), [pod("p0"), pod("p1", age=60, changed=30)], 2, 90, id="window older than readiness"),
    ],
)
def test_a_target_in_percent_of_requests(
    readings: dict[str, PodReading], these: list[core_v1.Pod], replicas_: int, percent: int
) -> None:
    found = replicas.by_utilization(2, 50, "cpu", "", readings, these, Tolerances(), NOW)
    assert (found.replicas, found.percent) == (replicas_, percent)


@pytest.mark.parametrize(
    ("readings", "these", "words"),
    [
        (used(1), [], "no pods returned by selector while calculating replica count"),
        ({}, pods(2), "did not receive metrics for targeted pods (pods might be unready)"),
        (used(1), [pod("p0", None)], "missing request for cpu in container c of Pod p0"),
        ({"other": PodReading(1)}, pods(1), "no metrics returned matched known pods"),
    ],
)
def test_what_cannot_be_calculated(readings: dict[str, PodReading], these: list[core_v1.Pod], words: str) -> None:
    with pytest.raises(CannotCalculateError) as refusal:
        replicas.by_utilization(2, 50, "cpu", "", readings, these, Tolerances(), NOW)
    assert str(refusal.value) == words


@pytest.mark.parametrize(
    ("current", "value", "ready", "expected"),
    [(0, 2500, 0, 3), (2, 1050, 2, 2), (2, 3000, 2, 6), (3, 3000, 2, 6), (4, 500, 4, 2)],
)
def test_one_value_for_all(current: int, value: int, ready: int, expected: int) -> None:
    assert replicas.by_value(current, 1000, value, pods(ready), Tolerances()).replicas == expected


@pytest.mark.parametrize(("there", "value", "expected"), [(2, 5000, 5), (5, 5200, 5), (5, 1000, 1), (0, 3000, 3)])
def test_one_value_divided(there: int, value: int, expected: int) -> None:
    assert replicas.by_value_per_pod(there, 1000, value, Tolerances()).replicas == expected


def test_tolerance_of_each_direction() -> None:
    wide = Tolerances(up=0.5, down=0.0)
    assert replicas.by_average(2, 100, "", used(149, 149), pods(2), wide, NOW).replicas == 2
    assert replicas.by_average(2, 100, "", used(40, 40), pods(2), wide, NOW).replicas == 1
    assert replicas.by_average(2, 100, "", used(151, 151), pods(2), wide, NOW).replicas == 4


UP = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}], "selectPolicy": "Max"}}
BOTH = {
    "scaleUp": {
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 60},
            {"type": "Percent", "value": 50, "periodSeconds": 60},
        ],
        "selectPolicy": "Min",
        "stabilizationWindowSeconds": 0,
    },
    "scaleDown": {
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
        "stabilizationWindowSeconds": 100,
    },
}


@pytest.mark.parametrize(
    ("behavior", "current", "wanted", "memory", "size", "able", "limited"),
    [
        pytest.param(None, 2, 9, Memory(), 4, "ReadyForNewScale", "ScaleUpLimit", id="at most twice, or four"),
        pytest.param(None, 8, 99, Memory(), 10, "ReadyForNewScale", "TooManyReplicas", id="the upper bound"),
        pytest.param(None, 3, 1, Memory(), 2, "ReadyForNewScale", "TooFewReplicas", id="the lower bound"),
        pytest.param(
            None, 5, 3, Memory((Change(NOW - 200, 5),)), 5, "ScaleDownStabilized", "DesiredWithinRange", id="held up"
        ),
        pytest.param(
            None, 5, 3, Memory((Change(NOW - 301, 5),)), 3, "ReadyForNewScale", "DesiredWithinRange", id="forgotten"
        ),
        pytest.param(UP, 3, 9, Memory(), 5, "ReadyForNewScale", "ScaleUpLimit", id="a policy in Pods"),
        pytest.param(
            UP,
            5,
            9,
            Memory(ups=(Change(NOW - 30, 2),)),
            5,
            "ReadyForNewScale",
            "ScaleUpLimit",
            id="what was added lately counts",
        ),
        pytest.param(BOTH, 4, 9, Memory(), 6, "ReadyForNewScale", "ScaleUpLimit", id="the smaller of two"),
        pytest.param(BOTH, 8, 2, Memory(), 4, "ReadyForNewScale", "ScaleDownLimit", id="half at a time"),
        pytest.param(
            BOTH,
            4,
            2,
            Memory(downs=(Change(NOW - 30, 4),)),
            4,
            "ReadyForNewScale",
            "ScaleDownLimit",
            id="already taken away",
        ),
        pytest.param(
            {"scaleUp": {**UP["scaleUp"], "stabilizationWindowSeconds": 60}},
            3,
            9,
            Memory((Change(NOW - 30, 4),)),
            4,
            "ScaleUpStabilized",
            "DesiredWithinRange",
            id="up as low as anybody wished",
        ),
        pytest.param(
            {"scaleDown": {"policies": [], "selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}},
            3,
            9,
            Memory(),
            6,
            "ReadyForNewScale",
            "ScaleUpLimit",
            id="no rules upwards",
        ),
        pytest.param(
            {
                "scaleDown": {
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}],
                    "selectPolicy": "Disabled",
                    "stabilizationWindowSeconds": 0,
                }
            },
            6,
            2,
            Memory(),
            6,
            "ReadyForNewScale",
            "ScaleDownLimit",
            id="never down",
        ),
    ],
)
def test_how_fast_and_how_far(
    behavior: dict[str, Any] | None, current: int, wanted: int, memory: Memory, size: int, able: str, limited: str
) -> None:
    spec = hpa(2, 10, **({"behavior": behavior} if behavior else {})).spec
    found = limit(spec, current, wanted, memory, NOW)
    assert (found.replicas, found.able[0], found.limited[0]) == (size, able, limited)
    assert found.recommendations[-1] == Change(NOW, wanted)


def conditions(status: v2.HorizontalPodAutoscalerStatus) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in status.conditions}


def test_a_busy_target_grows() -> None:
    one = hpa()
    plan = reconcile(one, Situation(2, 2, pods(2), NOW), [PerPod(used(100, 100))], Memory())
    assert (plan.size, plan.reason) == (4, "cpu resource utilization (percentage of request) above target")
    scaled(one, plan, 2, NOW)
    status = plan.status
    assert conditions(status) == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    assert (status.current_replicas, status.desired_replicas, status.observed_generation) == (2, 4, 3)
    assert status.last_scale_time == rfc3339(NOW)
    (metric,) = status.current_metrics or []
    assert metric.resource is not None
    assert (metric.resource.current.average_utilization, metric.resource.current.average_value) == (100, "100m")
    words = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert plan.events == [("Normal", "SuccessfulRescale", words)]


def test_a_refused_size_is_told() -> None:
    one = hpa()
    plan = reconcile(one, Situation(2, 2, pods(2), NOW), [PerPod(used(100, 100))], Memory())
    not_scaled(plan, 2, "no", NOW)
    assert conditions(plan.status)["AbleToScale"] == ("False", "FailedUpdateScale")
    assert plan.events[0][1:] == (
        "FailedRescale",
        "New size: 4; reason: cpu resource utilization (percentage of request) above target; error: no",
    )


def test_without_any_metric_nothing_moves() -> None:
    plan = reconcile(
        hpa(), Situation(2, 2, pods(2), NOW), [Unreadable("no metrics returned from resource metrics API")], Memory()
    )
    words = "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API"
    assert plan.size is None
    assert plan.events == [
        ("Warning", "FailedGetResourceMetric", words),
        (
            "Warning",
            "FailedComputeMetricsReplicas",
            f"invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {words}",
        ),
    ]
    assert conditions(plan.status)["ScalingActive"] == ("False", "FailedGetResourceMetric")


EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "10"}}}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "50m"}}}


@pytest.mark.parametrize(
    ("cpu", "queue", "size"),
    [
        pytest.param(PerPod(used(100, 100)), OneValue(30_000), 4, id="the greatest wins, bounded by the rate"),
        pytest.param(PerPod(used(10, 10)), OneValue(20_000), 4, id="one up, one down"),
        pytest.param(PerPod(used(100, 100)), Unreadable("gone"), 4, id="up in spite of a failure"),
        pytest.param(PerPod(used(10, 10)), Unreadable("gone"), None, id="never down with a failure"),
    ],
)
def test_several_metrics(cpu: Reading, queue: Reading, size: int | None) -> None:
    plan = reconcile(hpa(metrics=[CPU, EXTERNAL]), Situation(2, 2, pods(2), NOW), [cpu, queue], Memory())
    assert plan.size == size


@pytest.mark.parametrize(
    ("current", "low", "size", "reason"),
    [
        (12, 1, 10, "Current number of replicas above Spec.MaxReplicas"),
        (1, 3, 3, "Current number of replicas below Spec.MinReplicas"),
        (0, 3, None, ""),
    ],
)
def test_outside_of_the_bounds_no_metric_is_needed(current: int, low: int, size: int | None, reason: str) -> None:
    one = hpa(low)
    assert not needs_metrics(one.spec, current)
    plan = reconcile(one, Situation(current, current, (), NOW), [], Memory())
    assert (plan.size, plan.reason) == (size, reason)


def test_a_target_that_cannot_be_asked() -> None:
    plan = no_scale(hpa(), Memory(), 'deployments.apps "web" not found', NOW)
    assert conditions(plan.status) == {"AbleToScale": ("False", "FailedGetScale")}
    assert plan.events == [("Warning", "FailedGetScale", 'deployments.apps "web" not found')]


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("1h0m0s", 3600), ("", 60)])
def test_windows(text: str, seconds: float) -> None:
    assert window_seconds(text) == seconds


def test_values_are_shown_as_quantities() -> None:
    assert (from_milli(1500), from_milli(4_194_304_000)) == ("1500m", "4194304")


policies = st.builds(
    lambda kind, value, period: {"type": kind, "value": value, "periodSeconds": period},
    st.sampled_from(["Pods", "Percent"]),
    st.integers(1, 200),
    st.integers(1, 600),
)
rules = st.fixed_dictionaries(
    {
        "policies": st.lists(policies, max_size=3),
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "stabilizationWindowSeconds": st.integers(0, 600),
    }
)
behaviors = st.none() | st.fixed_dictionaries({}, optional={"scaleUp": rules, "scaleDown": rules})
steps = st.lists(st.tuples(st.floats(0, 400), st.integers(0, 3), st.integers(0, 5000)), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 60), behaviors, steps)
def test_the_size_never_leaves_the_bounds(
    low: int, room: int, start: int, behavior: dict[str, Any] | None, order: list[tuple[float, int, int]]
) -> None:
    """Whatever the metrics say, in whatever order, with Pods missing, and with whatever somebody sets by hand."""
    high = low + room
    one = hpa(low, high, **({"behavior": behavior} if behavior is not None else {}))
    memory, size, now = Memory(), start, NOW
    for wait, what, value in order:
        now += wait
        if what == 0:
            size = value % 60
        count = 0 if what == 1 else size
        readings: list[Reading] = [PerPod(used(*[value] * count))] if what < 3 else [Unreadable("gone")]
        plan = reconcile(one, Situation(size, size, pods(size), now), readings, memory)
        memory = plan.memory
        if plan.size is not None:
            assert low <= plan.size <= high
            assert plan.size != size
            scaled(one, plan, size, now)
            memory, size = plan.memory, plan.size
        elif size:
            assert low <= size <= high
        one.status = plan.status
        assert len(memory.recommendations) <= len(order) + 1

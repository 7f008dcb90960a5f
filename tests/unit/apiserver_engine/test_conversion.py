"""Kinds that are served in two versions: nothing is lost on the way there and back."""

from __future__ import annotations

from typing import Any

from carob.api import codec
from carob.api.resources import TABLE, Resource
from carob.apiserver.conversion import convert_object


def row(api_version: str, kind: str) -> Resource:
    found = TABLE.by_kind(api_version, kind)
    assert found is not None
    return found


def there_and_back(source: Resource, other: Resource, tree: dict[str, Any]) -> tuple[Any, Any, Any]:
    obj = codec.from_tree(source.struct, tree)
    between = convert_object(obj, source, other)
    return obj, between, convert_object(between, other, source)


V1, V2 = row("autoscaling/v1", "HorizontalPodAutoscaler"), row("autoscaling/v2", "HorizontalPodAutoscaler")
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}


def test_metrics_that_v1_has_no_field_for_survive_it() -> None:
    utilization = {"type": "Utilization", "averageUtilization": 60}
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": utilization}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {
            "type": "Pods",
            "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}},
        },
    ]
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 10}}
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 3, "metrics": metrics, "behavior": behavior}
    obj, between, back = there_and_back(V2, V1, {"metadata": {"name": "h"}, "spec": spec})
    assert between.spec.target_cpu_utilization_percentage == 60
    assert "autoscaling.alpha.kubernetes.io/metrics" in between.metadata.annotations
    assert codec.to_tree(back) == codec.to_tree(obj)


def test_annotations_that_are_no_json_are_dropped() -> None:
    tree = {
        "metadata": {"name": "h", "annotations": {"autoscaling.alpha.kubernetes.io/metrics": "{", "mine": "x"}},
        "spec": {"scaleTargetRef": TARGET, "maxReplicas": 3},
    }
    new = convert_object(codec.from_tree(V1.struct, tree), V1, V2)
    assert (new.metadata.annotations, list(new.spec.metrics or [])) == ({"mine": "x"}, [])


def test_an_event_says_the_same_in_both_groups() -> None:
    core, new = row("v1", "Event"), row("events.k8s.io/v1", "Event")
    tree = {
        "metadata": {"name": "e", "namespace": "d"},
        "involvedObject": {"kind": "Pod", "name": "p"},
        "reason": "R",
        "message": "m",
        "source": {"component": "c", "host": "h"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "count": 3,
        "type": "Normal",
        "series": {"count": 4, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
    }
    obj, between, back = there_and_back(core, new, tree)
    assert (between.note, between.regarding.name, between.deprecated_count) == ("m", "p", 3)
    assert codec.to_tree(back) == codec.to_tree(obj)


def test_the_stored_version_is_itself() -> None:
    obj = codec.from_tree(V2.struct, {"metadata": {"name": "h"}})
    assert convert_object(obj, V2, V2) is obj

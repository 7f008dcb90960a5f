"""Kinds that are served in several versions but stored in one: HorizontalPodAutoscaler and Event.

Pure. A conversion goes from tree to tree; nothing that the stored form can hold is lost on the way back, because the
v1 autoscaler keeps what it cannot say in annotations.

Source: upstream `pkg/apis/autoscaling/v1/conversion.go`, `pkg/apis/events/v1/conversion.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec
from carob.apiserver.watch_cache import head_of, spliced

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource
    from carob.apiserver.watch_cache import Entry

Tree = dict[str, Any]

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_HPA_ANNOTATIONS = (_METRICS, _BEHAVIOR, _CURRENT_METRICS, _CONDITIONS)

_EVENT_FIELDS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def converter(source: Resource, target: Resource) -> Callable[[Entry], bytes]:
    """From cached entries of `source` to tails of `target`."""
    head = head_of(source)
    start = len(head_of(target)) + len(b'"metadata":{')

    def convert(entry: Entry) -> bytes:
        obj = convert_object(codec.decode(source.struct, head + entry.tail), source, target)
        obj.metadata.resource_version = ""
        return spliced(codec.encode(obj)[start:], entry.revision)

    return convert


def convert_object(obj: Any, source: Resource, target: Resource) -> Any:
    """A Struct of `target` that says what a Struct of `source` says; the same object where both are one row."""
    if source is target:
        return obj
    tree = codec.to_tree(obj)
    if target.plural == "events":
        tree = _event(tree, to_core=target.group == "")
    else:
        tree = _autoscaler_v1(tree) if target.version == "v1" else _autoscaler_v2(tree)
    tree["kind"], tree["apiVersion"] = target.kind, target.api_version
    return codec.from_tree(target.struct, tree)


def _event(tree: Tree, to_core: bool) -> Tree:
    out = dict(tree)
    for core, events in _EVENT_FIELDS:
        source, target = (events, core) if to_core else (core, events)
        if source in out:
            out[target] = out.pop(source)
    return out


def _autoscaler_v1(tree: Tree) -> Tree:
    """autoscaling/v2 as v1: the first CPU utilization metric is a field, the rest goes into annotations."""
    spec, status = dict(tree.get("spec") or {}), dict(tree.get("status") or {})
    annotations: dict[str, str] = dict(tree["metadata"].get("annotations") or {})
    others = []
    for metric in spec.pop("metrics", None) or []:
        target = (metric.get("resource") or {}).get("target") or {}
        is_cpu = metric.get("type") == "Resource" and metric["resource"].get("name") == "cpu"
        if is_cpu and "averageUtilization" in target and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            others.append(_metric_v1(metric))
    behavior = spec.pop("behavior", None)
    current = status.pop("currentMetrics", None) or []
    for metric in current:
        value = (metric.get("resource") or {}).get("current") or {}
        is_cpu = metric.get("type") == "Resource" and metric["resource"].get("name") == "cpu"
        if is_cpu and "averageUtilization" in value:
            status["currentCPUUtilizationPercentage"] = value["averageUtilization"]
    conditions = status.pop("conditions", None)
    for name, value in (
        (_METRICS, others),
        (_BEHAVIOR, behavior),
        (_CURRENT_METRICS, current),
        (_CONDITIONS, conditions),
    ):
        if value:
            annotations[name] = orjson.dumps(value).decode()
    out = tree | {"spec": spec, "status": status}
    return _annotated(out, annotations)


def _metric_v1(metric: Tree) -> Tree:
    """v2's `target.averageUtilization` is v1's `targetAverageUtilization`, and so on."""
    out: Tree = {"type": metric.get("type")}
    for key, body in metric.items():
        if key == "type" or not isinstance(body, dict):
            continue
        flat = {k: v for k, v in body.items() if k != "target"}
        target = body.get("target") or {}
        if "averageUtilization" in target:
            flat["targetAverageUtilization"] = target["averageUtilization"]
        if "averageValue" in target:
            flat["targetAverageValue"] = target["averageValue"]
        if "value" in target:
            flat["targetValue"] = target["value"]
        if "metric" in flat:
            named = flat.pop("metric")
            flat["metricName"] = named.get("name", "")
            if named.get("selector"):
                flat["selector"] = named["selector"]
        if "describedObject" in flat:
            flat["target"] = flat.pop("describedObject")
        out[key] = flat
    return out


def _metric_v2(metric: Tree) -> Tree:
    out: Tree = {"type": metric.get("type")}
    for key, body in metric.items():
        if key == "type" or not isinstance(body, dict):
            continue
        flat = dict(body)
        target: Tree = {}
        if "targetAverageUtilization" in flat:
            target = {"type": "Utilization", "averageUtilization": flat.pop("targetAverageUtilization")}
        elif "targetAverageValue" in flat:
            target = {"type": "AverageValue", "averageValue": flat.pop("targetAverageValue")}
        elif "targetValue" in flat:
            target = {"type": "Value", "value": flat.pop("targetValue")}
        if "target" in flat:
            flat["describedObject"] = flat.pop("target")
        if "metricName" in flat:
            flat["metric"] = {"name": flat.pop("metricName")}
            if "selector" in flat:
                flat["metric"]["selector"] = flat.pop("selector")
        out[key] = flat | {"target": target}
    return out


def _autoscaler_v2(tree: Tree) -> Tree:
    """autoscaling/v1 as v2: the annotations give back what v1 has no field for."""
    spec, status = dict(tree.get("spec") or {}), dict(tree.get("status") or {})
    annotations: dict[str, str] = dict(tree["metadata"].get("annotations") or {})
    metrics = [_metric_v2(metric) for metric in _read(annotations, _METRICS) or []]
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": utilization}}
        metrics.insert(0, {"type": "Resource", "resource": cpu})
    if metrics:
        spec["metrics"] = metrics
    behavior = _read(annotations, _BEHAVIOR)
    if behavior:
        spec["behavior"] = behavior
    status.pop("currentCPUUtilizationPercentage", None)
    for name, field in ((_CURRENT_METRICS, "currentMetrics"), (_CONDITIONS, "conditions")):
        value = _read(annotations, name)
        if value:
            status[field] = value
    for name in _HPA_ANNOTATIONS:
        annotations.pop(name, None)
    return _annotated(tree | {"spec": spec, "status": status}, annotations)


def _read(annotations: dict[str, str], name: str) -> Any:
    try:
        return orjson.loads(annotations.get(name, "null"))
    except orjson.JSONDecodeError:
        return None


def _annotated(tree: Tree, annotations: dict[str, str]) -> Tree:
    metadata = {key: value for key, value in tree["metadata"].items() if key != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    return tree | {"metadata": metadata}

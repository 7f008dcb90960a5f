"""`describe` of HorizontalPodAutoscaler.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from carob.cli.describers import parts
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

UNKNOWN = "<unknown>"
# the field of a metric that holds its source, by the metric's type
SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def describe_autoscaler(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    parts.head(writer, metadata)
    writer.line(0, f"CreationTimestamp:\t{parts.rfc1123(metadata['creationTimestamp'])}")
    target = spec.get("scaleTargetRef") or {}
    writer.line(0, f"Reference:\t{target.get('kind', '')}/{target.get('name', '')}")
    writer.line(0, "Metrics:\t( current / target )")
    current = status.get("currentMetrics") or []
    for index, metric in enumerate(spec.get("metrics") or []):
        _metric(writer, metric, current[index] if index < len(current) else {})
    least = spec.get("minReplicas")
    writer.line(0, f"Min replicas:\t{'<unset>' if least is None else least}")
    writer.line(0, f"Max replicas:\t{spec.get('maxReplicas', 0)}")
    behavior = spec.get("behavior")
    if behavior:
        writer.line(0, "Behavior:")
        _direction(writer, "Scale Up", behavior.get("scaleUp"))
        _direction(writer, "Scale Down", behavior.get("scaleDown"))
    counts = f"{status.get('currentReplicas', 0)} current / {status.get('desiredReplicas', 0)} desired"
    writer.line(0, f"{target.get('kind', '')} pods:\t{counts}")
    conditions = status.get("conditions") or []
    if conditions:
        writer.line(0, "Conditions:")
        writer.line(1, "Type\tStatus\tReason\tMessage")
        writer.line(1, "----\t------\t------\t-------")
        for c in conditions:
            writer.line(1, f"{c.get('type')}\t{c.get('status')}\t{c.get('reason', '')}\t{c.get('message', '')}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _metric(writer: Writer, metric: Tree, current: Tree) -> None:
    kind = metric.get("type", "")
    source = metric.get(SOURCES.get(kind, "")) or {}
    now = (current.get(SOURCES.get(kind, "")) or {}).get("current") or {}
    target = source.get("target") or {}
    if kind in ("Resource", "ContainerResource"):
        _resource(writer, kind, source, target, now)
        return
    name = json.dumps((source.get("metric") or {}).get("name", ""))
    average = target.get("averageValue") is not None
    field = "averageValue" if average else "value"
    values = f"{now.get(field, UNKNOWN)} / {target.get(field, '<nil>')}"
    word = "target average value" if average else "target value"
    if kind == "Pods":
        writer.line(1, f"{name} on pods:\t{now.get('averageValue', UNKNOWN)} / {target.get('averageValue', '<nil>')}")
    elif kind == "Object":
        on = source.get("describedObject") or {}
        writer.line(1, f"{name} on {on.get('kind', '')}/{on.get('name', '')} ({word}):\t{values}")
    elif kind == "External":
        writer.line(1, f"{name} ({word}):\t{values}")
    else:
        writer.line(1, f"<unknown metric type {json.dumps(kind)}>")


def _resource(writer: Writer, kind: str, source: Tree, target: Tree, now: Tree) -> None:
    of = f' of container "{source.get("container", "")}"' if kind == "ContainerResource" else ""
    writer.write(1, f"resource {source.get('name', '')}{of} on pods")
    if target.get("averageValue") is not None:
        writer.line(0, f":\t{now.get('averageValue', UNKNOWN)} / {target['averageValue']}")
        return
    share: Any = UNKNOWN
    if now.get("averageUtilization") is not None:
        share = f"{now['averageUtilization']}% ({now.get('averageValue', '0')})"
    wanted = target.get("averageUtilization")
    writer.line(1, f"(as a percentage of request):\t{share} / {'<auto>' if wanted is None else f'{wanted}%'}")


def _direction(writer: Writer, title: str, rules: Tree | None) -> None:
    if rules is None:
        return
    writer.line(1, f"{title}:")
    if rules.get("stabilizationWindowSeconds") is not None:
        writer.line(2, f"Stabilization Window: {rules['stabilizationWindowSeconds']} seconds")
    if rules.get("policies"):
        writer.line(2, f"Select Policy: {rules.get('selectPolicy') or 'Max'}")
        writer.line(2, "Policies:")
        for policy in rules["policies"]:
            cells = f"- Type: {policy.get('type')}\tValue: {policy.get('value')}\t"
            writer.line(3, f"{cells}Period: {policy.get('periodSeconds')} seconds")

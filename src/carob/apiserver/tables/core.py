"""Rows of the core group's other kinds.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.tables.text import NONE, UNKNOWN, age, containers, labels, since

if TYPE_CHECKING:
    from carob.api.types import core_v1, events_v1

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _config_map(obj: core_v1.ConfigMap, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.data) + len(obj.binary_data), age(obj, now)]


def _secret(obj: core_v1.Secret, now: float) -> list[Any]:
    return [obj.metadata.name, obj.type, len(obj.data), age(obj, now)]


def _plain(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, age(obj, now)]


def _namespace(obj: core_v1.Namespace, now: float) -> list[Any]:
    return [obj.metadata.name, obj.status.phase, age(obj, now)]


def _resource_quota(obj: core_v1.ResourceQuota, now: float) -> list[Any]:
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(obj.status.hard):
        used = obj.status.used.get(name, "0")
        (limits if name.startswith("limits.") else requests).append(f"{name}: {used}/{obj.status.hard[name]}")
    return [obj.metadata.name, ", ".join(requests), ", ".join(limits), age(obj, now)]


def _replication_controller(obj: core_v1.ReplicationController, now: float) -> list[Any]:
    template = obj.spec.template
    names, images = containers(template.spec) if template is not None else ("", "")
    counts = [obj.spec.replicas or 0, obj.status.replicas, obj.status.ready_replicas]
    return [obj.metadata.name, *counts, age(obj, now), names, images, labels(obj.spec.selector)]


def _pod_template(obj: core_v1.PodTemplate, now: float) -> list[Any]:
    return [obj.metadata.name, *containers(obj.template.spec), labels(obj.template.metadata.labels)]


def _node(obj: core_v1.Node, now: float) -> list[Any]:
    words = ["Ready" if one.status == "True" else "NotReady" for one in obj.status.conditions if one.type == "Ready"]
    words = words or ["Unknown"]
    if obj.spec.unschedulable:
        words.append("SchedulingDisabled")
    info = obj.status.node_info
    kernel = f"{info.kernel_version} ({info.architecture})" if info.kernel_version and info.architecture else ""
    return [
        obj.metadata.name,
        ",".join(words),
        _roles(obj.metadata.labels),
        age(obj, now),
        info.kubelet_version,
        _address(obj, "InternalIP"),
        _address(obj, "ExternalIP"),
        info.os_image or UNKNOWN,
        kernel or info.kernel_version or UNKNOWN,
        info.container_runtime_version or UNKNOWN,
    ]


def _roles(found: dict[str, str]) -> str:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in found if key.startswith(_ROLE_PREFIX)}
    roles.add(found.get(_ROLE_LABEL, ""))
    return ",".join(sorted(role for role in roles if role)) or NONE


def _address(node: core_v1.Node, kind: str) -> str:
    return next((one.address for one in node.status.addresses if one.type == kind), NONE)


def _event(obj: core_v1.Event, now: float) -> list[Any]:
    first = since(obj.first_timestamp or obj.event_time, now)
    last = since(obj.last_timestamp, now) if obj.last_timestamp else first
    count = obj.count or 1
    if obj.series is not None:
        last, count = since(obj.series.last_observed_time, now), obj.series.count
    component = obj.source.component or obj.reporting_component
    host = obj.source.host or ("" if obj.source.component else obj.reporting_instance)
    return [
        last,
        obj.type,
        obj.reason,
        _target(obj.involved_object),
        obj.involved_object.field_path,
        f"{component}, {host}" if host else component,
        obj.message.strip(),
        first,
        count,
        obj.metadata.name,
    ]


def _target(found: core_v1.ObjectReference) -> str:
    kind = found.kind.lower()
    return f"{kind}/{found.name}" if found.name else kind


def _event_v1(obj: events_v1.Event, now: float) -> list[Any]:
    first = since(obj.deprecated_first_timestamp or obj.event_time, now)
    last = since(obj.deprecated_last_timestamp, now) if obj.deprecated_last_timestamp else first
    count = obj.deprecated_count or 1
    if obj.series is not None:
        last, count = since(obj.series.last_observed_time, now), obj.series.count
    source = obj.deprecated_source
    component = source.component or obj.reporting_controller
    host = source.host if source.component else obj.reporting_instance
    return [
        last,
        obj.type,
        obj.reason,
        _target(obj.regarding),
        obj.regarding.field_path,
        f"{component}, {host}" if host else component,
        obj.note.strip(),
        first,
        count,
        obj.metadata.name,
    ]


def _service_account(obj: core_v1.ServiceAccount, now: float) -> list[Any]:
    return [obj.metadata.name, age(obj, now)]


CELLS = {
    "configmaps": _config_map,
    "events": _event,
    "events.events.k8s.io": _event_v1,
    "namespaces": _namespace,
    "nodes": _node,
    "podtemplates": _pod_template,
    "replicationcontrollers": _replication_controller,
    "resourcequotas": _resource_quota,
    "secrets": _secret,
    "serviceaccounts": _service_account,
    "resourceclaimtemplates.resource.k8s.io": _plain,
    "deviceclasses.resource.k8s.io": _plain,
}

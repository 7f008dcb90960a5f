"""Rows of priorities, runtimes and devices.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.tables.text import age

if TYPE_CHECKING:
    from carob.api.types import node_v1, resource_v1, scheduling_v1


def _priority_class(obj: scheduling_v1.PriorityClass, now: float) -> list[Any]:
    return [obj.metadata.name, obj.value, obj.global_default, age(obj, now), obj.preemption_policy or ""]


def _runtime_class(obj: node_v1.RuntimeClass, now: float) -> list[Any]:
    return [obj.metadata.name, obj.handler, age(obj, now)]


def _claim(obj: resource_v1.ResourceClaim, now: float) -> list[Any]:
    deleted = obj.metadata.deletion_timestamp is not None
    words = ["deleted"] if deleted else []
    if obj.status.allocation is not None:
        words.append("allocated")
        if obj.status.reserved_for:
            words.append("reserved")
    elif not deleted:
        words.append("pending")
    return [obj.metadata.name, ",".join(words), age(obj, now)]


def _slice(obj: resource_v1.ResourceSlice, now: float) -> list[Any]:
    return [obj.metadata.name, obj.spec.node_name or "", obj.spec.driver, obj.spec.pool.name, age(obj, now)]


CELLS = {
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "resourceclaims.resource.k8s.io": _claim,
    "resourceslices.resource.k8s.io": _slice,
    "runtimeclasses.node.k8s.io": _runtime_class,
}

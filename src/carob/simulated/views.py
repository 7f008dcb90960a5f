"""The parts of Pods and Nodes that simulated nodes look at: there may be very many."""

from __future__ import annotations

from sys import intern
from typing import Any

import msgspec
from msgspec import Struct, field

from carob.api.resources import add_view
from carob.api.types import core_v1


class OwnerView(Struct, kw_only=True, frozen=True, gc=False):
    kind: str = ""
    controller: bool | None = None


class MetaView(Struct, kw_only=True, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = field(default="", name="resourceVersion")
    deletion_timestamp: str | None = field(default=None, name="deletionTimestamp")
    deletion_grace_period_seconds: int | None = field(default=None, name="deletionGracePeriodSeconds")
    annotations: dict[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerView, ...] = field(default=(), name="ownerReferences")
    managed_fields: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"[]"), name="managedFields")


class ContainerView(Struct, kw_only=True, gc=False):
    name: str = ""
    image: str = ""
    restart_policy: str | None = field(default=None, name="restartPolicy")


class GateView(Struct, kw_only=True, gc=False):
    condition_type: str = field(default="", name="conditionType")


class SpecView(Struct, kw_only=True, gc=False):
    node_name: str = field(default="", name="nodeName")
    containers: tuple[ContainerView, ...] = ()
    init_containers: tuple[ContainerView, ...] = field(default=(), name="initContainers")
    restart_policy: str = field(default="", name="restartPolicy")
    readiness_gates: tuple[GateView, ...] = field(default=(), name="readinessGates")
    host_network: bool = field(default=False, name="hostNetwork")


class ConditionView(Struct, kw_only=True, frozen=True, gc=False):
    type: str = ""
    status: str = ""
    reason: str = ""


class ContainerStatusView(Struct, kw_only=True, frozen=True, gc=False):
    restart_count: int = field(default=0, name="restartCount")


class StatusView(Struct, kw_only=True, gc=False):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    conditions: tuple[ConditionView, ...] = ()
    container_statuses: tuple[ContainerStatusView, ...] = field(default=(), name="containerStatuses")


class PodView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: SpecView = field(default_factory=SpecView)
    status: StatusView = field(default_factory=StatusView)


_shared: dict[Any, Any] = {}
MAX_SHARED = 4096
_NO_ANNOTATIONS: dict[str, str] = {}


def compact(key: str, old: PodView | None, new: PodView | None) -> None:
    """Handler of the Pods' informer, before all others: one copy of what many Pods have in common, or others keep too."""
    if new is None:
        return
    metadata, spec, status = new.metadata, new.spec, new.status
    if len(_shared) >= MAX_SHARED:
        _shared.clear()
    for part, name in ((metadata, "owner_references"), (status, "conditions"), (status, "container_statuses")):
        found = getattr(part, name)
        setattr(part, name, _shared.setdefault(found, found))
    metadata.annotations = metadata.annotations or _NO_ANNOTATIONS
    metadata.namespace, metadata.name, metadata.uid = map(intern, (metadata.namespace, metadata.name, metadata.uid))
    spec.node_name, spec.restart_policy = intern(spec.node_name), intern(spec.restart_policy)
    status.phase, status.pod_ip = intern(status.phase), intern(status.pod_ip)


class NodeStatusView(Struct, kw_only=True, gc=False):
    conditions: tuple[ConditionView, ...] = ()


class NodeSpecView(Struct, kw_only=True, gc=False):
    taints: list[core_v1.Taint] = field(default_factory=list)


class NodeView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: NodeSpecView = field(default_factory=NodeSpecView)
    status: NodeStatusView = field(default_factory=NodeStatusView)


add_view(PodView, core_v1.Pod)
add_view(NodeView, core_v1.Node)

"""The parts of Pods that the controllers here look at, decoded straight from the API's answers.

A whole Pod costs 11 KB as a Struct, and the controllers keep every Pod of the cluster.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from carob.api.resources import add_view
from carob.api.types import core_v1


class PodMetaView(Struct, kw_only=True, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = field(default="", name="resourceVersion")
    deletion_timestamp: str | None = field(default=None, name="deletionTimestamp")
    generation: int = 0
    managed_fields: Any = field(default_factory=lambda: msgspec.Raw(b"[]"), name="managedFields")
    """Never looked at; declared because informers empty it."""


class PodSpecView(Struct, kw_only=True, gc=False):
    node_name: str = field(default="", name="nodeName")
    tolerations: list[core_v1.Toleration] = field(default_factory=list)


class PodConditionView(Struct, kw_only=True, gc=False):
    type: str = ""
    status: str = ""


class PodStatusView(Struct, kw_only=True, gc=False):
    phase: str = ""
    conditions: list[PodConditionView] = field(default_factory=list)


class PodView(Struct, kw_only=True, gc=False):
    metadata: PodMetaView = field(default_factory=PodMetaView)
    spec: PodSpecView = field(default_factory=PodSpecView)
    status: PodStatusView = field(default_factory=PodStatusView)


add_view(PodView, core_v1.Pod)

BY_NODE = "node"
"""The index of Pods by the name of their node; the empty name for those without one."""


def node_of(pod: PodView) -> tuple[str]:
    """The value of the index `BY_NODE`."""
    return (pod.spec.node_name,)


def reference(pod: PodView) -> core_v1.ObjectReference:
    """What an event about this Pod refers to."""
    metadata = pod.metadata
    return core_v1.ObjectReference(
        kind="Pod",
        api_version="v1",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )

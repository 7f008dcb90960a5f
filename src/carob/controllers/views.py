"""The parts of Pods that the controllers here look at, decoded straight from the API's answers.

A whole Pod costs 11 KB as a Struct, and the controllers keep every Pod of the cluster. So they keep these, in one
informer for all of them, and `compact` lets equal parts of different Pods be one object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api.resources import add_view
from carob.api.types import core_v1
from carob.controllers.ownership import Owned

if TYPE_CHECKING:
    from carob.client.informer import Informer

MAX_SHARED = 4096


class PodSpecView(Struct, kw_only=True, gc=False):
    node_name: str = field(default="", name="nodeName")
    tolerations: tuple[core_v1.Toleration, ...] = ()


class PodConditionView(Struct, kw_only=True, frozen=True, gc=False):
    type: str = ""
    status: str = ""


class PodStatusView(Struct, kw_only=True, gc=False):
    phase: str = ""
    conditions: tuple[PodConditionView, ...] = ()


class PodView(Owned, kw_only=True, gc=False):
    spec: PodSpecView = field(default_factory=PodSpecView)
    status: PodStatusView = field(default_factory=PodStatusView)

    @property
    def is_ready(self) -> bool:
        """Whether its Ready condition says so."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


add_view(PodView, core_v1.Pod)

_READY = (PodConditionView(type="Ready", status="True"),)
_tolerations: dict[tuple[object, ...], tuple[core_v1.Toleration, ...]] = {}


def compact(key: str, old: PodView | None, new: PodView | None) -> None:
    """Handler of the Pods' informer, before all others: keep of the conditions only whether the Pod is ready, and one
    copy of equal tolerations."""
    if new is None:
        return
    new.status.conditions = _READY if new.is_ready else ()
    spec = new.spec
    same = tuple((t.key, t.operator, t.value, t.effect, t.toleration_seconds) for t in spec.tolerations)
    if len(_tolerations) >= MAX_SHARED:
        _tolerations.clear()
    spec.tolerations = _tolerations.setdefault(same, spec.tolerations)


BY_NODE = "node"
"""The index of Pods by the name of their node; the empty name for those without one."""


def node_of(pod: PodView) -> tuple[str]:
    """The value of the index `BY_NODE`."""
    return (pod.spec.node_name,)


def prepare(pods: Informer[PodView]) -> None:
    """What the informer needs before it runs."""
    pods.add_index(BY_NODE, node_of)
    pods.subscribe(compact)


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

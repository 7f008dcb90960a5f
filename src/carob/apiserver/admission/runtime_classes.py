"""RuntimeClass: a Pod's runtime class exists, and adds its overhead and the nodes that have it.

Source: kubernetes `plugin/pkg/admission/runtimeclass`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.admission.refusals import PODS, creates, refused
from carob.apiserver.authn.service_accounts import row

if TYPE_CHECKING:
    from carob.apiserver.types import Attributes, Reader

RUNTIME_CLASSES = row("node.k8s.io", "v1", "runtimeclasses")


class RuntimeClassAdmission:
    """See the module."""

    name = "RuntimeClass"
    handles = frozenset((("", "pods"),))

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def admit(self, attributes: Attributes) -> None:
        """Add what the class says."""
        found = self._class(attributes)
        if found is None:
            return
        spec = attributes.obj.spec
        if found.overhead is not None and found.overhead.pod_fixed:
            if spec.overhead and spec.overhead != found.overhead.pod_fixed:
                why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                raise refused(attributes, why)
            spec.overhead = dict(found.overhead.pod_fixed)
        if found.scheduling is None:
            return
        for key, value in found.scheduling.node_selector.items():
            if spec.node_selector.get(key, value) != value:
                why = f"pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {spec.node_selector[key]}"
                raise refused(attributes, why)
        spec.node_selector = spec.node_selector | found.scheduling.node_selector
        more = [one for one in found.scheduling.tolerations if one not in spec.tolerations]
        spec.tolerations = [*spec.tolerations, *more]

    def validate(self, attributes: Attributes) -> None:
        """A Pod has no overhead of its own."""
        if not creates(attributes, PODS):
            return
        found = self._class(attributes)
        if attributes.obj.spec.overhead and (found is None or found.overhead is None):
            raise refused(
                attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )

    def _class(self, attributes: Attributes) -> Any | None:
        if not creates(attributes, PODS):
            return None
        name = attributes.obj.spec.runtime_class_name
        if not name:
            return None
        found = self._reader.get(RUNTIME_CLASSES, "", name)
        if found is None:
            raise refused(attributes, f'pod rejected: RuntimeClass "{name}" not found')
        return found

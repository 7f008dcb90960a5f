"""NamespaceLifecycle: nothing is made in a namespace that is not there or is going away; three namespaces stay.

Source: apiserver `pkg/admission/plugin/namespace/lifecycle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import not_found
from carob.apiserver.admission.refusals import NAMESPACES, refused
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.apiserver.types import Attributes, Reader

_IMMORTAL = frozenset(("default", "kube-system", "kube-public"))


class NamespaceLifecycle:
    """See the module."""

    name = "NamespaceLifecycle"
    phases = ("admit",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # namespace -> whether it is there and not terminating; forgotten when it changes
        self._active: dict[str, bool] = {}
        reader.on_change(NAMESPACES, self._changed)

    def _changed(self, namespace: str, name: str) -> None:
        self._active.pop(name, None)

    def admit(self, attributes: Attributes) -> None:
        """Refuse what has no living namespace."""
        operation = attributes.operation
        if attributes.resource.plural == "namespaces" and not attributes.resource.group:
            if operation is Operation.DELETE and not attributes.subresource and attributes.name in _IMMORTAL:
                raise refused(attributes, "this namespace may not be deleted")
            return
        namespace = attributes.namespace
        if not namespace or operation is Operation.DELETE or attributes.resource.group == "authorization.k8s.io":
            return
        if self._active.get(namespace):
            return
        found = self._reader.get(NAMESPACES, "", namespace)
        if found is None:
            raise not_found(NAMESPACES, namespace)
        if found.status.phase != "Terminating":
            self._active[namespace] = True
            return
        if operation is Operation.CREATE:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = refused(attributes, why)
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            error.details["causes"] = [cause]
            raise error

    def validate(self, attributes: Attributes) -> None:
        """Nothing: `admit` has said it."""

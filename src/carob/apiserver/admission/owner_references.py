"""OwnerReferencesPermissionEnforcement: who changes owner references must be allowed to delete the object, and who makes them
block the owner's deletion, to set the owner's finalizers. Off unless asked for, as upstream.

Source: kubernetes `plugin/pkg/admission/gc/gc_admission.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.admission.refusals import refused
from carob.apiserver.authz.questions import Question
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.api.resources import ResourceTable
    from carob.api.types.meta_v1 import OwnerReference
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import Attributes

NAME = "OwnerReferencesPermissionEnforcement"


class OwnerReferences:
    """See the module."""

    name = NAME
    phases = ("validate",)

    def __init__(self, authorizer: Authorizer, table: ResourceTable) -> None:
        self._authorizer = authorizer
        self._table = table

    def admit(self, attributes: Attributes) -> None:
        """Nothing: the final object is judged."""

    def validate(self, attributes: Attributes) -> None:
        """Refuse references that this user may not set."""
        if attributes.operation is Operation.DELETE or _is_status_of_pod(attributes):
            return
        new, old = _references(attributes.obj), _references(attributes.old)
        if new == old:
            return
        row = attributes.resource
        question = Question("delete", row.group, row.plural, "", attributes.namespace, attributes.name)
        if not self._authorizer.allows(attributes.user, question):
            raise refused(attributes, "cannot set an ownerRef on a resource you can't delete: , <nil>")
        for reference in new:
            if reference.block_owner_deletion and not any(
                one.uid == reference.uid and one.block_owner_deletion for one in old
            ):
                self._judge_blocking(attributes, reference)

    def _judge_blocking(self, attributes: Attributes, reference: OwnerReference) -> None:
        row = self._table.by_kind(reference.api_version, reference.kind)
        if row is None:
            version, kind = reference.api_version, reference.kind
            raise refused(
                attributes,
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion "
                f'{version} Kind {kind}: no matches for kind "{kind}" in version "{version}"',
            )
        place = attributes.namespace if row.namespaced else ""
        question = Question("update", row.group, row.plural, "finalizers", place, reference.name)
        if not self._authorizer.allows(attributes.user, question):
            raise refused(
                attributes,
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: "
                ", <nil>",
            )


def _is_status_of_pod(attributes: Attributes) -> bool:
    """Kubelets write these all day, and cannot change references by them."""
    return attributes.subresource == "status" and attributes.resource.plural == "pods"


def _references(obj: Any) -> list[OwnerReference]:
    metadata = getattr(obj, "metadata", None)
    return list(getattr(metadata, "owner_references", ()))

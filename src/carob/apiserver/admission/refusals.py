"""How plugins refuse, and the few questions that all of them ask about a write. Pure.

Source: apiserver `pkg/admission/errors.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError, forbidden
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.apiserver.types import Attributes

PODS = row("", "v1", "pods")
NAMESPACES = row("", "v1", "namespaces")


def object_name(attributes: Attributes) -> str:
    """The name that a refusal shows: the object's, or the base of one that will be generated."""
    metadata = getattr(attributes.obj, "metadata", None)
    if attributes.name or metadata is None:
        return attributes.name
    return metadata.name or metadata.generate_name  # type: ignore[no-any-return]


def refused(attributes: Attributes, why: str) -> ApiError:
    """The 403 of admission."""
    return forbidden(attributes.resource, object_name(attributes), why)


def writes(attributes: Attributes, resource: Resource) -> bool:
    """Whether this creates or updates objects of the resource themselves, not a subresource."""
    return (
        attributes.resource.plural == resource.plural
        and attributes.resource.group == resource.group
        and not attributes.subresource
        and attributes.obj is not None
    )


def creates(attributes: Attributes, resource: Resource) -> bool:
    """Whether this creates an object of the resource."""
    return attributes.operation is Operation.CREATE and writes(attributes, resource)

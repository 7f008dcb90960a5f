"""The validation that a write must pass; refusals become one `Invalid` with every cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import validation
from carob.api.status import invalid

if TYPE_CHECKING:
    from carob.api.resources import Resource


def check_create(row: Resource, obj: Any) -> None:
    """Judge a new object. Raises: ApiError 422."""
    function = getattr(validation, "validate_create", None)
    if function is None:
        if not obj.metadata.name:
            why = {
                "reason": "FieldValueRequired",
                "message": "Required value: name or generateName is required",
                "field": "metadata.name",
            }
            raise invalid(row, "", [why])
        return
    causes = function(obj)
    if causes:
        raise invalid(row, obj.metadata.name, causes)


def check_update(row: Resource, new: Any, old: Any, subresource: str = "") -> None:
    """Judge an update. Raises: ApiError 422."""

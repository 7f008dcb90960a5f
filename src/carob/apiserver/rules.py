"""The validation that a write must pass; refusals become one `Invalid` with every cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import invalid
from carob.api.validation import validate_create, validate_update

if TYPE_CHECKING:
    from carob.api.resources import Resource


def check_create(row: Resource, obj: Any) -> None:
    """Judge a new object. Raises: ApiError 422."""
    causes = validate_create(row, obj)
    if causes:
        raise invalid(row, obj.metadata.name, causes)


def check_update(row: Resource, new: Any, old: Any, subresource: str = "") -> None:
    """Judge an update. Raises: ApiError 422."""
    causes = validate_update(row, new, old, subresource)
    if causes:
        raise invalid(row, new.metadata.name, causes)

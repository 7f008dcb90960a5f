"""The objects that a binding gives its policy as parameters.

Source: apiserver `pkg/admission/plugin/policy/generic/policy_dispatcher.go` (`CollectParams`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.selectors import from_struct

if TYPE_CHECKING:
    from carob.api.resources import Resource, ResourceTable
    from carob.api.types import admissionregistration_v1
    from carob.apiserver.types import Reader

_MISSING = "no params found for policy binding with `Deny` parameterNotFoundAction"
_UNPLACED = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
_PLACED = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"


class ParamError(ValueError):
    """A binding's parameters cannot be found; the words are upstream's."""


def collect(
    kind: admissionregistration_v1.ParamKind | None,
    reference: admissionregistration_v1.ParamRef | None,
    namespace: str,
    reader: Reader,
    table: ResourceTable,
) -> list[Any]:
    """Every parameter that the policy is to be asked with; None for one without. Raises: ParamError."""
    if kind is None or reference is None:
        return [None]
    row = table.by_kind(kind.api_version, kind.kind)
    if row is None or not row.stored:
        raise ParamError(f"paramKind kind `{_shown(kind)}` not known")
    place = _place(row, reference, namespace)
    found: list[Any]
    if reference.name:
        one = reader.get(row, place, reference.name)
        found = [] if one is None else [one]
    else:
        wanted = from_struct(reference.selector)
        found = [one for one in reader.list(row, place) if wanted.matches(one.metadata.labels)]
    if not found and reference.parameter_not_found_action == "Deny":
        raise ParamError(_MISSING)
    return found


def _place(row: Resource, reference: admissionregistration_v1.ParamRef, namespace: str) -> str:
    if not row.namespaced:
        if reference.namespace:
            raise ParamError(_PLACED)
        return ""
    if not (reference.namespace or namespace):
        raise ParamError(_UNPLACED)
    return reference.namespace or namespace


def _shown(kind: admissionregistration_v1.ParamKind) -> str:
    """As Go writes the message."""
    return f"&ParamKind{{APIVersion:{kind.api_version},Kind:{kind.kind},}}"

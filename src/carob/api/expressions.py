"""Expressions (CEL) of admission policies and of webhooks' match conditions: what is wrong with them.

Pure; nothing is run here. What they may speak of is here, the language in `carob.api.cel`, which is imported with the first.

Source: `k8s.io/apiserver/pkg/admission/plugin/cel/compile.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.cel.types import Type

MAX_CHARACTERS = 100_000
_ANY = "dyn"
_TEXT, _NUMBER, _FLAG = "string", "int", "bool"
_LABELS, _NAMES = "map(string, string)", "list(string)"
_KIND = {"group": _TEXT, "version": _TEXT, "kind": _TEXT}
_RESOURCE = {"group": _TEXT, "version": _TEXT, "resource": _TEXT}
# what upstream declares, by its fields
STRUCTURES: dict[str, dict[str, Any]] = {
    "request": {
        "kind": _KIND,
        "resource": _RESOURCE,
        "subResource": _TEXT,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "requestSubResource": _TEXT,
        "name": _TEXT,
        "namespace": _TEXT,
        "operation": _TEXT,
        "userInfo": {
            "username": _TEXT,
            "uid": _TEXT,
            "groups": _NAMES,
            "extra": "map(string, list(string))",
        },
        "dryRun": _FLAG,
        "options": _ANY,
    },
    "namespaceObject": {
        "metadata": {
            "name": _TEXT,
            "generateName": _TEXT,
            "namespace": _TEXT,
            "labels": _LABELS,
            "annotations": _LABELS,
            "UID": _TEXT,
            "creationTimestamp": "google.protobuf.Timestamp",
            "deletionGracePeriodSeconds": _NUMBER,
            "deletionTimestamp": "google.protobuf.Timestamp",
            "generation": _NUMBER,
            "resourceVersion": _TEXT,
            "finalizers": _NAMES,
        },
        "spec": {"finalizers": _NAMES},
        "status": {"conditions": "list(dyn)", "phase": _TEXT},
    },
}


_STRUCTURE_NAMES = {
    "kind": "kubernetes.GroupVersionKind",
    "requestKind": "kubernetes.GroupVersionKind",
    "resource": "kubernetes.GroupVersionResource",
    "requestResource": "kubernetes.GroupVersionResource",
    "userInfo": "kubernetes.UserInfo",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an expression may speak of besides `object`, `oldObject`, `request` and `namespaceObject`."""

    params: bool = False
    authorizer: bool = True
    variables: dict[str, str] | None = field(default=None)
    """Types of a policy's variables so far; None where there are none to speak of."""


def check(expression: str, around: Surroundings, wanted: Sequence[str] = ()) -> tuple[str, str]:
    """What is wrong with an expression, empty if nothing is; and the type of its value.

    `wanted` are the types that will do; none means any.
    """
    if len(expression) > MAX_CHARACTERS:
        size = f"size: {len(expression)}, limit {MAX_CHARACTERS}"
        problem = f"ERROR: <input>:-1:0: expression code point size exceeds limit: {size}"
        return f"compilation failed: {problem}", _ANY
    from carob.api.cel import inference

    try:
        kind = inference.checked(expression.encode("utf-8", "replace").decode(), variables_of(around)).text
    except inference.CheckError as error:
        return f"compilation failed: {error}", _ANY
    if wanted and kind not in wanted:
        if len(wanted) == 1:
            return f"must evaluate to {wanted[0]} but got {kind}", kind
        return f"must evaluate to one of [{' '.join(wanted)}]", kind
    return "", kind


def variables_of(around: Surroundings, objects: Type | None = None, params: Type | None = None) -> dict[str, Type]:
    """The types of all variables; those of the objects and of the parameters where somebody knows them."""
    from carob.api.cel.declarations import AUTHORIZER, RESOURCE_CHECK
    from carob.api.cel.types import DYN, Type, named

    out = {"object": objects or DYN, "oldObject": objects or DYN, **_structures()}
    if around.params:
        out["params"] = params or DYN
    if around.authorizer:
        out["authorizer"] = named(AUTHORIZER)
        out["authorizer.requestResource"] = named(RESOURCE_CHECK)
    if around.variables is not None:
        known = _Named(around.variables)
        out["variables"] = Type("kubernetes.variables", (), lambda: known)
    return out


class _Named(dict[str, Any]):
    """Types by names, read when they are asked for."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def get(self, key: str, default: Any = None) -> Any:
        from carob.api.cel.types import named

        text = self._texts.get(key)
        return default if text is None else _declared(named(text))


_PLAIN = frozenset(
    (
        "bool",
        "bytes",
        "double",
        "int",
        "null_type",
        "string",
        "uint",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
    )
)


def _declared(kind: Type) -> Type:
    """The type of a policy's variable for those that speak of it: objects and values of libraries may be anything.

    Source: `pkg/admission/plugin/cel/composition.go` (`convertCelTypeToDeclType`).
    """
    from carob.api.cel.types import DYN, Type

    if kind.name in ("list", "map"):
        return Type(kind.name, tuple(map(_declared, kind.arguments)))
    return kind if kind.name in _PLAIN else DYN


@cache
def _structures() -> dict[str, Type]:
    names = {"request": "kubernetes.AdmissionRequest", "namespaceObject": "kubernetes.Namespace"}
    return {name: _structure(names[name], fields) for name, fields in STRUCTURES.items()}


def _structure(name: str, fields: Mapping[str, Any]) -> Type:
    from carob.api.cel.types import Type, named

    def found() -> dict[str, Type]:
        return {
            key: _structure(_STRUCTURE_NAMES.get(key, f"{name}.{key}"), kind) if isinstance(kind, dict) else named(kind)
            for key, kind in fields.items()
        }

    return Type(name, (), found)

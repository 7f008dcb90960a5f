"""Shapes of the types: what a JSON tree of a kind may hold, derived once from the Structs and the wire table.

Pure. Decoding into Structs is the fast type check; shapes serve what needs names, order or Go's words: naming unknown
fields, explaining a wrong type, giving nulls their Go meaning, protobuf.

Invariant: a `StructShape` is made once per Struct and shared.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from msgspec import Struct, field

if TYPE_CHECKING:
    import types

STRING, INT32, INT64, BOOL, FLOAT = "string", "int32", "int64", "bool", "float64"
QUANTITY, INT_OR_STRING, TIME, MICRO_TIME, BYTES, ANY = "quantity", "intOrString", "time", "microTime", "bytes", "any"
_CHECKED_SCALARS = frozenset({TIME, MICRO_TIME, BYTES})
MAX_LOOKS = 64


class Scalar(Struct, frozen=True):
    """A leaf; `go` is the name that Go's decoder gives the type in its errors."""

    kind: str
    go: str


class ListShape(Struct, frozen=True):
    """A list of one shape."""

    item: Shape


class MapShape(Struct, frozen=True):
    """An object with free keys."""

    value: Shape
    go: str = ""


class StructShape(Struct, eq=False):
    """An object with known keys.

    `special` holds the fields that a quick look must descend into or check: all others are plain scalars.
    """

    name: str
    go: str
    struct: type[Any]
    fields: dict[str, Shape] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    special: dict[str, Shape] = field(default_factory=dict)
    looks: dict[tuple[str, ...], tuple[tuple[str, Shape], ...]] = field(default_factory=dict)
    """For the keys of an object, as they came: those of them that are special, with their shapes. See `look`."""

    def look(self, keys: tuple[str, ...]) -> tuple[tuple[str, Shape], ...] | None:
        """The special ones of these keys; None if one of them is unknown. Objects of a kind have few sets of keys."""
        if not self.known.issuperset(keys):
            return None
        found = tuple((key, self.special[key]) for key in keys if key in self.special)
        if len(self.looks) < MAX_LOOKS:
            self.looks[keys] = found
        return found


Shape: TypeAlias = Scalar | ListShape | MapShape | StructShape

_GO_SCALARS = {
    STRING: "string",
    INT32: "int32",
    INT64: "int64",
    BOOL: "bool",
    FLOAT: "float64",
    QUANTITY: "resource.Quantity",
    INT_OR_STRING: "int32",
    TIME: "string",
    MICRO_TIME: "string",
    BYTES: "[]uint8",
    ANY: "interface {}",
}
# string types of upstream that have a name of their own, by the name of the field that they stand in
_NAMED_STRINGS = {
    "restartPolicy": "v1.RestartPolicy",
    "dnsPolicy": "v1.DNSPolicy",
    "imagePullPolicy": "v1.PullPolicy",
    "terminationMessagePolicy": "v1.TerminationMessagePolicy",
    "protocol": "v1.Protocol",
    "effect": "v1.TaintEffect",
    "whenUnsatisfiable": "v1.UnsatisfiableConstraintAction",
    "phase": "v1.PodPhase",
    "uid": "types.UID",
    "scheme": "v1.URIScheme",
    "accessModes": "v1.PersistentVolumeAccessMode",
    "sessionAffinity": "v1.ServiceAffinity",
    "preemptionPolicy": "v1.PreemptionPolicy",
}


@lru_cache(maxsize=1)
def wire_table() -> dict[str, dict[str, list[Any]]]:
    """The facts of the wire format: type -> field number -> [JSON name, kind, flags]."""
    data = Path(__file__).with_name("protobuf_table.json").read_bytes()
    table: dict[str, dict[str, list[Any]]] = orjson.loads(data)
    return table


def wire_name(struct: type[Any]) -> str:
    """The wire table's name of a Struct: `core/v1.Pod`."""
    group, _, version = struct.__module__.rpartition(".")[2].rpartition("_")
    return f"{group}/{version}.{struct.__name__}"


@lru_cache(maxsize=1)
def _bytes_fields() -> dict[str, frozenset[str]]:
    """The fields of each type that hold bytes: base64 text in JSON, which the Structs cannot tell from other text."""
    found: dict[str, set[str]] = {}
    for type_name, fields in wire_table().items():
        for json_name, kind, _ in fields.values():
            if kind == "B" or (isinstance(kind, list) and kind[-1] == "B"):
                found.setdefault(type_name, set()).add(json_name)
    return {name: frozenset(fields) for name, fields in found.items()}


def shape_of(struct: type[Any]) -> StructShape:
    """The shape of a Struct, read once from the annotations that the generator wrote."""
    shape = _shapes.get(struct)
    if shape is None:
        shape = _shapes[struct] = _read(struct)
    return shape


def _read(struct: type[Any]) -> StructShape:
    version = struct.__module__.rpartition("_")[2]
    shape = StructShape(struct.__name__, f"{version}.{struct.__name__}", struct)
    encoded = _bytes_fields().get(wire_name(struct), frozenset())
    module = sys.modules[struct.__module__]
    _pending[struct] = shape
    try:
        for attribute, name in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
            shape.fields[name] = _parse(struct.__annotations__[attribute], module, name, name in encoded)
    finally:
        _pending.pop(struct, None)
    shape.known = frozenset(shape.fields)
    shape.special = {name: s for name, s in shape.fields.items() if _is_special(s)}
    return shape


_shapes: dict[type[Any], StructShape] = {}
_pending: dict[type[Any], StructShape] = {}


def _is_special(shape: Shape) -> bool:
    if isinstance(shape, Scalar):
        return shape.kind in _CHECKED_SCALARS
    if isinstance(shape, ListShape):
        return _is_special(shape.item)
    if isinstance(shape, MapShape):
        return _is_special(shape.value)
    return True


_LEAVES = {
    "str": STRING,
    "int": INT64,
    "Int64": INT64,
    "Int32": INT32,
    "bool": BOOL,
    "float": FLOAT,
    "Any": ANY,
    "dict[str, Any]": ANY,
    "FieldsV1": ANY,
    "Quantity": QUANTITY,
    "Time": TIME,
    "MicroTime": MICRO_TIME,
    "int | str": INT_OR_STRING,
    "str | int": INT_OR_STRING,
}


def _parse(text: str, module: types.ModuleType, name: str, encoded: bool) -> Shape:
    text = text.removesuffix(" | None")
    if text in _LEAVES:
        kind = _LEAVES[text]
        if kind == STRING:
            return _scalar(BYTES) if encoded else Scalar(STRING, _NAMED_STRINGS.get(name, "string"))
        return _scalar(kind)
    if text == "ManagedFields":
        return ListShape(shape_of(module.ManagedFieldsEntry))
    if text.startswith("list["):
        return ListShape(_parse(text[5:-1], module, name, encoded))
    if text.startswith("dict[str, "):
        value = _parse(text[10:-1], module, "", encoded)
        return MapShape(value, "v1.ResourceList" if value == _scalar(QUANTITY) else "")
    owner: Any = module
    for part in text.split("."):
        owner = getattr(owner, part)
    return _pending.get(owner) or shape_of(owner)


_scalars = {kind: Scalar(kind, go) for kind, go in _GO_SCALARS.items()}


def _scalar(kind: str) -> Scalar:
    return _scalars[kind]


def go_type(shape: Shape) -> str:
    """The name that Go's decoder gives a type: `[]v1.Container`, `map[string]string`, `int32`."""
    if isinstance(shape, ListShape):
        return "[]" + go_type(shape.item)
    if isinstance(shape, MapShape):
        return shape.go or "map[string]" + go_type(shape.value)
    return shape.go


def nothing(shape: Shape) -> Any:
    """Go's zero value, which a null in a list or in a map stands for."""
    if isinstance(shape, StructShape | MapShape):
        return {}
    if isinstance(shape, ListShape):
        return []
    if shape.kind == ANY:
        return None
    if shape.kind == BOOL:
        return False
    return 0 if shape.kind in (INT32, INT64, FLOAT, INT_OR_STRING) else "0" if shape.kind == QUANTITY else ""


def without_nulls(tree: Any, shape: Shape) -> Any:
    """The tree with Go's meaning of null: an absent field; an empty item of a list or map."""
    if isinstance(shape, StructShape) and isinstance(tree, dict):
        fields = shape.fields
        return {k: without_nulls(v, fields[k]) if k in fields else v for k, v in tree.items() if v is not None}
    if isinstance(shape, ListShape) and isinstance(tree, list):
        return [nothing(shape.item) if v is None else without_nulls(v, shape.item) for v in tree]
    if isinstance(shape, MapShape) and isinstance(tree, dict):
        return {k: nothing(shape.value) if v is None else without_nulls(v, shape.value) for k, v in tree.items()}
    return tree

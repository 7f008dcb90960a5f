"""Types of objects for checks of expressions, made of the shapes of their Structs. Pure.

Source: `k8s.io/apiserver/pkg/cel/common/schemas.go`.
"""

from __future__ import annotations

from typing import Any

from carob.api import schema
from carob.api.cel.types import DYN, STRING, Type, list_of, map_of, named

_SCALARS = {
    schema.STRING: STRING,
    schema.INT32: named("int"),
    schema.INT64: named("int"),
    schema.BOOL: named("bool"),
    schema.FLOAT: named("double"),
    schema.TIME: named("google.protobuf.Timestamp"),
    schema.MICRO_TIME: named("google.protobuf.Timestamp"),
    schema.BYTES: named("bytes"),
}


_known: dict[type[Any], Type] = {}


def type_of(struct: type[Any]) -> Type:
    """The type of a kind's objects."""
    found = _known.get(struct)
    if found is None:
        found = _known[struct] = _of(schema.shape_of(struct))
    return found


def _of(shape: schema.Shape) -> Type:
    if isinstance(shape, schema.ListShape):
        return list_of(_of(shape.item))
    if isinstance(shape, schema.MapShape):
        return map_of(STRING, _of(shape.value))
    if isinstance(shape, schema.Scalar):
        return _SCALARS.get(shape.kind, DYN)
    return Type(shape.name, (), lambda: {name: _of(one) for name, one in shape.fields.items()})

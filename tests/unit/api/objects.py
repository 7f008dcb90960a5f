"""Hypothesis strategies for objects of every built-in kind, made from the shapes of the types."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from carob.api import codec, schema

TEXT = st.text("abcXYZ-. äß\u20ac\U0001f40e\n", max_size=6)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    schema.STRING: TEXT,
    schema.INT32: st.integers(-(2**31), 2**31 - 1),
    schema.INT64: st.integers(-(2**63), 2**63 - 1),
    schema.BOOL: st.booleans(),
    schema.FLOAT: st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f + 0.0),
    schema.QUANTITY: st.sampled_from(["0", "1", "100m", "64Mi", "1500", "-2", "1e3"]),
    schema.INT_OR_STRING: st.one_of(st.integers(-(2**31), 2**31 - 1), TEXT),
    schema.TIME: st.datetimes().map(lambda d: d.replace(year=max(d.year, 1904)).strftime("%Y-%m-%dT%H:%M:%SZ")),
    schema.MICRO_TIME: st.datetimes().map(
        lambda d: d.replace(year=max(d.year, 1904)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    ),
    schema.BYTES: st.sampled_from(["", "AA==", "/+8=", "aGVsbG8="]),
    schema.ANY: st.sampled_from([{}, {"a": [1, None, {"b": "c"}]}, {"f:spec": {"f:x": {}}}]),
}
# what upstream reads in two ways, and what it knows to be empty, is `any` in the shapes
UNIONS: dict[str, st.SearchStrategy[Any]] = {
    "items": st.sampled_from([{"type": "string"}, [{"type": "string"}, {"minLength": 1}]]),
    "additionalItems": st.sampled_from([True, False, {"type": "string"}]),
    "additionalProperties": st.sampled_from([True, False, {"type": "string"}]),
    "dependencies": st.sampled_from([{}, {"a": ["b"], "c": {"type": "string"}}]),
    "status": st.just({}),
}
MAX_DEPTH = 7


def objects(struct: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON trees of a kind as the API writes them."""
    return st.composite(lambda draw: _struct(draw, schema.shape_of(struct), 0))().map(
        lambda tree: codec.to_tree(codec.from_tree(struct, tree))
    )


def _struct(draw: Any, shape: schema.StructShape, depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    names = [name for name in shape.fields if name not in ("kind", "apiVersion", "managedFields")]
    if not names:
        return out
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
        field = shape.fields[name]
        if depth >= MAX_DEPTH and not isinstance(field, schema.Scalar):
            continue
        is_union = name in UNIONS and shape.struct.__module__.endswith("apiextensions_v1") and _is_any(field)
        out[name] = draw(UNIONS[name]) if is_union else _value(draw, field, depth + 1)
    return out


def _is_any(shape: schema.Shape) -> bool:
    while isinstance(shape, schema.MapShape):
        shape = shape.value
    return isinstance(shape, schema.Scalar) and shape.kind == schema.ANY


def _value(draw: Any, shape: schema.Shape, depth: int) -> Any:
    if isinstance(shape, schema.StructShape):
        return _struct(draw, shape, depth)
    if isinstance(shape, schema.ListShape):
        return [_value(draw, shape.item, depth) for _ in range(draw(st.integers(0, 2)))]
    if isinstance(shape, schema.MapShape):
        return {key: _value(draw, shape.value, depth) for key in draw(st.lists(TEXT, max_size=2, unique=True))}
    return draw(SCALARS[shape.kind])

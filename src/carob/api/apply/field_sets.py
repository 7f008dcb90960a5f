"""Sets of fields, in the very form in which managedFields carry them (FieldsV1), and the calculations with them.

Shape: a set is a tree of dicts. A key is a path element: `f:name` a field, `k:{"name":"a"}` an item of a keyed list,
`v:"a"` an item of a set. A node without children is a member; one with children is a member too if it has the key `.`.
The root itself is never a member, so an empty root is the empty set. Sets are never changed, only made anew.

Source: structured-merge-diff `fieldpath` (`Set`, the serialization of FieldsV1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.apply.forms import Form

FieldSet: TypeAlias = dict[str, Any]

HERE = "."
MAX_DEPTH = 200


def is_member(node: FieldSet) -> bool:
    """Whether a node's own path is in the set."""
    return not node or HERE in node


def _node(member: bool, children: FieldSet) -> FieldSet | None:
    if not member:
        return children or None
    return {HERE: {}, **children} if children else {}


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Every path of both."""
    if not one or not other:
        return one or other
    out = dict(one)
    for key, node in other.items():
        mine = out.get(key)
        if mine is None:
            out[key] = node
        elif key != HERE and mine is not node:
            out[key] = _joined(mine, node)
    return out


def union_of(sets: list[FieldSet]) -> FieldSet:
    """Every path of all: joined in pairs, so that no path is copied more often than there are rounds."""
    while len(sets) > 1:
        pairs = zip(sets[::2], [*sets[1::2], {}] if len(sets) % 2 else sets[1::2], strict=True)
        sets = [union(one, other) for one, other in pairs]
    return sets[0] if sets else {}


def _joined(one: FieldSet, other: FieldSet) -> FieldSet:
    if one and other:
        return union(one, other)
    return {HERE: {}, **one, **other} if one or other else {}


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths of `one` that are not in `other`."""
    if not other:
        return one
    out: FieldSet = {}
    for key, node in one.items():
        if key == HERE:
            continue
        there = other.get(key)
        if there is None:
            out[key] = node
            continue
        rest = _node(is_member(node) and not is_member(there), difference(_children(node), there))
        if rest is not None:
            out[key] = rest
    return out


def difference_recursive(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths of `one` that are neither in `other` nor below a path that is."""
    if not other:
        return one
    out: FieldSet = {}
    for key, node in one.items():
        there = other.get(key) if key != HERE else None
        if there is None:
            out[key] = node
        elif not is_member(there):
            rest = _node(is_member(node), difference_recursive(_children(node), there))
            if rest is not None:
                out[key] = rest
    return out


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths that are in both."""
    out: FieldSet = {}
    for key, node in one.items():
        there = other.get(key)
        if there is None or key == HERE:
            continue
        both = _node(is_member(node) and is_member(there), intersection(node, there))
        if both is not None:
            out[key] = both
    return out


def _children(node: FieldSet) -> FieldSet:
    return {key: child for key, child in node.items() if key != HERE} if HERE in node else node


def with_named_parents(one: FieldSet, form: Form) -> FieldSet:
    """The set with every field that its type names as a member, where something below the field is in it."""
    out: FieldSet = {}
    for key, node in one.items():
        if key == HERE or not node:
            out[key] = node
            continue
        inner = with_named_parents(node, form.below(key))
        out[key] = {HERE: {}, **inner} if form.names(key) else inner
    return out


def paths(one: FieldSet, prefix: str = "") -> Iterator[str]:
    """Every path of the set in upstream's notation: `.spec.ports[port=80,protocol="TCP"].name`.

    In upstream's order: what is in the set at a place comes before all that is further down.
    """
    ordered = sorted((key for key in one if key != HERE), key=_rank)
    for key in ordered:
        if is_member(one[key]):
            yield prefix + _notation(key)
    for key in ordered:
        yield from paths(one[key], prefix + _notation(key))


def _rank(element: str) -> tuple[str, list[tuple[str, bool, float, str]]]:
    kind, _, text = element.partition(":")
    if kind not in "kv":
        return kind, [(text, False, 0, "")]
    value = orjson.loads(text)
    fields = value.items() if isinstance(value, dict) else [("", value)]
    return kind, [(name, isinstance(one, str), *_by_size(one)) for name, one in fields]


def _by_size(value: Any) -> tuple[float, str]:
    return (value, "") if isinstance(value, int | float) else (0, str(value))


def _notation(element: str) -> str:
    kind, _, text = element.partition(":")
    if kind == "f":
        return f".{text}"
    if kind == "k":
        fields = orjson.loads(text)
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in fields.items()) + "]"
    return f"[={text}]" if kind == "v" else f"[{text}]"


def dumped(one: FieldSet) -> bytes:
    """The JSON of a set; equal sets have equal bytes."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS)


def loaded(data: bytes) -> FieldSet:
    """The set that JSON holds. Raises: ValueError for what is none."""
    tree = orjson.loads(data)
    if not isinstance(tree, dict):
        raise ValueError("a set of fields is an object")
    _check(tree, MAX_DEPTH)
    return tree


def _check(tree: Any, depth: int) -> None:
    for key, node in tree.items():
        if not isinstance(node, dict) or not depth:
            raise ValueError(f"{key} holds no set of fields")
        kind, colon, text = key.partition(":")
        if key != HERE and (not colon or kind not in ("f", "k", "v", "i")):
            raise ValueError(f"{key} is no path element")
        if kind == "k" and not isinstance(orjson.loads(text), dict):
            raise ValueError(f"{key} is no path element")
        if kind in ("v", "i"):
            orjson.loads(text)
        if node:
            _check(node, depth - 1)

"""Strategic merge patch: maps merge, lists merge by key or by value where the type says so, directives steer it.

Pure; both trees are consumed. What a list does is in `merge_keys.json`: per type and field a strategy, a merge key and
the type of its items.

Source: apimachinery `util/strategicpatch` and the contributor documentation of strategic merge patch.
Differs: what upstream answers with 500 (unknown directives, an order that does not match) is the client's mistake here.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import schema
from carob.api.patch.text import go_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIRECTIVE = "$patch"
DELETE_FROM_LIST = "$deleteFromPrimitiveList"
ORDER = "$setElementOrder"
RETAIN_KEYS = "$retainKeys"

Tree = dict[str, Any]


class BadPatch(ValueError):
    """A patch that contradicts itself or the type; the words are upstream's."""


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, dict[str, Any]]]:
    data = Path(__file__).parent.with_name("merge_keys.json").read_bytes()
    table: dict[str, dict[str, dict[str, Any]]] = orjson.loads(data)
    return table


def facts_of(type_name: str, field: str) -> dict[str, Any]:
    """What the table says of a type's field; of the type itself where `field` is empty."""
    return _table().get(type_name, {}).get(field, {})


class _FieldRule:
    """How a field merges: its strategy, the key of its items, and the type of its value or items."""

    __slots__ = ("key", "strategy", "type_name")

    def __init__(self, type_name: str, field: str) -> None:
        facts = facts_of(type_name, field)
        strategies = [s for s in facts.get("strategy", "").split(",") if s and s != "retainKeys"]
        self.strategy: str = strategies[0] if strategies else ""
        self.key: str = facts.get("mergeKey", "")
        self.type_name: str = facts.get("ref", "")


def merged(original: Tree, patch: Tree, type_name: str) -> Tree:
    """The original with the patch merged in. `type_name` is the wire table's name of the kind. Raises: BadPatch."""
    directive = patch.get(DIRECTIVE)
    if DIRECTIVE in patch:
        if directive == "replace":
            del patch[DIRECTIVE]
            return patch
        if directive == "delete":
            return {}
        raise BadPatch(f"unknown patch type: {go_value(directive)} in map: {go_value(patch)}")
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, type_name)
    for key in list(patch):
        _merge_field(original, key, patch[key], type_name)
    return original


def _merge_field(original: Tree, key: str, value: Any, type_name: str) -> None:
    deletes = key.startswith(DELETE_FROM_LIST)
    if deletes:
        prefix, slash, key = key.partition("/")
        if prefix != DELETE_FROM_LIST or not slash or "/" in key or not isinstance(value, list):
            raise BadPatch("invalid patch format of primitive list")
    if value is None:
        original.pop(key, None)
        return
    if key not in original:
        if not deletes:
            _put(original, key, value)
        return
    present = original[key]
    rule = _FieldRule(type_name, key)
    if isinstance(present, dict) and isinstance(value, dict):
        original[key] = value if rule.strategy == "replace" else merged(present, value, rule.type_name)
    elif isinstance(present, list) and isinstance(value, list):
        if rule.strategy == "merge" or deletes:
            original[key] = _merged_lists(present, value, rule, deletes)
        else:
            original[key] = value
    elif not deletes:
        _put(original, key, value)


def _fresh(value: Any) -> Any:
    """A value that is new to the object: nulls in it mean nothing, nor do directives. None for what is one itself."""
    return _without_directives(_without_nulls(value))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        if DIRECTIVE in value:
            return None
        fields = ((k, v, _without_directives(v)) for k, v in value.items())
        return {k: left for k, v, left in fields if left is not None or v is None}
    if isinstance(value, list):
        items = ((v, _without_directives(v)) for v in value)
        return [left for v, left in items if left is not None or v is None]
    return value


def _put(original: Tree, key: str, value: Any) -> None:
    fresh = _fresh(value)
    if fresh is None:
        original.pop(key, None)
    else:
        original[key] = fresh


def _retain_keys(original: Tree, patch: Tree) -> None:
    if RETAIN_KEYS not in patch:
        return
    kept = patch.pop(RETAIN_KEYS)
    if not isinstance(kept, list):
        raise BadPatch("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and not key.startswith((DELETE_FROM_LIST, ORDER)) and key not in kept:
            raise BadPatch("invalid patch format of retainKeys")
    for key in [k for k in original if k not in kept]:
        del original[key]


def _merge_ordered_lists(original: Tree, patch: Tree, type_name: str) -> None:
    for directive in [k for k in patch if k.startswith(ORDER)]:
        order = patch.pop(directive)
        field = directive.removeprefix(ORDER + "/")
        if not isinstance(order, list) or field == directive:
            raise BadPatch("invalid patch format of setElementOrder list")
        rule = _FieldRule(type_name, field)
        present, changes = original.get(field), patch.pop(field, None)
        if (present is not None and not isinstance(present, list)) or not isinstance(changes, list | None):
            raise BadPatch("invalid patch format of setElementOrder list")
        _check_order(changes or [], order, rule.key)
        if present is None and changes is None:
            continue
        if present is None:
            result = _without_directives(changes or [])
        elif changes is None:
            result = present
        else:
            result = _merged_lists(list(present), changes, rule, False) if rule.strategy == "merge" else changes
        mine, others = _partition(result, order, rule.key)
        original[field] = _ordered(mine, others, order, present or [], rule.key)


def _check_order(changes: list[Any], order: list[Any], key: str) -> None:
    if key:
        for item in [*order, *changes]:
            if not isinstance(item, dict):
                raise BadPatch(f"expected a map, but received {go_value(item)}")
        kept = [c for c in changes if c.get(DIRECTIVE) != "delete"]
    else:
        kept = changes
    if not order:
        return  # it asks for nothing
    same = _sameness(key)
    position = 0
    for item in order:
        if position < len(kept) and same(item) == same(kept[position]):
            position += 1
    if position < len(kept):
        raise BadPatch(
            f"The order in patch list:\n{go_value(changes)}\n doesn't match {ORDER} list:\n{go_value(order)}\n"
        )


def _require_key(items: list[Any], key: str) -> None:
    for item in items:
        if not isinstance(item, dict):
            raise BadPatch(f"expected a map, but received {go_value(item)}")
        if key not in item:
            raise BadPatch(f"map: {go_value(item)} does not contain declared merge key: {key}")


def _sameness(key: str) -> Callable[[Any], str]:
    """What makes two items of a list the same: the merge key's value, or the value itself."""
    if key:
        return lambda item: orjson.dumps(item.get(key)).decode()
    return lambda item: orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()


def _merged_lists(present: list[Any], changes: list[Any], rule: _FieldRule, deletes: bool) -> list[Any]:
    if not present and not changes:
        return present
    kinds = {("map" if isinstance(v, dict) else "list" if isinstance(v, list) else "scalar") for v in present + changes}
    if "list" in kinds:
        raise BadPatch("lists of lists are not supported")
    if len(kinds) > 1:
        raise BadPatch("list element types are not identical")
    if kinds == {"scalar"}:
        if deletes:
            gone = set(changes)
            return [v for v in present if v not in gone]
        result = list({orjson.dumps(v): v for v in [*present, *changes]}.values())
        mine, others = _partition(result, changes, "")
        return _ordered(mine, others, changes, present, "")
    if not rule.key:
        raise BadPatch(f"cannot merge lists without merge key for {rule.type_name or 'interface {}'}")
    before, rest = _apply_item_directives(present, changes, rule.key)
    result = _merge_items(list(before), rest, rule)
    mine, others = _partition(result, rest, rule.key)
    return _ordered(mine, others, rest, before, rule.key)


def _apply_item_directives(present: list[Any], changes: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    rest, replace = [], False
    gone: list[Any] = []
    for item in changes:
        if DIRECTIVE not in item:
            rest.append(item)
            continue
        directive = item[DIRECTIVE]
        if directive == "delete":
            _require_key([item], key)
            gone.append(item[key])
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise BadPatch("merging lists cannot yet be specified in the patch")
        else:
            raise BadPatch(f"unknown patch type: {go_value(directive)} in map: {go_value(item)}")
    if replace:
        return rest, []
    if gone:
        named = _Named(gone)
        present = [v for v in present if v.get(key) not in named]
    return present, rest


def _merge_items(present: list[Any], changes: list[Any], rule: _FieldRule) -> list[Any]:
    _require_key(changes, rule.key)
    places = _Named([v.get(rule.key) for v in present])
    for item in changes:
        position = places.find(item[rule.key])
        if position is None:
            present.append(item)
            places.add(present[-1].get(rule.key))
        else:
            present[position] = merged(present[position], dict(item), rule.type_name)
    return present


class _Named:
    """Where each value of a merge key stands first: looking for each of a million would take minutes."""

    def __init__(self, values: list[Any]) -> None:
        self._places: dict[Any, int] = {}
        self._odd: list[tuple[Any, int]] = []
        self._count = 0
        for value in values:
            self.add(value)

    def add(self, value: Any) -> None:
        """The next item's value."""
        if isinstance(value, dict | list):
            self._odd.append((value, self._count))  # no key of any kind, but a client may send it
        else:
            self._places.setdefault(value, self._count)
        self._count += 1

    def find(self, value: Any) -> int | None:
        """The place of an item with this value."""
        if isinstance(value, dict | list):
            return next((place for other, place in self._odd if other == value), None)
        return self._places.get(value)

    def __contains__(self, value: object) -> bool:
        return self.find(value) is not None


def _partition(items: list[Any], by: Sequence[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Items that `by` has too, and the others."""
    if key:
        _require_key(items, key)
    same = _sameness(key)
    named = {same(v) for v in by if not key or isinstance(v, dict)}
    return [v for v in items if same(v) in named], [v for v in items if same(v) not in named]


def _ordered(mine: list[Any], others: list[Any], order: Sequence[Any], before: Sequence[Any], key: str) -> list[Any]:
    """The patch's items in the patch's order, and the server's own in their old order put between them."""
    same = _sameness(key)
    wanted = {same(v): i for i, v in reversed(list(enumerate(order)))}
    old = {same(v): i for i, v in reversed(list(enumerate(before)))}
    mine = sorted(mine, key=lambda v: wanted[same(v)])
    others = sorted(others, key=lambda v: old.get(same(v), len(old)))
    result: list[Any] = []
    left, right = 0, 0
    while left < len(others) or right < len(mine):
        if left < len(others) and right < len(mine):
            ours, theirs = old.get(same(others[left])), old.get(same(mine[right]))
            take_left = ours is not None and theirs is not None and ours < theirs
        else:
            take_left = left < len(others)
        if take_left:
            result.append(others[left])
            left += 1
        else:
            result.append(mine[right])
            right += 1
    return result


def restore_error(tree: Any, shape: schema.Shape) -> str:
    """What upstream says of the first value of a wrong type in a merged tree; empty if there is none.

    Source: apimachinery `runtime/converter.go`.
    """
    if isinstance(shape, schema.StructShape | schema.MapShape):
        if not isinstance(tree, dict):
            struct = isinstance(shape, schema.StructShape)
            return f"cannot restore {'struct from:' if struct else 'map from'} {_go_kind(tree)}"
        for key, value in tree.items():
            inner = shape.fields.get(key) if isinstance(shape, schema.StructShape) else shape.value
            found = restore_error(value, inner) if inner is not None and value is not None else ""
            if found:
                return found
        return ""
    if isinstance(shape, schema.ListShape):
        if not isinstance(tree, list):
            return f"cannot restore slice from {_go_kind(tree)}"
        return next((e for e in (restore_error(v, shape.item) for v in tree if v is not None) if e), "")
    return _scalar_error(tree, shape)


_FITTING = {
    schema.STRING: ("string",),
    schema.INT32: ("int64",),
    schema.INT64: ("int64",),
    schema.BOOL: ("bool",),
    schema.FLOAT: ("float64", "int64"),
}


def _scalar_error(tree: Any, shape: schema.Scalar) -> str:
    kind = _go_kind(tree)
    fitting = _FITTING.get(shape.kind)
    if fitting is None or kind in fitting:
        return ""
    given = {"map": "map[string]interface {}", "slice": "[]interface {}"}.get(kind, kind)
    return f"cannot convert {given} to {shape.go}"


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "map"
    if isinstance(value, list):
        return "slice"
    return "string" if isinstance(value, str) else "int64" if isinstance(value, int) else "float64"

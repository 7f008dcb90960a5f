"""Walks over objects along their forms: which fields there are, what changed, how two configurations merge.

Shape: objects are JSON trees; a field that is absent is absent from its dict. Nothing that is given is changed.

Source: structured-merge-diff `typed` (`ToFieldSet`, `Compare`, `Merge`, `RemoveItems`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api.apply.field_sets import HERE, FieldSet, is_member
from carob.api.apply.forms import KEYED_LIST, LEAF, MAP, Form

if TYPE_CHECKING:
    from collections.abc import Iterable

MISSING: Any = object()


def element_of(item: Any, form: Form) -> str:
    """The path element of a list's item."""
    if form.kind != KEYED_LIST or not isinstance(item, dict):
        return "v:" + orjson.dumps(item).decode()
    keys = form.keys
    if len(keys) == 1:
        value = item.get(keys[0], MISSING)
        if (
            value.__class__ is str
            and value.isascii()
            and value.isprintable()
            and '"' not in value
            and "\\" not in value
        ):
            return f'k:{{"{keys[0]}":"{value}"}}'
    found = {}
    for key in keys:
        value = item.get(key, form.defaults.get(key, MISSING))
        if value is not MISSING:
            found[key] = value
    return "k:" + orjson.dumps(found).decode()


def fields_of(value: Any, form: Form) -> FieldSet:
    """What an applied value claims: its leaves, its lists' items, free keys; not the structs around them."""
    form = form.of(value)
    out: FieldSet = {}
    if form.kind == LEAF:
        return out
    if form.kind == MAP:
        if not isinstance(value, dict):
            return out
        fields, other = form.fields, form.item
        for key, inner in value.items():
            named = fields.get(key) if fields is not None else None
            below = named or other
            if below is None:
                continue
            below = below.of(inner)
            if below.kind == LEAF:
                out["f:" + key] = {}
                continue
            node = fields_of(inner, below)
            if inner is None or inner == {} or named is None:
                out["f:" + key] = {HERE: {}, **node} if node else {}
            elif node:
                out["f:" + key] = node
        return out
    if isinstance(value, list) and form.item is not None:
        for item in value:
            element = element_of(item, form)
            node = {} if element in out else fields_of(item, form.item)
            out[element] = {HERE: {}, **node} if node else {}
    return out


def all_of(value: Any, form: Form) -> FieldSet:
    """The node of a value that was not there before: itself and everything below."""
    form = form.of(value)
    if form.kind == LEAF or not value or isinstance(value, _Several):
        return {}
    out: FieldSet = {HERE: {}}
    if form.kind == MAP:
        fields, other = form.fields, form.item
        for key, inner in value.items():
            below = (fields.get(key) if fields is not None else None) or other
            if below is not None:
                out["f:" + key] = {} if below.kind == LEAF else all_of(inner, below)
    elif form.item is not None:
        for element, item in _indexed(value, form).items():
            out[element] = all_of(item, form.item)
    return out


def changes(old: Any, new: Any, form: Form) -> tuple[FieldSet, FieldSet]:
    """What was added or modified, and what was removed."""
    changed, removed = _changes(old, new, form)
    return changed or {}, removed or {}


def _changes(old: Any, new: Any, form: Form) -> tuple[FieldSet | None, FieldSet | None]:
    """The nodes of what changed and of what was removed; None where nothing did."""
    if old is MISSING:
        return all_of(new, form), None
    if new is MISSING:
        return None, all_of(old, form)
    if old == new:
        return None, None
    before, form = form.of(new if old is None else old), form.of(old if new is None else new)
    if before is not form and before.kind != form.kind:
        return all_of(new, form), all_of(old, before)
    if form.kind == LEAF or not (old or new) or isinstance(old, _Several) or isinstance(new, _Several):
        return {}, None
    changed: FieldSet = {}
    removed: FieldSet = {}
    if form.kind == MAP:
        fields, other = form.fields, form.item
        old, new = old or {}, new or {}
        for key in old.keys() | new.keys():
            if old.get(key, MISSING) == new.get(key, MISSING):
                continue
            below = (fields.get(key) if fields is not None else None) or other
            if below is not None:
                _note("f:" + key, old.get(key, MISSING), new.get(key, MISSING), below, changed, removed)
    else:
        assert form.item is not None
        mine, theirs = _indexed(old, form), _indexed(new, form)
        for key in mine.keys() | theirs.keys():
            _note(key, mine.get(key, MISSING), theirs.get(key, MISSING), form.item, changed, removed)
    return changed or None, removed or None


def _note(key: str, old: Any, new: Any, form: Form, changed: FieldSet, removed: FieldSet) -> None:
    here, gone = _changes(old, new, form)
    if here is not None:
        changed[key] = here
    if gone is not None:
        removed[key] = gone


class _Several(list[Any]):
    """Items that share a path element, which validation only warns of: they are owned together."""


def _indexed(items: Any, form: Form) -> dict[str, Any]:
    """A list's items by their path elements."""
    return _grouped((element_of(item, form), item) for item in items or ())


def _grouped(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for element, item in items:
        before = out.get(element, MISSING)
        if before is MISSING:
            out[element] = item
        elif isinstance(before, _Several):
            before.append(item)
        else:
            out[element] = _Several((before, item))
    return out


def merged(live: Any, config: Any, form: Form) -> Any:
    """The live value with an applied one laid over it."""
    if config is MISSING:
        return live
    if live is MISSING:
        return config
    form = form.of(live if config is None else config)
    if form.kind == LEAF or not (live or config) or not isinstance(live, dict | list | None):
        return config
    if form.kind == MAP:
        if isinstance(live, list):  # of what the type says nothing about
            return config
        fields, other = form.fields, form.item
        out = dict(live or {})
        for key, value in (config or {}).items():
            below = (fields.get(key) if fields is not None else None) or other
            out[key] = value if below is None else merged(out.get(key, MISSING), value, below)
        return out
    if isinstance(live, dict) or isinstance(config, dict):
        return config
    return _merged_lists(live or [], config or [], form)


def _merged_lists(live: list[Any], config: list[Any], form: Form) -> list[Any]:
    """Items of both: those of the configuration in its order, the others where they stood among them."""
    assert form.item is not None
    lefts = [element_of(item, form) for item in live]
    rights = [element_of(item, form) for item in config]
    mine, theirs = _grouped(zip(lefts, live, strict=True)), dict(zip(rights, config, strict=True))
    shared = iter([element for element in rights if element in mine])
    next_shared = next(shared, None)
    out: list[Any] = []
    taken: set[str] = set()
    left = right = 0
    while left < len(lefts) or right < len(rights):
        element = lefts[left] if left < len(lefts) else None
        if element is not None and right < len(rights):
            if element == rights[right]:
                out.append(_merged_items(mine[element], theirs[element], form.item))
                taken.add(element)
                left, right, next_shared = left + 1, right + 1, next(shared, None)
                continue
            if element in theirs and next_shared is not None and element != next_shared:
                left += 1  # it comes where the configuration wants it
                continue
        if element is not None:
            if element not in theirs:
                out.append(live[left])
                left += 1
                continue
            if element in taken:
                left += 1
        if right < len(rights):
            element = rights[right]
            out.append(_merged_items(mine.get(element, MISSING), theirs[element], form.item))
            taken.add(element)
            right += 1
            if element == next_shared:
                next_shared = next(shared, None)
    return out


def _merged_items(live: Any, config: Any, form: Form) -> Any:
    """Of several that share a path element none is kept."""
    return config if isinstance(live, _Several) else merged(live, config, form)


def without(value: Any, gone: FieldSet, form: Form) -> Any:
    """The value without the members of a set; None where nothing is left, in maps and lists too."""
    form = form.of(value)
    if form.kind == LEAF:
        return None if isinstance(value, dict | list) else value
    if not value:
        return None
    if form.kind == MAP:
        kept: dict[str, Any] = {}
        for key, inner in value.items():
            node = gone.get("f:" + key)
            if node is None:
                kept[key] = inner
            elif not is_member(node):
                kept[key] = without(inner, node, form.below("f:" + key))
        return kept or None
    assert form.item is not None
    items: list[Any] = []
    for item in value:
        node = gone.get(element_of(item, form))
        if node is None:
            items.append(item)
        elif not is_member(node):
            items.append(without(item, node, form.item))
    return items or None

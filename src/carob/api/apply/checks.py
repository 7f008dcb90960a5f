"""Whether an applied configuration fits its type: every mistake, in upstream's words.

Source: structured-merge-diff `typed` (`validatingObjectWalker`).
Differs: what upstream answers with 500 for is a 400 here.
"""

from __future__ import annotations

from typing import Any

import orjson

from carob.api.apply.forms import ANY, KEYED_LIST, LEAF, SET, Form
from carob.api.apply.trees import element_of

MAX_MISTAKES = 100


def mistakes(tree: Any, form: Form) -> list[str]:
    """Unknown fields, wrong types, items that come twice; each with its path."""
    found: list[str] = []
    _check(tree, form, "", found)
    return found[:MAX_MISTAKES]


def _check(value: Any, form: Form, path: str, out: list[str]) -> None:
    if value is None or form.kind == ANY:
        return
    wants = form.wants
    if wants == "map":
        _map(value, form, path, out)
    elif wants == "list":
        _list(value, form, path, out)
    elif wants == "string" and not isinstance(value, str):
        out.append(f"{path}: expected string, got {_shown(value)}")
    elif wants == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        out.append(f"{path}: expected numeric (int or float), got {_go_type(value)}")
    elif wants == "boolean" and not isinstance(value, bool):
        out.append(f"{path}: expected boolean, got {_shown(value)}")
    elif form.kind == LEAF and not wants and isinstance(value, dict | list):
        out.append(f"{path}: expected scalar, got {_go_type(value)}")


def _map(value: Any, form: Form, path: str, out: list[str]) -> None:
    if not isinstance(value, dict):
        out.append(f"{path}: expected map, got &{{{_plain(value)}}}")
        return
    fields = form.fields
    for key, inner in value.items():
        below = fields.get(key) if fields is not None else form.item
        if below is None:
            out.append(f"{path}.{key}: field not declared in schema")
        else:
            _check(inner, below, f"{path}.{key}", out)


def _list(value: Any, form: Form, path: str, out: list[str]) -> None:
    if not isinstance(value, list):
        out.append(f"{path}: expected list, got &{{{_plain(value)}}}")
        return
    seen: set[str] = set()
    for number, item in enumerate(value):
        place = f"[{number}]"
        if form.kind in (KEYED_LIST, SET):
            if item is None or (form.kind == KEYED_LIST and not isinstance(item, dict)):
                words = "associative list with keys may not have non-map elements"
                out.append(f"{path}: element {number}: {words}")
                continue
            element = element_of(item, form)
            place = _key(element)
            if element in seen:
                out.append(f"{path}: duplicate entries for key {place}")
            seen.add(element)
        if form.item is not None:
            _check(item, form.item, path + place, out)


def _key(element: str) -> str:
    kind, _, text = element.partition(":")
    if kind == "v":
        return f"[={text}]"
    fields = orjson.loads(text)
    return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in fields.items()) + "]"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(_plain(v) for v in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{_plain(v)}" for k, v in sorted(value.items())) + "]"
    return str(value)


def _shown(value: Any) -> str:
    return _plain(value) if isinstance(value, bool | int | float) else f"&{{{_plain(value)}}}"


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return "string" if isinstance(value, str) else "int64" if isinstance(value, int) else "float64"

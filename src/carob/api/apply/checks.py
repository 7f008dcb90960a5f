"""Whether an applied configuration fits its type: every mistake, in upstream's words.

Source: structured-merge-diff `typed` (`validatingObjectWalker`).
Differs: what upstream answers with 500 for is a 400 here.
"""

from __future__ import annotations

from typing import Any

import orjson

from carob.api.apply.forms import ANY, KEYED_LIST, LEAF, SET, Form
from carob.api.apply.trees import element_of
from carob.api.validation.field import quoted

MAX_MISTAKES = 100


def mistakes(tree: Any, form: Form) -> list[str]:
    """Unknown fields, wrong types, items that come twice or have no key; each with its path."""
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
        out.append(f"{path}: expected string, got &value.valueUnstructured{{Value:{_go_syntax(value)}}}")
    elif wants == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        out.append(f"{path}: expected numeric (int or float), got {_go_type(value)}")
    elif wants == "boolean" and not isinstance(value, bool):
        out.append(f"{path}: expected boolean, got &{{{_plain(value)}}}")
    elif form.kind == LEAF and not wants and isinstance(value, dict | list):
        out.append(f"{path}: expected any scalar, got &{{{_plain(value)}}}")


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
            element = element_of(item, form)
            words = _unfit(item, element, form)
            if words:
                out.append(f"{path}: element {number}: {words}")
                return
            place = _key(element)
            if element in seen:
                out.append(f"{path}: duplicate entries for key {place}")
            seen.add(element)
        if form.item is not None:
            _check(item, form.item, path + place, out)


def _unfit(item: Any, element: str, form: Form) -> str:
    """Why a value is no item of a list; empty if it is one."""
    if form.kind == KEYED_LIST:
        if item is None:
            return "associative list with keys may not have a null element"
        if not isinstance(item, dict):
            return "associative list with keys may not have non-map elements"
        if element == "k:{}":
            keys = " ".join(f'"{key}"' for key in form.keys)
            omitted = f"associative list with keys has an element that omits all key fields [{keys}]"
            return f"{omitted} (and doesn't have default values for any key fields)"
        return ""
    if isinstance(item, dict):
        return "associative list without keys has an element that's a map type"
    if isinstance(item, list):
        return "not supported: associative list with lists as elements"
    return "associative list without keys has an element that's an explicit null" if item is None else ""


def _key(element: str) -> str:
    kind, _, text = element.partition(":")
    if kind == "v":
        return f"[={text}]"
    fields = orjson.loads(text)
    return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in fields.items()) + "]"


def _plain(value: Any) -> str:
    """As Go's %v writes a value."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, list):
        return "[" + " ".join(_plain(v) for v in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{_plain(v)}" for k, v in sorted(value.items())) + "]"
    return str(value)


def _go_syntax(value: Any) -> str:
    """As Go's %#v writes a value."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(_go_syntax(v) for v in value) + "}"
    if isinstance(value, dict):
        fields = ", ".join(f"{quoted(k)}:{_go_syntax(v)}" for k, v in sorted(value.items()))
        return f"map[string]interface {{}}{{{fields}}}"
    return _plain(value)


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return "string" if isinstance(value, str) else "int64" if isinstance(value, int) else "float64"

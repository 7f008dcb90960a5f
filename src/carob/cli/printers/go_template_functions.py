"""The functions of Go templates, and the two that kubectl adds.

Pure. Source: text/template funcs.go; cli-runtime pkg/printers/template.go.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from carob.cli.printers import go_text
from carob.cli.printers.go_template_parser import Number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class CallError(Exception):
    """What a function does not take; the text is Go's."""


def truth(value: Any) -> bool:
    """Whether `if` takes it for true."""
    return bool(value)


def type_name(value: Any) -> str:
    """Go's name of its type."""
    if value is None:
        return "<nil>"
    for kind, name in ((bool, "bool"), (Number, "int"), (int, "int64"), (float, "float64"), (str, "string")):
        if isinstance(value, kind):
            return name
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"


def _index(value: Any, *keys: Any) -> Any:
    if value is None:
        raise CallError("index of untyped nil")
    for key in keys:
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise CallError(f"value has type {type_name(key)}; should be string")
            value = value.get(key)
        elif isinstance(value, (list, str)):
            _check_index(key, len(value))
            value = value[key] if isinstance(value, list) else Number(value.encode()[key])
        else:
            raise CallError("index of nil pointer" if value is None else f"can't index item of type {type_name(value)}")
    return value


def _check_index(key: Any, length: int, *, inclusive: bool = False) -> None:
    if not isinstance(key, int) or isinstance(key, bool):
        raise CallError(f"cannot index slice/array with {'nil' if key is None else f'type {type_name(key)}'}")
    if not 0 <= key < length + inclusive:
        raise CallError(f"index out of range: {int(key)}")


def _slice(value: Any, *bounds: Any) -> Any:
    if value is None:
        raise CallError("slice of untyped nil")
    if not isinstance(value, (list, str)):
        raise CallError(f"can't slice item of type {type_name(value)}")
    for bound in bounds:
        _check_index(bound, len(value), inclusive=True)
    begin = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(value)
    if begin > end:
        raise CallError(f"invalid slice index: {begin} > {end}")
    return value[begin:end]


def _len(value: Any) -> int:
    if isinstance(value, str):
        return Number(len(value.encode()))
    if isinstance(value, (list, dict)):
        return Number(len(value))
    if value is None:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    raise CallError(f"len of type {type_name(value)}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else type_name(value)


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        if first is not None and other is not None and _kind(first) != _kind(other):
            raise CallError(f"incompatible types for comparison: {type_name(first)} and {type_name(other)}")
        if isinstance(first, (dict, list)) and first is not other:
            raise CallError(f"non-comparable type {go_text.plain(first)}: {type_name(first)}")
        if first == other:
            return True
    return False


def _less(first: Any, other: Any) -> bool:
    for value in (first, other):
        if value is None or isinstance(value, (bool, dict, list)):
            raise CallError("invalid type for comparison")
    if _kind(first) != _kind(other):
        raise CallError(f"incompatible types for comparison: {type_name(first)} and {type_name(other)}")
    return bool(first < other)


def sprint(*values: Any) -> str:
    """Blanks where neither neighbour is text."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += go_text.plain(value)
    return out


_VERB = re.compile(r"%([-+# 0]*)(\d+)?(?:\.(\d+))?(.)?", re.DOTALL)


def sprintf(form: Any, *values: Any) -> str:
    """Go's Printf for text, numbers and truth values."""
    if not isinstance(form, str):
        raise CallError(f"wrong type for value; expected string; got {type_name(form)}")
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if verb is None:
            return "%!(NOVERB)"
        if not rest:
            return f"%!{verb}(MISSING)"
        text = _verb(verb, rest.pop(0), flags, precision)
        if not width:
            return text
        if "-" in flags:
            return text.ljust(int(width))
        return text.zfill(int(width)) if "0" in flags else text.rjust(int(width))

    out = _VERB.sub(one, form)
    if rest:
        out += "%!(EXTRA " + ", ".join(f"{type_name(v)}={go_text.plain(v)}" for v in rest) + ")"
    return out


def _verb(verb: str, value: Any, flags: str, precision: str | None) -> str:
    number = isinstance(value, int) and not isinstance(value, bool)
    if verb == "v":
        return go_text.syntax(value) if "#" in flags else go_text.plain(value)
    if verb == "T":
        return type_name(value)
    if verb == "t" and isinstance(value, bool):
        return go_text.plain(value)
    if verb in "sq" and isinstance(value, str):
        text = value[: int(precision)] if precision else value
        return go_text.syntax(text) if verb == "q" else text
    if verb in "xX" and isinstance(value, str):
        text = value.encode().hex()
        return text.upper() if verb == "X" else text
    if number and verb in "dxXobc":
        return f"{int(value):{'+' if '+' in flags else ''}{verb}}"
    if isinstance(value, float) and verb in "feEgG":
        return f"{value:.{precision or 6}{verb}}" if precision or verb not in "gG" else go_text.plain(value)
    if isinstance(value, list) and verb in "sdq":
        return "[" + " ".join(_verb(verb, item, flags, precision) for item in value) + "]"
    return f"%!{verb}({type_name(value)}={go_text.plain(value)})" if value is not None else f"%!{verb}(<nil>)"


_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js(*values: Any) -> str:
    return "".join(_JS.get(c) or (f"\\u{ord(c):04X}" if ord(c) < 32 else c) for c in sprint(*values))


def _url(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(sprint(*values), safe="-_.~")


def _base64decode(text: Any) -> str:
    if not isinstance(text, str):
        raise CallError(f"wrong type for value; expected string; got {type_name(text)}")
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except binascii.Error as error:
        wrong = re.search(r"[^A-Za-z0-9+/=]", text)
        raise CallError(
            f"base64 decode: illegal base64 data at input byte {wrong.start() if wrong else len(text)}"
        ) from error


def _exists(value: Any, *keys: Any) -> bool:
    try:
        return _index(value, *keys) is not None
    except CallError:
        return False


def _call(*values: Any) -> Any:
    raise CallError(f"non-function of type {type_name(values[0] if values else None)}")


# each with the fewest arguments it takes, and whether it takes more
FUNCTIONS: dict[str, tuple[int, bool, Callable[..., Any]]] = {
    "not": (1, False, lambda value: not truth(value)),
    "len": (1, False, _len),
    "index": (1, True, _index),
    "slice": (1, True, _slice),
    "eq": (1, True, _eq),
    "ne": (2, False, lambda a, b: not _eq(a, b)),
    "lt": (2, False, _less),
    "le": (2, False, lambda a, b: _less(a, b) or _eq(a, b)),
    "gt": (2, False, lambda a, b: not (_less(a, b) or _eq(a, b))),
    "ge": (2, False, lambda a, b: not _less(a, b)),
    "print": (0, True, sprint),
    "println": (0, True, lambda *values: " ".join(go_text.plain(v) for v in values) + "\n"),
    "printf": (1, True, sprintf),
    "html": (0, True, lambda *values: "".join(_HTML.get(c, c) for c in sprint(*values))),
    "js": (0, True, _js),
    "urlquery": (0, True, _url),
    "base64decode": (1, False, _base64decode),
    "exists": (1, True, _exists),
    "call": (1, True, _call),
}


def apply(name: str, values: Sequence[Any]) -> Any:
    """Call a function. Raises: CallError with Go's words."""
    least, more, function = FUNCTIONS[name]
    if len(values) < least or (len(values) > least and not more):
        want = f"at least {least}" if more else str(least)
        raise CallError(f"wrong number of args for {name}: want {want} got {len(values)}")
    try:
        return function(*values)
    except CallError as error:
        raise CallError(f"error calling {name}: {error}") from error

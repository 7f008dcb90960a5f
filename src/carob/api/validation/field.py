"""Errors of single fields, worded as upstream words them, and the texts of their bad values.

Pure. A cause is the dict that `carob.api.status.invalid` takes; validators append causes to a list, in upstream's order.
Paths are plain strings (`spec.containers[0].image`), built only where they are needed.

Source: apimachinery `pkg/util/validation/field`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from carob.api.validation import internal

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

Cause: TypeAlias = dict[str, str]

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_ESCAPES |= {'"': '\\"', "\\": "\\\\"}


def repeated(values: Iterable[Hashable]) -> list[bool]:
    """For each value, whether it came before. A list may have a million: looking back in it for each would take minutes."""
    seen: set[Hashable] = set()
    found = []
    for value in values:
        found.append(value in seen)
        seen.add(value)
    return found


def quoted(text: str) -> str:
    """The text in double quotes, escaped as Go escapes it."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(value: Any) -> str:
    """A bad value as it stands in a message: texts quoted, numbers bare, structures as JSON."""
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return internal.shown(value)


def _cause(reason: str, path: str, message: str) -> Cause:
    return {"reason": reason, "message": message, "field": path}


def _with(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def map_or_null(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """A map as Go shows it: sorted, and null when there is nothing in it."""
    return dict(sorted(values.items())) or None


def required(path: str, detail: str = "") -> Cause:
    """A value must be given."""
    return _cause("FieldValueRequired", path, _with("Required value", detail))


def invalid(path: str, value: Any, detail: str) -> Cause:
    """The value breaks a rule."""
    return _cause("FieldValueInvalid", path, _with(f"Invalid value: {shown(value)}", detail))


def raw_invalid(path: str, rendered: str, detail: str) -> Cause:
    """As `invalid`, for a value whose text is already made."""
    return _cause("FieldValueInvalid", path, _with(f"Invalid value: {rendered}", detail))


def omitted(path: str, detail: str) -> Cause:
    """As `invalid`, without repeating the value."""
    return _cause("FieldValueInvalid", path, f"Invalid value: {detail}")


def type_invalid(path: str, rendered: str, detail: str) -> Cause:
    """The value has the wrong type."""
    return _cause("FieldValueTypeInvalid", path, _with(f"Invalid value: {rendered}", detail))


def duplicate(path: str, value: Any) -> Cause:
    """The value must be unique, and is not."""
    return _cause("FieldValueDuplicate", path, f"Duplicate value: {shown(value)}")


def raw_duplicate(path: str, rendered: str) -> Cause:
    """As `duplicate`, for a value whose text is already made."""
    return _cause("FieldValueDuplicate", path, f"Duplicate value: {rendered}")


def not_supported(path: str, value: Any, supported: Iterable[str]) -> Cause:
    """The value is none of an enumeration; `supported` comes in the order shown."""
    listed = ", ".join(quoted(s) for s in supported)
    detail = f"supported values: {listed}" if listed else ""
    return _cause("FieldValueNotSupported", path, _with(f"Unsupported value: {shown(value)}", detail))


def forbidden(path: str, detail: str) -> Cause:
    """The value may not be given here."""
    return _cause("FieldValueForbidden", path, _with("Forbidden", detail))


def not_found(path: str, value: Any) -> Cause:
    """The value refers to something that is not there."""
    return _cause("FieldValueNotFound", path, f"Not found: {shown(value)}")


def too_long(path: str, limit: int) -> Cause:
    """The value has more bytes than `limit`; it is not repeated."""
    return _cause("FieldValueTooLong", path, f"Too long: may not be more than {limit} bytes")


def too_many(path: str, actual: int, limit: int) -> Cause:
    """The list has more items than `limit`."""
    return _cause("FieldValueTooMany", path, f"Too many: {actual}: must have at most {limit} items")


def internal_error(path: str, detail: str) -> Cause:
    """Something beyond the value itself went wrong."""
    return _cause("InternalError", path, _with("Internal error", detail))

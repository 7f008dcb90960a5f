"""JSON patch (RFC 6902) with the leniencies of upstream's library, on which clients have come to rely.

Pure; the document is changed in place and returned. What differs from the RFC: `replace` of a missing member adds it,
`copy` of a missing member copies null, a missing value is null, negative indices count from the end, and the part of a
path before its first slash is not looked at.

Source: evanphx/json-patch v4, which apiserver uses.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_COPIED_VALUES = 1_000_000


class DoesNotApply(ValueError):
    """An operation that is none, or that does not fit the document."""


def apply(document: Any, operations: list[dict[str, Any]]) -> Any:
    """The document after all operations. Raises: DoesNotApply."""
    patcher = _Patcher(document)
    for operation in operations:
        verb = _VERBS.get(str(operation.get("op")))
        if verb is None:
            raise DoesNotApply(f"Unexpected kind: {operation.get('op')}")
        verb(patcher, operation)
    patcher.sort_opened()
    return patcher.document


class _Patcher:
    def __init__(self, document: Any) -> None:
        self.document = document
        self._copied = 0
        self._opened: dict[int, dict[str, Any]] = {}

    def _open(self, place: Any) -> None:
        if isinstance(place, dict):
            self._opened[id(place)] = place

    def sort_opened(self) -> None:
        """Sort the keys of every object on the way of an operation, as the library writes them."""
        for place in self._opened.values():
            items = sorted(place.items())
            place.clear()
            place.update(items)

    def _path(self, operation: dict[str, Any], name: str = "path") -> str:
        path = operation.get(name)
        if not isinstance(path, str):
            raise DoesNotApply(f"operation missing {name} field")
        return path

    def _find(self, path: str, verb: str) -> tuple[Any, str]:
        """The object or list that holds what the path names, and its last part."""
        parts = path.split("/")
        place: Any = self.document
        if len(parts) < 2 or not isinstance(place, dict | list):
            raise DoesNotApply(f"{verb} operation does not apply: doc is missing path: {path}")
        for part in parts[1:-1]:
            place = _get(place, _decoded(part))
            if not isinstance(place, dict | list):
                raise DoesNotApply(f"{verb} operation does not apply: doc is missing path: {path}")
            self._open(place)
        self._open(self.document)
        return place, _decoded(parts[-1])

    def add(self, operation: dict[str, Any]) -> None:
        place, key = self._find(self._path(operation), "add")
        _add(place, key, operation.get("value"))

    def remove(self, operation: dict[str, Any]) -> None:
        place, key = self._find(self._path(operation), "remove")
        _remove(place, key)

    def replace(self, operation: dict[str, Any]) -> None:
        path, value = self._path(operation), operation.get("value")
        if path == "":
            if not isinstance(value, dict | list):
                raise DoesNotApply("replace operation value must be object or array")
            self.document = value
            return
        place, key = self._find(path, "replace")
        _get(place, key)
        if isinstance(place, list):
            place[_index(key, len(place))] = value
        else:
            place[key] = value

    def move(self, operation: dict[str, Any]) -> None:
        place, key = self._find(self._path(operation, "from"), "move")
        value = _get(place, key)
        _remove(place, key)
        place, key = self._find(self._path(operation), "move")
        _add(place, key, value)

    def copy(self, operation: dict[str, Any]) -> None:
        place, key = self._find(self._path(operation, "from"), "copy")
        value = copy.deepcopy(_get(place, key))
        self._copied += _size(value)
        if self._copied > MAX_COPIED_VALUES:
            raise DoesNotApply("unable to copy: the accumulated size increase of copy operations is too large")
        place, key = self._find(self._path(operation), "copy")
        _add(place, key, value)

    def test(self, operation: dict[str, Any]) -> None:
        path, wanted = self._path(operation), operation.get("value")
        if path == "":
            found: Any = self.document
        else:
            place, key = self._find(path, "test")
            found = _get(place, key)
        if not _equal(found, wanted):
            raise DoesNotApply(f"testing value {path} failed: test failed")


_VERBS: dict[str, Callable[[_Patcher, dict[str, Any]], None]] = {
    "add": _Patcher.add,
    "remove": _Patcher.remove,
    "replace": _Patcher.replace,
    "move": _Patcher.move,
    "copy": _Patcher.copy,
    "test": _Patcher.test,
}


def _decoded(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _index(key: str, length: int) -> int:
    """The position in a list. Raises: DoesNotApply beyond its ends."""
    digits = key[1:] if key[:1] in ("-", "+") else key
    if not digits.isdigit() or not digits.isascii() or len(digits) > 18:
        raise DoesNotApply(f'strconv.Atoi: parsing "{key}": invalid syntax')
    index = int(key)
    if not -length <= index < length:
        raise DoesNotApply(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + length if index < 0 else index


def _get(place: Any, key: str) -> Any:
    return place.get(key) if isinstance(place, dict) else place[_index(key, len(place))]


def _add(place: Any, key: str, value: Any) -> None:
    if isinstance(place, dict):
        place[key] = value
    elif key == "-":
        place.append(value)
    else:
        # one past the end appends; a negative index counts from the grown list's end
        place.insert(_index(key, len(place) + 1), value)


def _remove(place: Any, key: str) -> None:
    if isinstance(place, list):
        del place[_index(key, len(place))]
    elif key in place:
        del place[key]
    else:
        raise DoesNotApply(f"Unable to remove nonexistent key: {key}: missing value")


def _equal(left: Any, right: Any) -> bool:
    """As in JSON: unlike in Python, true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_size(v) for v in value.values())
    return 1 + sum(_size(v) for v in value) if isinstance(value, list) else 1

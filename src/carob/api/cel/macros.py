"""Macros that the library does not know: comprehensions of two variables, `existsOne`, `sortBy`.

Pure. Source: cel-go `ext/{comprehensions,lists}.go`.
Differs: what they cost is about what upstream charges, not to the unit.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, NamedTuple

from carob.api.cel import syntax
from carob.api.cel.operators import ordered, shown
from carob.api.cel.values import CelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Parts = list[Callable[[], Any]]
    Each = Iterable[tuple[Any, Parts]]

# name -> how many variables, and how many parts it can have behind them
_SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "all": ((2,), (1,)),
    "exists": ((2,), (1,)),
    "exists_one": ((2,), (1,)),
    "existsOne": ((1, 2), (1,)),
    "sortBy": ((1,), (1,)),
    "transformList": ((2,), (1, 2)),
    "transformMap": ((2,), (1, 2)),
    "transformMapEntry": ((2,), (1, 2)),
}


class Macro(NamedTuple):
    """A call that is a macro: its name, what it goes through, the names it gives, and its expressions."""

    name: str
    source: syntax.Node
    variables: tuple[str, ...]
    parts: list[syntax.Node]


def expanded(node: syntax.Call) -> Macro | None:
    """The macro that a call is; None if it is none."""
    shape = _SHAPES.get(node.function)
    if shape is None or node.target is None:
        return None
    names: list[str] = []
    for one in node.arguments[:2]:
        if not isinstance(one, syntax.Name):
            break
        names.append(one.name)
    for count in sorted(shape[0], reverse=True):
        rest = node.arguments[count:]
        if len(names) >= count and len(rest) in shape[1]:
            if node.function == "sortBy":
                rest = [*rest, node.arguments[0]]  # the item itself, by its name
            return Macro(node.function, node.target, tuple(names[:count]), rest)
    return None


def _flag(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise CelError("no such overload")


def _decided(each: Each, decisive: bool) -> bool:
    failed: CelError | None = None
    for _, parts in each:
        try:
            if _flag(parts[0]()) is decisive:
                return decisive
        except CelError as error:
            failed = error
    if failed is not None:
        raise failed
    return not decisive


def _exists_one(each: Each) -> bool:
    return sum(_flag(parts[0]()) for _, parts in each) == 1


def _transformed(parts: Parts) -> list[Any]:
    """The new value, or nothing where it is filtered out."""
    if len(parts) == 2 and not _flag(parts[0]()):
        return []
    return [parts[-1]()]


def _sorted(each: Each) -> list[Any]:
    pairs = [(parts[0](), parts[1]()) for _, parts in each]

    def compare(one: tuple[Any, Any], other: tuple[Any, Any]) -> int:
        left, right = ordered("_<_", one[0], other[0])
        return int(left > right) - int(left < right)

    return [value for _, value in sorted(pairs, key=cmp_to_key(compare))]


def _map(each: Each) -> dict[Any, Any]:
    return {key: value for key, parts in each for value in _transformed(parts)}


def _entries(each: Each) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for _, parts in each:
        for found in _transformed(parts):
            if found.__class__ is not dict:
                raise CelError("no such overload")
            for key, value in found.items():
                if key in out:
                    raise CelError(f"insert failed: key {shown(key)} already exists")
                out[key] = value
    return out


WORK: dict[str, Callable[[Each], Any]] = {
    "all": lambda each: _decided(each, decisive=False),
    "exists": lambda each: _decided(each, decisive=True),
    "exists_one": _exists_one,
    "existsOne": _exists_one,
    "sortBy": _sorted,
    "transformList": lambda each: [value for _, parts in each for value in _transformed(parts)],
    "transformMap": _map,
    "transformMapEntry": _entries,
}

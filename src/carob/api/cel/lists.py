"""Lists: sums, bounds, order, places, parts; and sets. What the items are is judged when they are there.

Pure. Source: `k8s.io/apiserver/pkg/cel/library/lists.go`, cel-go `ext/{lists,sets}.go`.
"""

from __future__ import annotations

from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from carob.api.cel.library import ANY, FUNCTIONS, bounded, costs, function, result_costs, size, traversed
from carob.api.cel.operators import equal, ordered
from carob.api.cel.values import CelError, Uint


def _sum(values: list[Any]) -> Any:
    total: Any = values[0] if values else 0
    plus = FUNCTIONS["_+_"]
    for one in values[1:]:
        total = plus.call((total, one))
    if total.__class__ in (str, bytes, list):
        raise CelError("no such overload")
    return total


def _less(left: Any, right: Any) -> bool:
    one, other = ordered("_<_", left, right)
    return bool(one < other)


def _bound(name: str, better: Any) -> Any:
    def run(values: list[Any]) -> Any:
        if not values:
            raise CelError(f"{name} called on empty list")
        found = values[0]
        for one in values[1:]:
            if better(one, found):
                found = one
        return found

    return run


def _index(values: list[Any], wanted: Any) -> int:
    return next((i for i, one in enumerate(values) if equal(one, wanted)), -1)


def _last_index(values: list[Any], wanted: Any) -> int:
    return next((i for i in reversed(range(len(values))) if equal(values[i], wanted)), -1)


def _is_sorted(values: list[Any]) -> bool:
    return not any(_less(later, earlier) for earlier, later in pairwise(values))


def _sorted(values: list[Any]) -> list[Any]:
    return sorted(values, key=cmp_to_key(lambda a, b: -1 if _less(a, b) else int(_less(b, a))))


def _slice(values: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise CelError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise CelError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(values):
        raise CelError(f"cannot slice({start}, {end}), list is length {len(values)}")
    return values[start:end]


def _flatten(values: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise CelError("level must be non-negative")
    out: list[Any] = []
    for one in values:
        if one.__class__ is list and depth:
            out += _flatten(one, depth - 1)
        else:
            out.append(one)
        bounded(len(out), "list")
    return out


def _distinct(values: list[Any]) -> list[Any]:
    out: list[Any] = []
    for one in values:
        if not any(equal(one, other) for other in out):
            out.append(one)
    return out


def _range(count: int) -> list[int]:
    bounded(count, "list")
    return list(range(count))


def _contains(values: list[Any], wanted: list[Any]) -> bool:
    return all(any(equal(one, other) for other in values) for one in wanted)


def _counted(arguments: tuple[Any, ...]) -> int:
    first = arguments[0]
    return traversed(len(first)) if first.__class__ is str else size(first)


function("isSorted", ((list,), _is_sorted))
function("sum", ((list,), _sum))
function("min", ((list,), _bound("min", _less)))
function("max", ((list,), _bound("max", lambda a, b: _less(b, a))))
function("indexOf", ((list, ANY), _index))
function("lastIndexOf", ((list, ANY), _last_index))
function("reverse", ((list,), lambda values: values[::-1]))
function("slice", ((list, int, int), _slice))
function("flatten", ((list,), _flatten), ((list, int), _flatten))
function("distinct", ((list,), _distinct))
function("sort", ((list,), _sorted))
function("lists.range", ((int,), _range), ((Uint,), _range))
function("sets.contains", ((list, list), _contains))
function("sets.equivalent", ((list, list), lambda a, b: _contains(a, b) and _contains(b, a)))
function("sets.intersects", ((list, list), lambda a, b: any(equal(x, y) for x in a for y in b)))
costs("isSorted sum min max indexOf lastIndexOf", _counted)
costs("sort distinct", lambda args: size(args[0]) ** 2)
result_costs("reverse slice flatten", lambda result: size(result))
result_costs("lists.range", lambda result: 1 + size(result))
costs("sets.contains sets.intersects", lambda args: 1 + size(args[0]) * size(args[1]))
costs("sets.equivalent", lambda args: 1 + 2 * size(args[0]) * size(args[1]))

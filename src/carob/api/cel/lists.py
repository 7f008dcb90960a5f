"""Lists: sums, bounds, order, places. Source: `k8s.io/apiserver/pkg/cel/library/lists.go`.

What the items are is judged when they are there, not before: overloads that differ in it alone are one for the library.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from carob.api.cel.declaring import Kind, function

_ANY = Kind.List(Kind.DYN)


def _sum(values: list[Any]) -> Any:
    if not all(one.__class__ in (int, float) for one in values):
        raise ValueError("no such overload")  # the library takes no durations from us
    return sum(values)


def _bound(name: str, choose: Any) -> Any:
    def run(values: list[Any]) -> Any:
        if not values:
            raise ValueError(f"{name} called on empty list")
        return choose(values)

    return run


def _index(values: list[Any], wanted: Any) -> int:
    return next((i for i, one in enumerate(values) if _same(one, wanted)), -1)


def _last_index(values: list[Any], wanted: Any) -> int:
    return next((i for i in reversed(range(len(values))) if _same(values[i], wanted)), -1)


def _same(one: Any, other: Any) -> bool:
    # a boolean is no number here
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _is_sorted(values: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(values))


FUNCTIONS = (
    function("isSorted", (Kind.BOOL, [_ANY], _is_sorted)),
    function("sum", (Kind.DYN, [_ANY], _sum)),
    function("min", (Kind.DYN, [_ANY], _bound("min", min))),
    function("max", (Kind.DYN, [_ANY], _bound("max", max))),
)
OVERLOADS = (
    function("indexOf", (Kind.INT, [_ANY, Kind.DYN], _index)),
    function("lastIndexOf", (Kind.INT, [_ANY, Kind.DYN], _last_index)),
)

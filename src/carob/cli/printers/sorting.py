"""`--sort-by`: objects in the order of one field.

Text is compared sign by sign, and as amounts where both are quantities (`1Gi`). Source: kubectl pkg/cmd/get/sorter.go.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.cli.errors import CommandError
from carob.cli.printers.jsonpath import JsonPath, relaxed

if TYPE_CHECKING:
    from collections.abc import Callable

# below this Go sorts by insertion, and objects without the field come out in reverse
GO_INSERTION = 12


def sort_by(items: list[Any], field: str, tree_of: Callable[[Any], Any]) -> None:
    """Sort in place. Raises: CommandError for a path that no item has, or that is no path."""
    path = JsonPath(relaxed(field))
    found = [path.values(tree_of(item)) for item in items]
    if items and not any(found):
        raise CommandError(f'error: couldn\'t find any field with path "{relaxed(field)}" in the list of objects')
    pairs = [(values[0] if values else None, item) for values, item in zip(found, items, strict=True)]
    if len(pairs) <= GO_INSERTION:
        for i in range(1, len(pairs)):
            j = i
            while j > 0 and _less(pairs[j][0], pairs[j - 1][0]):
                pairs[j], pairs[j - 1] = pairs[j - 1], pairs[j]
                j -= 1
    else:
        pairs.sort(key=cmp_to_key(_order))
    items[:] = [item for _, item in pairs]


def _order(a: tuple[Any, Any], b: tuple[Any, Any]) -> int:
    return -1 if _less(a[0], b[0]) else int(_less(b[0], a[0]))


def _less(a: Any, b: Any) -> bool:
    if a is None:
        return True
    if b is None:
        return False
    if isinstance(a, str) and isinstance(b, str):
        x, y = _amount(a), _amount(b)
        if x is not None and y is not None:
            return x < y
        return a < b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a < b
    if isinstance(a, (dict, list)) or isinstance(b, (dict, list)):
        raise CommandError("error: cannot sort by a field that is an object or a list", 255)
    return False


def _amount(text: str) -> int | None:
    try:
        return int(quantity.cpu_millicores(text))
    except ValueError:
        return None

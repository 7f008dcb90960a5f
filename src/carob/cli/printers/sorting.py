"""`--sort-by`: objects in the order of one field.

Source: kubectl pkg/cmd/get/sorter.go, github.com/fvbommel/sortorder (text with numbers in it).
"""

from __future__ import annotations

import re
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.cli.errors import CommandError
from carob.cli.printers.jsonpath import JsonPath, relaxed

if TYPE_CHECKING:
    from collections.abc import Callable

# below this Go sorts by insertion, and objects without the field come out in reverse
GO_INSERTION = 12

_PIECE = re.compile(r"(\d+)|(\D)", re.DOTALL)


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
        pairs.sort(key=cmp_to_key(lambda a, b: -1 if _less(a[0], b[0]) else 1 if _less(b[0], a[0]) else 0))
    items[:] = [item for _, item in pairs]


def _less(a: Any, b: Any) -> bool:
    if a is None:
        return True
    if b is None:
        return False
    if isinstance(a, str) and isinstance(b, str):
        amounts = _amount(a), _amount(b)
        if amounts[0] is not None and amounts[1] is not None:
            return bool(amounts[0] < amounts[1])
        return natural(a) < natural(b)
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


def natural(text: str) -> list[tuple[int, int, str, int]]:
    """A key that puts `a10` behind `a9`; digits come before other signs."""
    key = []
    for match in _PIECE.finditer(text):
        digits, sign = match.groups()
        if digits:
            number = digits.lstrip("0")
            key.append((0, len(number), number, len(digits) - len(number)))
        else:
            key.append((1, ord(sign), "", 0))
    return key

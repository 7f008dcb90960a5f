"""Server-side Tables: what `kubectl get` shows of each kind. Filled in by kind below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from carob.api.resources import Resource


class Table:
    def __init__(self, row: Resource) -> None:
        self.columns = b"[]"

    def cells(self, obj: Any, now: float) -> tuple[list[Any], bytes]:
        return [], b""

    def empty(self, tree: dict[str, Any]) -> Any:
        return tree


def table_of(row: Resource) -> Table:
    return Table(row)

"""Server-side Tables: what `kubectl get` shows of each kind.

`columns.json` says which columns a kind has, in upstream's words; a function a kind makes the cells of one object.
Kinds without a function show their name and when they were made.

Pure, except that `table_of` reads the columns when the first Table is asked for.
Source: upstream `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from carob.api import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource

_MODULES = ("pods", "core", "workloads", "network", "storage", "access", "extensions", "scheduling")


class Table:
    """The columns and cells of one kind."""

    def __init__(self, row: Resource, columns: list[dict[str, Any]], make: Callable[[Any, float], list[Any]]) -> None:
        self.columns = orjson.dumps(columns)
        self._row = row
        self._make = make
        self.default = make is _named
        """True for a kind without cells of its own."""
        self._conditions = _conditions_of(row)

    def cells(self, obj: Any, now: float) -> tuple[list[Any], bytes]:
        """The cells of one object and the JSON of the row's conditions, which is usually empty.

        Units: `now` is seconds since 1970; ages are counted from it.
        """
        return self._make(obj, now), self._conditions(obj)

    def empty(self, tree: dict[str, Any]) -> Any:
        """An object that has only this metadata: what a bookmark's row shows."""
        return tree if self._row.custom else codec.from_tree(self._row.struct, tree)


def _conditions_of(row: Resource) -> Callable[[Any], bytes]:
    if (row.group, row.plural) == ("", "pods"):
        from carob.apiserver.tables.pods import conditions

        return conditions
    return lambda obj: b""


@cache
def table_of(row: Resource) -> Table:
    """The Table of a built-in kind."""
    name = row.group_resource
    columns = _columns().get(_ALIASES.get(name, name))
    make = _cells().get(f"{name}/{row.version}") or _cells().get(name)
    if columns is None or make is None:
        return Table(row, columns or _columns()["limitranges"], _named)
    return Table(row, columns, make)


# The same columns under another door.
_ALIASES = {"events.events.k8s.io": "events"}


def _named(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, obj.metadata.creation_timestamp]


@cache
def _columns() -> dict[str, list[dict[str, Any]]]:
    data = msgspec.json.decode(Path(__file__).with_name("columns.json").read_bytes())
    texts = data["descriptions"]
    keys = ("name", "type", "format", "priority")
    return {
        name: [dict(zip(keys, column[:4], strict=True)) | {"description": texts[column[4]]} for column in columns]
        for name, columns in data["tables"].items()
    }


@cache
def _cells() -> dict[str, Callable[[Any, float], list[Any]]]:
    import importlib

    found: dict[str, Callable[[Any, float], list[Any]]] = {}
    for module in _MODULES:
        found |= importlib.import_module(f"carob.apiserver.tables.{module}").CELLS
    return found

"""Rows of Tables against those that a v1.36 server showed of the same objects."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.resources import BUILT_IN, TABLE, Resource
from carob.apiserver.tables import table_of
from carob.base.clock import parse_rfc3339

# conditions that a controller of upstream has written between the write and the Table
WRITTEN_LATER = {"table-flowschema", "table-apiservice"}
RECORDED = [
    row
    for row in json.loads((Path(__file__).parent / "data" / "table_rows.json").read_text())
    if row["case"] not in WRITTEN_LATER
]
AGES = {"Age", "Last Seen", "First Seen", "Last Schedule"}


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["case"])
def test_a_row_shows_what_upstream_shows(row: dict[str, Any]) -> None:
    tree = row["object"]
    resource = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert resource is not None
    table = table_of(resource)
    now = parse_rfc3339(tree["metadata"]["creationTimestamp"])
    cells, conditions = table.cells(codec.from_tree(resource.struct, tree), now)
    names = [column["name"] for column in json.loads(table.columns)]
    assert _ageless(names, cells) == _ageless(names, row["cells"])
    assert json.loads(conditions or "[]") == row.get("conditions", [])


def _ageless(names: list[str], cells: list[Any]) -> list[Any]:
    """Cells without what depends on the second of the recording."""
    shown = [None if i < len(names) and names[i] in AGES else cell for i, cell in enumerate(cells)]
    return [re.sub(r"^0s$|^1s$", "0s", cell) if isinstance(cell, str) else cell for cell in shown]


@pytest.mark.parametrize("row", [r for r in BUILT_IN if r.stored], ids=lambda row: f"{row.plural}.{row.group}")
def test_every_kind_has_cells_for_its_columns_even_when_it_is_empty(row: Resource) -> None:
    """A bookmark's row shows an object that has nothing but a resourceVersion."""
    table = table_of(row)
    columns = json.loads(table.columns)
    cells, _ = table.cells(table.empty({"metadata": {"resourceVersion": "1"}}), 0.0)
    assert len(cells) >= len(columns) > 1
    json.dumps(cells)


def test_ages_grow_coarser() -> None:
    resource = TABLE.by_kind("v1", "ConfigMap")
    assert resource is not None
    tree = {"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    made, table = parse_rfc3339("2026-01-01T00:00:00Z"), table_of(resource)
    obj = codec.from_tree(resource.struct, tree)
    ages = [table.cells(obj, made + seconds)[0][2] for seconds in (0, 61, 3661, 90_000, 40_000_000)]
    assert ages == ["0s", "61s", "61m", "25h", "462d"]

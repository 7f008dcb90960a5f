"""Columns of tables, and describe's elastic ones."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from carob.cli.describers.writer import Writer
from carob.cli.printers.columns import Columns
from carob.cli.printers.table import TableOptions, TablePrinter, cell_text


def test_cells_are_at_least_six_wide_and_three_apart() -> None:
    assert Columns().lines([["NAME", "AGE"], ["a", "4s"], ["longer-name", "5m"]]) == [
        "NAME          AGE",
        "a             4s",
        "longer-name   5m",
    ]
    assert Columns().lines([["A", "B"]]) == ["A     B"]


def test_widths_are_kept_from_batch_to_batch() -> None:
    columns = Columns()
    columns.lines([["a-long-name-indeed", "x"]])
    assert columns.lines([["b", "y"]]) == ["b                    y"]


@given(st.lists(st.lists(st.text("ab ", max_size=12), min_size=3, max_size=3), min_size=1))
def test_every_column_begins_at_one_place(rows: list[list[str]]) -> None:
    lines = Columns().lines(rows)
    first = max(6, *(len(row[0]) + 3 for row in rows))
    second = first + max(6, *(len(row[1]) + 3 for row in rows))
    for line, row in zip(lines, rows, strict=True):
        assert line == row[0].ljust(first) + row[1].ljust(second - first) + row[2]


def _printed(options: TableOptions, *tables: dict[str, Any]) -> str:
    out = io.StringIO()
    printer = TablePrinter(out, options)
    for table in tables:
        printer.print(table)
    return out.getvalue()


TABLE: dict[str, object] = {
    "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
    "rows": [
        {
            "cells": ["web", 1, "10.0.0.1"],
            "object": {"metadata": {"namespace": "x", "labels": {"app": "web", "a": "b"}}},
        },
        {"cells": ["db", 2, "10.0.0.2"], "object": {"metadata": {"namespace": "x"}}},
    ],
}


def test_tables_show_what_the_options_ask_for() -> None:
    assert _printed(TableOptions(), TABLE) == "NAME   READY\nweb    1\ndb     2\n"
    assert _printed(TableOptions(wide=True, no_headers=True), TABLE) == "web   1     10.0.0.1\ndb    2     10.0.0.2\n"
    labelled = TableOptions(label_columns=["app", "example.com/tier"], show_labels=True, with_kind="pod/")
    assert _printed(labelled, TABLE) == (
        "NAME      READY   APP   TIER   LABELS\npod/web   1       web          a=b,app=web\npod/db    2                    <none>\n"
    )
    assert _printed(TableOptions(with_namespace=True), TABLE).splitlines()[1] == "x           web    1"


def test_a_watch_prints_its_header_once() -> None:
    later = {"rows": [{"cells": ["late", 3, ""]}]}
    assert _printed(TableOptions(), TABLE, later) == "NAME   READY\nweb    1\ndb     2\nlate   3\n"


def test_cells_are_cut_at_their_first_line() -> None:
    assert cell_text("one\ntwo") == "one..."
    assert [cell_text(v) for v in (None, True, 3, "x")] == ["", "true", "3", "x"]


def test_columns_of_describe_are_runs_of_lines() -> None:
    writer = Writer()
    writer.line(0, "Name:\tweb")
    writer.line(0, "Annotations:\t<none>")
    writer.line(0, "Containers:")
    writer.line(1, "c:")
    writer.line(2, "Image:\tx")
    writer.line(2, "Image ID:\ty")
    assert writer.text() == (
        "Name:         web\nAnnotations:  <none>\nContainers:\n  c:\n    Image:     x\n    Image ID:  y\n"
    )


def test_a_flush_begins_new_columns() -> None:
    writer = Writer()
    writer.line(0, "A long title:\tx")
    writer.flush()
    writer.line(0, "B:\ty")
    assert writer.text() == "A long title:  x\nB:  y\n"

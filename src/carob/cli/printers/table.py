"""Server-side Tables as kubectl prints them.

Source: k8s.io/cli-runtime pkg/printers/tableprinter.go.
"""

from __future__ import annotations

import re

from carob.cli.printers.columns import Columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TextIO

_BREAK = re.compile(r"[\f\n\r]")


class TableOptions:
    """What the flags say about columns.

    Shape: `with_kind` stands in front of every name (`pod/`); `with_events` puts the type of a watch's event in front
    of everything.
    """

    def __init__(
        self,
        *,
        wide: bool = False,
        no_headers: bool = False,
        with_namespace: bool = False,
        with_kind: str = "",
        show_labels: bool = False,
        label_columns: Sequence[str] = (),
        with_events: bool = False,
    ) -> None:
        self.wide = wide
        self.no_headers = no_headers
        self.with_namespace = with_namespace
        self.with_kind = with_kind
        self.show_labels = show_labels
        self.label_columns = label_columns
        self.with_events = with_events


class TablePrinter:
    """Prints the Tables of one kind, the first with its header."""

    def __init__(self, out: TextIO, options: TableOptions) -> None:
        self._out = out
        self._options = options
        self._columns = Columns()
        self._definitions: list[dict[str, Any]] = []
        self._header_done = options.no_headers

    def print(self, table: dict[str, Any], event: str = "") -> None:
        """Print the rows; a watch's later Tables may lack the column definitions."""
        self._definitions = table.get("columnDefinitions") or self._definitions
        shown = [i for i, c in enumerate(self._definitions) if self._options.wide or c.get("priority", 0) == 0]
        lines: list[list[str]] = []
        if not self._header_done:
            lines.append(self._header(shown))
            self._header_done = True
        lines += [self._row(row, shown, event) for row in table.get("rows") or []]
        for line in self._columns.lines(lines):
            self._out.write(line + "\n")
        self._out.flush()

    def _header(self, shown: Sequence[int]) -> list[str]:
        header = ["EVENT"] if self._options.with_events else []
        if self._options.with_namespace:
            header.append("NAMESPACE")
        header += [self._definitions[i]["name"].upper() for i in shown]
        header += [label.rpartition("/")[2].upper() for label in self._options.label_columns]
        if self._options.show_labels:
            header.append("LABELS")
        return header

    def _row(self, row: dict[str, Any], shown: Sequence[int], event: str) -> list[str]:
        metadata = (row.get("object") or {}).get("metadata") or {}
        labels = metadata.get("labels") or {}
        cells = [event] if self._options.with_events else []
        if self._options.with_namespace:
            cells.append(metadata.get("namespace", ""))
        values = row.get("cells") or []
        for position, i in enumerate(shown):
            text = cell_text(values[i]) if i < len(values) else ""
            cells.append(self._options.with_kind + text if position == 0 else text)
        cells += [labels.get(label, "") for label in self._options.label_columns]
        if self._options.show_labels:
            cells.append(format_labels(labels))
        return cells


def cell_text(value: Any) -> str:
    """One cell: only its first line, numbers as Go prints them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    cut = _BREAK.split(text, maxsplit=1)
    return cut[0] + "..." if len(cut) > 1 else text


def format_labels(labels: dict[str, str]) -> str:
    """`a=1,b=2`, sorted; `<none>` when there are none."""
    return ",".join(f"{k}={labels[k]}" for k in sorted(labels)) or "<none>"

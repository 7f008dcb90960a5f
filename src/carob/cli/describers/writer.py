"""Text in elastic columns: lines of tab-separated cells, aligned as Go's text/tabwriter does with describe's settings.

A cell is what a tab ends; a column is a run of neighbouring lines that all have a cell there, and it is as wide as its
widest cell and two blanks. Text behind a line's last tab belongs to no column.
"""

from __future__ import annotations

PADDING = 2
INDENT = "  "


class Writer:
    """Collects lines; `text` aligns them."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._pending = ""

    def write(self, level: int, text: str) -> None:
        """Append `text` behind `level` indents; it may hold tabs, and must hold its own newlines."""
        self._pending += INDENT * level + text

    def line(self, level: int, text: str) -> None:
        """`write` with a newline."""
        self.write(level, text + "\n")

    def flush(self) -> None:
        """Align what was written so far; what follows starts columns of its own."""
        self._done.append(_align(self._pending))
        self._pending = ""

    def raw(self) -> str:
        """Everything since the last `flush` as it was written, tabs and all."""
        return self._pending

    def text(self) -> str:
        """Everything, aligned."""
        self.flush()
        return "".join(self._done)


def _align(text: str) -> str:
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[0] * (len(cells) - 1) for cells in lines]
    _widen(lines, widths, 0, len(lines), 0)
    out = []
    for cells, line_widths in zip(lines, widths, strict=True):
        padded = [cell.ljust(width) for cell, width in zip(cells, line_widths, strict=False)]
        out.append("".join(padded) + cells[-1])
    return "\n".join(out)


def _widen(lines: list[list[str]], widths: list[list[int]], start: int, end: int, column: int) -> None:
    """Fill in the widths of `column` for each run of lines in [start, end) that have a cell there."""
    row = start
    while row < end:
        if len(lines[row]) - 1 <= column:
            row += 1
            continue
        stop = row
        while stop < end and len(lines[stop]) - 1 > column:
            stop += 1
        width = max(len(lines[i][column]) for i in range(row, stop)) + PADDING
        for i in range(row, stop):
            widths[i][column] = width
        _widen(lines, widths, row, stop, column + 1)
        row = stop

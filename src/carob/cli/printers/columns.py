"""Aligned columns as Go's text/tabwriter makes them with kubectl's settings: cells at least 6 wide, 3 blanks between."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MINIMUM_WIDTH = 6
PADDING = 3


class Columns:
    """Aligns lines; remembers widths from one batch to the next, so that a watch stays aligned."""

    def __init__(self, minimum_width: int = MINIMUM_WIDTH, padding: int = PADDING) -> None:
        self._minimum = minimum_width
        self._padding = padding
        self._widths: list[int] = []

    def lines(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """One line a row; the last cell of a row is not padded."""
        for row in rows:
            for index, cell in enumerate(row[:-1]):
                width = max(self._minimum, len(cell) + self._padding)
                if index == len(self._widths):
                    self._widths.append(width)
                elif width > self._widths[index]:
                    self._widths[index] = width
        return ["".join(cell.ljust(self._widths[i]) for i, cell in enumerate(row[:-1])) + row[-1] for row in rows]

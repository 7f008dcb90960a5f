"""Prometheus' text form: families of samples become lines. Pure.

Source: the exposition formats' text format 0.0.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Family:
    """One metric with its samples."""

    def __init__(self, name: str, kind: str, help_text: str) -> None:
        self.name = name
        self._head = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        self._lines: list[str] = []

    def add(self, labels: Mapping[str, str], value: float, time: float | None = None, suffix: str = "") -> None:
        """One sample. Units: `time` in seconds since 1970, written as milliseconds."""
        shown = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        stamp = "" if time is None else f" {int(time * 1000)}"
        braces = f"{{{shown}}}" if shown else ""
        self._lines.append(f"{self.name}{suffix}{braces} {number(value)}{stamp}")

    def lines(self) -> list[str]:
        """Head and samples; nothing at all without samples."""
        return [*self._head, *self._lines] if self._lines else []


def number(value: float) -> str:
    """Whole numbers without a point."""
    return str(int(value)) if value == int(value) else repr(float(value))


def text(families: Iterable[Family]) -> str:
    """The whole page."""
    return "".join(f"{line}\n" for family in families for line in family.lines())

"""The figures as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.sax.saxutils import escape

from bench.figures import BASELINES, FIGURES, Figure


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(values: dict[str, float]) -> str:
    """A line a figure, with its bar, upstream's value and the ratio to its baseline; then the baselines."""
    rows = [("figure", "carob", "bar", "upstream 1.36", "× baseline", "")]
    for figure in FIGURES:
        if figure.key in values:
            value = values[figure.key]
            ratio = figure.ratio(values)
            shown = f"{number(value)} {figure.unit}"
            times = "" if ratio is None else number(ratio)
            rows.append((figure.title, shown, _bar(figure), figure.upstream, times, _mark(figure, value)))
    rows += [
        (f"baseline: {title}", f"{number(values[key])} {unit}", "", "", "", "")
        for key, (title, unit) in BASELINES.items()
        if key in values
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)) + "  " + row[5] for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _bar(figure: Figure) -> str:
    if figure.bar in (0, float("inf")):
        return ""
    return f"{'≥' if figure.at_least else '≤'} {number(figure.bar)} {figure.unit}"


def _mark(figure: Figure, value: float) -> str:
    return "" if not _bar(figure) else "✓" if figure.met(value) else "✗ missed"


def write_json(values: dict[str, float], file: Path) -> None:
    """The bare values, the baselines among them, and the ratios."""
    ratios = {f.key: f.ratio(values) for f in FIGURES if f.key in values and f.ratio(values) is not None}
    file.write_text(json.dumps({**values, "ratios": ratios}, indent=1) + "\n")


def write_picture(values: dict[str, float], file: Path) -> None:
    """Each figure against its bar on a logarithmic scale: right of the line is better than asked."""
    shown = [f for f in FIGURES if f.key in values and _bar(f)]
    width, row, left, top = 1120, 30, 360, 64
    height = top + row * len(shown) + 40
    middle, scale = left + 190, 150.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>',
        '<text x="20" y="30" font-size="18" font-weight="600">carob against its bars</text>',
        f'<text x="{middle}" y="50" text-anchor="middle" fill="#52606d">the bar</text>',
        f'<line x1="{middle}" y1="56" x2="{middle}" y2="{height - 24}" stroke="#9aa5b1"/>',
    ]
    for index, figure in enumerate(shown):
        value = values[figure.key]
        y = top + index * row
        ratio = (value / figure.bar) if figure.at_least else (figure.bar / max(value, 1e-9))
        length = max(-180.0, min(330.0, scale * math.log10(max(ratio, 1e-3))))
        x, w = (middle, length) if length >= 0 else (middle + length, -length)
        fill = "#3f9142" if figure.met(value) else "#ba2525"
        parts.append(f'<text x="{left - 10}" y="{y + 16}" text-anchor="end">{escape(figure.title)}</text>')
        parts.append(f'<rect x="{x:.0f}" y="{y + 4}" width="{max(w, 1):.0f}" height="16" rx="2" fill="{fill}"/>')
        base = figure.ratio(values)
        beside = "" if base is None else f"; {number(base)} × baseline"
        text = f"{number(value)} {figure.unit} ({'> 1,000' if ratio > 1000 else f'{ratio:.1f}'} ×{beside})"
        at = max(x + w, middle) + 8
        parts.append(f'<text x="{at:.0f}" y="{y + 17}" fill="#1f2933">{escape(text)}</text>')
    parts.append("</svg>")
    file.write_text("\n".join(parts) + "\n")

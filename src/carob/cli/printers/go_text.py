"""How Go prints trees: `%v` in custom columns, `%#v` in the messages of a template that failed."""

from __future__ import annotations

import json
from typing import Any


def plain(value: Any) -> str:
    """`%v`: `map[a:1 b:[x y]]`."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{plain(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(plain(item) for item in value) + "]"
    return _number(value) if isinstance(value, float) else str(int(value) if isinstance(value, int) else value)


def _number(value: float) -> str:
    """As short as it can be told, with an exponent from 21 digits on: `1.5`, `1000`, `1e+21`."""
    digits, _, exponent = f"{value:.16e}".partition("e")
    for places in range(17):
        shorter = f"{value:.{places}e}"
        if float(shorter) == value:
            digits, _, exponent = shorter.partition("e")
            break
    if -4 <= int(exponent) < 21:
        return f"{value:.{max(0, len(digits.lstrip('-').replace('.', '')) - 1 - int(exponent))}f}"
    return f"{digits}e{exponent}"


def syntax(value: Any) -> str:
    """`%#v`: as it would stand in a program."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, dict):
        inner = ", ".join(f"{_quoted(key)}:{syntax(value[key])}" for key in sorted(value))
        return "map[string]interface {}{" + inner + "}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(syntax(item) for item in value) + "}"
    return _quoted(value) if isinstance(value, str) else plain(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

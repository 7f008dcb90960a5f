"""`-o kyaml`: YAML in the flow style, every text quoted, so that no reader can take it for something else.

Source: sigs.k8s.io/yaml/kyaml.
"""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_AMBIGUOUS = frozenset(
    word
    for base in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    for word in (base, base.capitalize(), base.upper())
)


def to_kyaml(tree: Any, *, sort: bool = True) -> str:
    """One document."""
    return "---\n" + _value(json.loads(json.dumps(tree, sort_keys=True)) if sort else tree, 0) + "\n"


def _value(value: Any, level: int) -> str:
    if isinstance(value, dict):
        if not value:
            return "{}"
        body = "".join(f"{'  ' * (level + 1)}{_key(k)}: {_value(inner, level + 1)},\n" for k, inner in value.items())
        return "{\n" + body + "  " * level + "}"
    if isinstance(value, list):
        return _list(value, level)
    if isinstance(value, str):
        return _text(value, level)
    return json.dumps(value)


def _list(values: list[Any], level: int) -> str:
    if not values:
        return "[]"
    if all(isinstance(v, dict) and v for v in values):
        # brackets of neighbouring structs cuddle
        return "[" + ", ".join(_value(v, level) for v in values) + "]"
    inner = "".join(f"{'  ' * (level + 1)}{_value(v, level + 1)},\n" for v in values)
    return "[\n" + inner + "  " * level + "]"


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key not in _AMBIGUOUS else json.dumps(key, ensure_ascii=False)


def _text(text: str, level: int) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    if "\n" not in text:
        return quoted
    # several lines: each its own, folded by a backslash at its end
    pad = "  " * (level + 1)
    lines = [pad + ("\\" if line.startswith(" ") else " ") + line for line in quoted[1:-1].split("\\n")]
    body = "".join(f"{line}\\n\\\n" for line in lines[:-1])
    return '"\\\n' + body + (f"{lines[-1]}\\\n" if lines[-1].strip() else "") + pad + '"'

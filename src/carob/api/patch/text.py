"""Values as Go prints them (`%v`), which some of upstream's messages do."""

from __future__ import annotations

from typing import Any


def go_value(value: Any) -> str:
    """`map[image:x name:a]`, `[1 2]`, `<nil>`."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_value(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_value(v) for v in value) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

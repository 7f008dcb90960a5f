"""Recorded answers of a real v1.36 API server, re-arranged for tests of this room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data"


def load(name: str) -> Any:
    """The content of `data/<name>.json`."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def without(tree: Any, path: list[str]) -> None:
    """Remove the field at a path, in every item of the lists on the way, and the parents that it leaves empty."""
    if isinstance(tree, list):
        for item in tree:
            without(item, path)
    elif isinstance(tree, dict) and len(path) == 1:
        tree.pop(path[0], None)
    elif isinstance(tree, dict) and path[0] in tree:
        without(tree[path[0]], path[1:])
        if tree[path[0]] == {} and path[0] != "metadata":
            tree.pop(path[0])

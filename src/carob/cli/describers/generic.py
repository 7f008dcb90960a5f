"""`describe` of kinds that have no words of their own: every field, as kubectl shows custom resources."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.cli.describers import parts
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

_SKIPPED: set[tuple[str, ...]] = {
    ("kind",),
    ("apiVersion",),
    *(("metadata", field) for field in ("managedFields", "name", "namespace", "labels", "annotations")),
}


def describe_generic(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text."""
    writer = Writer()
    metadata = tree["metadata"]
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace', '')}")
    parts.labels(writer, "Labels", metadata.get("labels"))
    parts.annotation_lines(writer, "Annotations", metadata.get("annotations"))
    writer.line(0, f"API Version:\t{tree.get('apiVersion')}")
    writer.line(0, f"Kind:\t{tree.get('kind')}")
    _fields(writer, 0, tree, ())
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _fields(writer: Writer, level: int, tree: Tree, path: tuple[str, ...]) -> None:
    for key in sorted(tree, key=_title):
        if (*path, key) in _SKIPPED:
            continue
        _value(writer, level, _title(key), tree[key], (*path, key))


def _value(writer: Writer, level: int, title: str, value: Any, path: tuple[str, ...]) -> None:
    if isinstance(value, dict):
        writer.line(level, f"{title}:")
        _fields(writer, level + 1, value, path)
    elif isinstance(value, list):
        writer.line(level, f"{title}:")
        for item in value:
            if isinstance(item, dict):
                _fields(writer, level + 1, item, path)
            else:
                writer.line(level + 1, _scalar(item))
    else:
        writer.line(level, f"{title}:\t{_scalar(value)}")


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _title(key: str) -> str:
    """`restartPolicy` -> `Restart Policy`, `podIP` -> `Pod IP`."""
    if "." in key or "/" in key:
        return key
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+", key)
    return " ".join(w if w.isupper() else w.capitalize() for w in words) or key

"""`describe` of kinds that have no words of their own: every field, as kubectl shows custom resources."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.cli.describers import parts
from carob.cli.describers.writer import Writer
from carob.cli.printers import go_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

_SKIPPED: set[tuple[str, ...]] = {
    ("metadata", field) for field in ("managedFields", "name", "namespace", "labels", "annotations")
}
_ACRONYMS = ("API", "URL", "UID", "OSB", "GUID")
_WORDS = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|-")


def describe_generic(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text."""
    writer = Writer()
    metadata = tree["metadata"]
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace', '')}")
    parts.marks(writer, metadata)
    _fields(writer, 0, tree, ())
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _fields(writer: Writer, level: int, tree: Tree, path: tuple[str, ...]) -> None:
    for key in sorted(tree):
        if (*path, key) not in _SKIPPED:
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
                writer.line(level + 1, go_text.plain(item))
    else:
        writer.line(level, f"{title}:\t{go_text.plain(value)}")


def _title(key: str) -> str:
    """`restartPolicy` -> `Restart Policy`, `podIP` -> `Pod IP`, `uid` -> `UID`."""
    if not all(c.isalpha() or c == "-" for c in key):
        return key
    words = _WORDS.findall(key)
    return " ".join(w.upper() if w.upper() in _ACRONYMS else w[:1].upper() + w[1:] for w in words)

"""Small files of the node, read as text. Blocking, for files of a few kilobytes only."""

from __future__ import annotations


def read_text(path: str) -> str:
    """The file's text; empty if there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except OSError:
        return ""

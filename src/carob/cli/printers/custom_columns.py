"""`-o custom-columns=NAME:.metadata.name,…`, also from a file.

Source: kubectl pkg/cmd/get/customcolumn.go.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from carob.cli.errors import CommandError
from carob.cli.printers import go_text
from carob.cli.printers.columns import Columns
from carob.cli.printers.jsonpath import JsonPath, relaxed

if TYPE_CHECKING:
    from collections.abc import Sequence


class CustomColumns:
    """Columns of JSONPaths. Raises: CommandError for a malformed spec."""

    def __init__(self, spec: str) -> None:
        if not spec:
            raise CommandError("error: custom-columns format specified but no custom columns given")
        self._headers: list[str] = []
        self._paths: list[JsonPath | None] = []
        for part in spec.split(","):
            header, colon, path = part.partition(":")
            if not colon:
                raise CommandError(f"error: unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
            self._headers.append(header)
            self._paths.append(JsonPath(relaxed(path)) if path else None)

    @classmethod
    def from_file(cls, name: str) -> CustomColumns:
        """The file's first line has the headers, its second the paths, split at blanks."""
        if not name:
            raise CommandError("error: custom-columns format specified but no custom columns given")
        try:
            lines = Path(name).read_text().splitlines()
        except OSError as error:
            why = str(error.strerror).lower()
            raise CommandError(f"error: error reading template {name}, open {name}: {why}") from error
        for found, what in zip((len(lines) > 0, len(lines) > 1), ("header line", "spec line"), strict=True):
            if not found:
                raise CommandError(
                    f"error: invalid template, missing {what}. Expected format is one line of space separated headers, "
                    "one line of space separated column specs."
                )
        headers, paths = lines[0].split(), lines[1].split()
        if len(headers) != len(paths):
            raise CommandError(
                f"error: number of headers ({len(headers)}) and field specifications ({len(paths)}) don't match"
            )
        return cls(",".join(f"{h}:{p}" for h, p in zip(headers, paths, strict=True)))

    def lines(self, objects: Sequence[Any], *, no_headers: bool = False) -> list[str]:
        """A header and a line an object; `<none>` where a path finds nothing."""
        rows = [] if no_headers else [self._headers]
        for tree in objects:
            rows.append([_cell(path, tree) for path in self._paths])
        return Columns().lines(rows)


def _cell(path: JsonPath | None, tree: Any) -> str:
    return ",".join(go_text.plain(v) for v in path.values(tree)) if path is not None and path.values(tree) else "<none>"

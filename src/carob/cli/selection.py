"""What the words of a command line select: kinds and names.

`pods`, `pod/a svc/b`, `deploy,rs`, `pod a b`: as kubectl's resource builder reads them. Imported by every `get`, so
what costs time to load stays outside.
"""

from __future__ import annotations

from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from carob.api.resources import Resource
    from carob.cli.connection import Connection


class Selected:
    """One kind, and one object of it or (None) all."""

    __slots__ = ("name", "resource")

    def __init__(self, resource: Resource, name: str | None = None) -> None:
        self.resource = resource
        self.name = name


class Selection:
    """Resolves words to rows of the table; asks the server's discovery only about words that the table lacks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def resources(self, words: str) -> list[Resource]:
        """The rows of `pods`, `deploy,rs`, `all`. Raises: CommandError in kubectl's words."""
        found: list[Resource] = []
        for word in words.split(","):
            rows = TABLE.by_any_name(word)
            is_category = rows and word in rows[0].categories and word not in (rows[0].plural, *rows[0].short_names)
            if not rows:
                rows = self._discover(word)[:1]
            found += rows if is_category else rows[:1]
        return found

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The row of a manifest; None if the server does not know it either. Raises: ApiError."""
        known = TABLE.by_kind(api_version, kind)
        return known or next((r for r in self._served() if r.api_version == api_version and r.kind == kind), None)

    def parse(self, words: Sequence[str]) -> list[Selected]:
        """What `TYPE[,TYPE] [NAME …]` or `TYPE/NAME …` select. Raises: CommandError in kubectl's words."""
        if not words:
            return []
        if any("/" in word for word in words):
            return [self._slashed(word) for word in words]
        rows = self.resources(words[0])
        if len(words) == 1:
            return [Selected(row) for row in rows]
        return [Selected(row, name) for row in rows for name in words[1:]]

    def _slashed(self, word: str) -> Selected:
        kind, slash, name = word.partition("/")
        if not slash:
            raise CommandError(
                "error: there is no need to specify a resource type as a separate argument when passing arguments in "
                "resource/name form (e.g. 'carob get resource/<resource_name>' instead of 'carob get resource "
                "resource/<resource_name>'"
            )
        if "/" in name:
            raise CommandError("error: arguments in resource/name form may not have more than one slash")
        if not name or not kind:
            raise CommandError("error: arguments in resource/name form must have a single resource and name")
        return Selected(self.resources(kind)[0], name)

    def _discover(self, word: str) -> list[Resource]:
        name, _, group = word.lower().partition(".")
        found = [
            r
            for r in self._served()
            if name in (r.plural, r.singular_name, r.kind.lower(), *r.short_names) and (not group or r.group == group)
        ]
        if not found:
            where = f' in group "{group}"' if group else ""
            shown = word.partition(".")[0] if group else word
            raise CommandError(f'error: the server doesn\'t have a resource type "{shown}"{where}')
        return found

    def _served(self) -> Iterator[Resource]:
        """Rows made from the server's discovery."""
        from carob.api.resources import Resource
        from carob.cli.discovery import served

        for r in served(self._connection, every_version=True):
            yield Resource(
                r.group,
                r.version,
                r.kind,
                r.name,
                singular=r.singular,
                short_names=r.short_names,
                namespaced=r.namespaced,
                custom=True,
            )


def get_object(
    connection: Connection,
    path: str,
    namespace: str,
    query: dict[str, str | list[str]] | None = None,
    accept: str = "application/json",
) -> Any:
    """One object. Raises: ApiError; where the whole namespace is missing, that is what it says, as kubectl does."""
    try:
        return connection.json("GET", path, query, accept=accept)
    except ApiError as error:
        if error.reason == "NotFound" and namespace not in ("", "default"):
            try:
                connection.json("GET", f"/api/v1/namespaces/{namespace}")
            except ApiError as second:
                if second.reason == "NotFound":
                    raise second from error
        raise


def say_what_was_listed(error: ApiError, resource: Resource, query: Mapping[str, str | list[str]]) -> None:
    """Put kubectl's words about the listing in front of the server's.

    Source: cli-runtime pkg/resource/selector.go.
    """
    if error.reason not in ("BadRequest", "NotFound"):
        return
    shown = f'"{resource.group}/{resource.version}, Resource={resource.plural}"'
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if labels or fields:
        shown = f'Unable to find {shown} that match label selector "{labels}", field selector "{fields}"'
    else:
        shown = f"Unable to list {shown}"
    error.message = f"{shown}: {error.message}"

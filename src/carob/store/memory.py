"""The store in memory, with history: for tests and simulations. It forgets everything when it is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.store.core import Change, Core, Row
from carob.store.embedded import EmbeddedStore
from carob.store.types import Event, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class MemoryLog:
    """A `Log` in a dict, which keeps rows in order of their revisions."""

    sync_seconds = 0.0
    needs_work = False
    overdue = False

    def __init__(self) -> None:
        self._rows: dict[Revision, Row] = {}
        self._compacted = Revision(0)
        self._swept = Revision(0)

    def load(self) -> Core:
        """An empty store."""
        return Core()

    def append(self, rows: Sequence[Row]) -> list[bytes | None]:
        """Keep the rows. Raises: nothing; memory does not fill up in ways that we could tell of."""
        for row in rows:
            self._rows[row.revision] = row
        return [self._value(row.previous_revision) for row in rows]

    def _value(self, revision: Revision) -> bytes | None:
        row = self._rows.get(revision)
        return row.value if row else None

    def values(self, revisions: Sequence[Revision]) -> dict[Revision, bytes]:
        """The values of these writes, as far as they are still there."""
        found = ((revision, self._value(revision)) for revision in revisions)
        return {revision: value for revision, value in found if value is not None}

    def _between(self, prefix: str, after: Revision, until: Revision) -> Iterator[Row]:
        for number in range(after + 1, until + 1):
            row = self._rows.get(Revision(number))
            if row is not None and row.key.startswith(prefix):
                yield row

    def changes(self, prefix: str, after: Revision, until: Revision) -> Iterable[Change]:
        """Writes of a prefix without values, oldest first."""
        for row in self._between(prefix, after, until):
            yield Change(row.key, row.previous_revision, row.create_revision)

    def events(self, prefix: str, after: Revision, until: Revision) -> list[Event]:
        """Writes of a prefix as events, oldest first."""
        return [
            Event(row.revision, row.key, row.value, self._value(row.previous_revision), row.create_revision)
            for row in self._between(prefix, after, until)
        ]

    def begin_compaction(self, revision: Revision) -> None:
        """Remember up to where `sweep` goes."""
        self._compacted = revision

    def sweep(self, row_limit: int) -> bool:
        """Remove superseded rows and deletions, as the log on disk does."""
        until = Revision(min(self._swept + row_limit, self._compacted))
        for row in list(self._between("", Revision(max(self._swept - 1, 0)), until)):
            self._rows.pop(row.previous_revision, None)
            if row.value is None and row.revision < until:
                del self._rows[row.revision]
        self._swept = until
        return until < self._compacted

    def work_aside(self) -> None:
        """Nothing to do."""

    def work_exclusive(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Drop everything."""
        self._rows.clear()


class MemoryStore(EmbeddedStore):
    """A `Store` without a disk."""

    def __init__(self) -> None:
        super().__init__(MemoryLog())

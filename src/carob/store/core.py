"""The embedded store's mind: which keys exist at which revision, who may write, what a write becomes.

Pure and synchronous. It holds no values: those lie in the log, and the API server keeps the bytes it serves.

Invariants:

- `revision` is that of the last committed write. Revisions are given out in `assign`, by counting on from it, and only
  become its value in `commit`; a failed transaction therefore leaves no hole and no trace.
- At most one write of a key is under way. A second one waits until the first has been decided by the disk: only then
  is known whether it may win, and what the loser is to be told.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from carob.store.keys import SortedKeys, prefix_end
from carob.store.types import Compacted, FutureRevision, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# An empty store is at revision 1, as etcd's is: 0 means "now" or "any" wherever a revision is asked for.
FIRST_REVISION = Revision(1)
NEVER = Revision(0)

Entry: TypeAlias = tuple[Revision, Revision]
"""Revision of the last write, revision of the creation. A plain tuple, which the garbage collector need not visit."""


class Row(NamedTuple):
    """One write as the log keeps it. `previous_revision` 0: the key did not exist; `value` None: it no longer does."""

    revision: Revision
    key: str
    create_revision: Revision
    previous_revision: Revision
    value: bytes | None


class Change(NamedTuple):
    """What a later write tells of the past: the key's last write before it (0: none) and its creation."""

    key: str
    previous_revision: Revision
    create_revision: Revision


class Verdict(Enum):
    """May this write be made now?"""

    STAGED = auto()
    WAIT = auto()
    EXISTS = auto()
    MISSING = auto()
    MISMATCH = auto()


class Core:
    """Keys, revisions, and the writes that are on their way to the disk."""

    def __init__(
        self,
        entries: Iterable[tuple[str, Revision, Revision]] = (),
        revision: Revision = FIRST_REVISION,
        compacted: Revision = NEVER,
    ) -> None:
        self._entries: dict[str, Entry] = {key: (last, first) for key, last, first in entries}
        self._keys = SortedKeys(self._entries)
        self._staged: set[str] = set()
        self.revision = revision
        self.compacted = compacted

    def __len__(self) -> int:
        return len(self._entries)

    # -- writing ----------------------------------------------------------------------------------------------------

    def stage(self, key: str, expected: Revision | None) -> Verdict:
        """Decide on a write of `key`, last written at `expected` (None: must not exist); STAGED reserves the key."""
        if key in self._staged:
            return Verdict.WAIT
        entry = self._entries.get(key)
        if expected is None:
            if entry is not None:
                return Verdict.EXISTS
        elif entry is None:
            return Verdict.MISSING
        elif entry[0] != expected:
            return Verdict.MISMATCH
        self._staged.add(key)
        return Verdict.STAGED

    def assign(self, writes: Sequence[tuple[str, bytes | None]]) -> list[Row]:
        """The rows of one transaction made of staged writes. It must be ended by `commit` or `fail` before the next."""
        rows = []
        number = self.revision
        for key, value in writes:
            number = Revision(number + 1)
            entry = self._entries.get(key)
            last, first = entry if entry is not None else (NEVER, number)
            rows.append(Row(number, key, first, last, value))
        return rows

    def commit(self, rows: Sequence[Row]) -> None:
        """The rows are on disk: from now on they are the truth."""
        for revision, key, create_revision, previous_revision, value in rows:
            self._staged.discard(key)
            if value is None:
                del self._entries[key]
                self._keys.remove(key)
            else:
                self._entries[key] = (revision, create_revision)
                if not previous_revision:
                    self._keys.add(key)
        self.revision = rows[-1].revision

    def fail(self, keys: Iterable[str]) -> None:
        """The writes of these keys did not happen."""
        self._staged.difference_update(keys)

    # -- reading ----------------------------------------------------------------------------------------------------

    def entry(self, key: str) -> Entry | None:
        """When the key was last written and created; None if it does not exist."""
        return self._entries.get(key)

    def at(self, revision: Revision) -> Revision:
        """The revision that a reader of `revision` (0: now) sees. Raises: Compacted, FutureRevision."""
        if revision > self.revision:
            raise FutureRevision(self.revision)
        if not revision:
            return self.revision
        if revision < self.compacted:
            raise Compacted(self.compacted)
        return revision

    def check_after(self, revision: Revision) -> None:
        """May a watch begin after `revision`? Raises: Compacted, FutureRevision.

        The write at the compacted revision itself is kept, so a watch may begin just before it.
        """
        if revision > self.revision:
            raise FutureRevision(self.revision)
        if revision + 1 < self.compacted:
            raise Compacted(self.compacted)

    def range(
        self, prefix: str, start_after: str, limit: int, past: Mapping[str, Change] | None = None
    ) -> tuple[list[tuple[str, Entry]], int]:
        """The first `limit` keys (0: all) of a prefix behind `start_after`, and how many there are in all.

        `past` turns the clock back: per key that was written since, its first such change.
        """
        start = max(prefix, start_after + "\0") if start_after else prefix
        end = prefix_end(prefix)
        if end is not None and start >= end:
            return [], 0
        if not past:
            keys, total = self._keys.between(start, end, limit)
            return [(key, self._entries[key]) for key in keys], total
        keys, _ = self._keys.between(start, end)
        found = [(key, self._entries[key]) for key in keys if key not in past]
        for change in past.values():
            if change.previous_revision and change.key >= start and (end is None or change.key < end):
                found.append((change.key, (change.previous_revision, change.create_revision)))
        found.sort()
        return (found[:limit] if limit else found), len(found)

"""Reading an embedded store: now, at a past revision, and what happened since.

Every long read goes in steps and lets the event loop breathe between them. That is safe because a row of the log never
changes: it can only be compacted, which the next step notices.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.store.core import Change, Core, Entry
from carob.store.types import Compacted, KeyValue, Page, Revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.store.log import Log
    from carob.store.types import Deliver

STEP_ROWS = 1000


class History:
    """The reading verbs over a core (which keys, when) and a log (what)."""

    def __init__(self, core: Core, log: Log) -> None:
        self._core = core
        self._log = log

    def read(self, key: str, entry: Entry | None) -> KeyValue | None:
        """The key as `entry` says that it was written; None for None, and where the row has been compacted."""
        if entry is None:
            return None
        value = self._log.values([entry[0]]).get(entry[0])
        return None if value is None else KeyValue(key, value, entry[1], entry[0])

    async def get(self, key: str, revision: Revision) -> KeyValue | None:
        """The key as of a revision (0: now). Raises: Compacted, FutureRevision, StoreError."""
        seen = self._core.at(revision)
        change = (await self._changes_since(key, seen)).get(key)
        entry = self._core.entry(key)
        if change is not None:
            entry = (change.previous_revision, change.create_revision) if change.previous_revision else None
        found = self.read(key, entry)
        if found is None and entry is not None:
            raise Compacted(self._core.compacted)
        return found

    async def page(self, prefix: str, start_after: str, limit: int, revision: Revision) -> Page:
        """A page as of a revision (0: now). Raises: Compacted, FutureRevision, StoreError."""
        while True:
            seen = self._core.at(revision)
            past = await self._changes_since(prefix, seen)
            found, total = self._core.range(prefix, start_after, limit, past)
            items = await self._read_all(found)
            if len(items) == len(found):
                remaining = total - len(items)
                return Page(items, seen, remaining > 0, remaining)
            # a compaction overtook us: the past is gone, the present is read again
            self._core.at(revision)

    async def _changes_since(self, prefix: str, seen: Revision) -> dict[str, Change]:
        """The first change of each key after `seen`, until now; nothing is awaited after the last look at the log."""
        first: dict[str, Change] = {}
        until = seen
        while until < self._core.revision:
            step = Revision(min(until + STEP_ROWS, self._core.revision))
            for change in self._log.changes(prefix, until, step):
                first.setdefault(change.key, change)
            until = step
            if until < self._core.revision:
                await asyncio.sleep(0)
                self._core.at(seen)
        return first

    async def _read_all(self, found: Sequence[tuple[str, Entry]]) -> list[KeyValue]:
        items: list[KeyValue] = []
        for at in range(0, len(found), STEP_ROWS):
            if at:
                await asyncio.sleep(0)
            step = found[at : at + STEP_ROWS]
            values = self._log.values([entry[0] for _, entry in step])
            if len(values) < len(step):
                break
            items += [KeyValue(key, values[last], first, last) for key, (last, first) in step]
        return items

    async def replay(self, prefix: str, after: Revision, deliver: Deliver) -> None:
        """Deliver what happened to a prefix after a revision, until now; nothing is awaited after the last delivery.

        Raises: Compacted (also in the middle, when a compaction overtakes), FutureRevision, StoreError.
        """
        until = after
        self._core.check_after(until)
        while until < self._core.revision:
            step = Revision(min(until + STEP_ROWS, self._core.revision))
            events = self._log.events(prefix, until, step)
            if events:
                deliver(events)
            until = step
            if until < self._core.revision:
                await asyncio.sleep(0)
                self._core.check_after(until)

"""Watchers in groups: whoever wants the same events in the same form gets the same bytes, framed once.

A group is one (namespace, selectors, form) of one resource. Changes of a loop turn are collected and written at its
end as one chunk. Where many watch, a round of writes is followed by a rest about as long as the round costs, in which
further changes gather: the more there is to tell, the fewer and larger the chunks.
Limits: a watcher that is `MAX_BUFFERED_BYTES` behind is cut off and lists again, as upstream does.

Invariant: a watcher that joins at revision R gets every change behind R exactly once, because joining first writes what
is pending. May touch: sinks and the event loop's `call_soon`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.base.log import get_logger
from carob.transport.http import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from carob.apiserver.presenters import Presenter
    from carob.apiserver.watch_cache import Change, Entry
    from carob.transport.http import Sink

MAX_BUFFERED_BYTES = 4 << 20
# Measured: encrypting and sending a chunk to one watcher. Few watchers are told at once, without a rest.
WRITE_SECONDS = 50e-6
REST_FROM_WRITES = 32
LONGEST_REST_SECONDS = 0.02

_log = get_logger("watch")

ADDED, MODIFIED, DELETED = b"ADDED", b"MODIFIED", b"DELETED"


class Watcher:
    """One client's watch."""

    __slots__ = ("fresh", "group", "sink", "start_revision")

    def __init__(self, sink: Sink, start_revision: int) -> None:
        self.sink = sink
        self.start_revision = start_revision
        self.fresh = True
        """Nothing was sent yet: a Table's columns are due."""
        self.group: Group | None = None


class Group:
    """Watchers of one selection in one form."""

    def __init__(
        self,
        key: Hashable,
        namespace: str,
        matches: Callable[[Entry], bool] | None,
        presenter: Presenter,
        after: int = 0,
    ) -> None:
        self.key = key
        self.namespace = namespace
        self.presenter = presenter
        self.watchers: set[Watcher] = set()
        self._matches = matches
        self._after = after
        self._lines: list[bytes] = []
        self._first: bytes | None = None

    def kind_of(self, change: Change) -> tuple[bytes, Entry] | None:
        """The event that this group sees of a change, and the object that it carries."""
        matches, old, new = self._matches, change.old, change.new
        if change.revision <= self._after:
            return None
        if matches is None:
            if change.deleted:
                return DELETED, new
            return (ADDED if old is None else MODIFIED), new
        was = old is not None and matches(old)
        if change.deleted:
            return (DELETED, new) if was else None
        if matches(new):
            return (MODIFIED if was else ADDED), new
        if was and old is not None:
            return DELETED, old.at(change.revision)
        return None

    def line(self, change: Change, headers: bool = False) -> bytes | None:
        """The line of a change, or None where this group sees nothing of it."""
        found = self.kind_of(change)
        return None if found is None else self.presenter.event(*found, headers)

    def take(self, change: Change) -> bool:
        """Keep the line of a change until `flush`; True if there was one."""
        line = self.line(change)
        if line is None:
            return False
        if not self._lines and self.presenter.headers_first and any(w.fresh for w in self.watchers):
            self._first = self.line(change, headers=True)
        self._lines.append(line)
        return True

    def flush(self) -> int:
        """Write what was taken; the answer is how many were told."""
        if not self._lines:
            return 0
        told = len(self.watchers)
        lines, self._lines = self._lines, []
        first, self._first = self._first, None
        chunk = Chunk(lines[0] if len(lines) == 1 else b"".join(lines))
        with_columns = Chunk(first + b"".join(lines[1:])) if first is not None else chunk
        for watcher in tuple(self.watchers):
            sink = watcher.sink
            sink.write(with_columns if watcher.fresh else chunk)
            watcher.fresh = False
            if sink.buffered > MAX_BUFFERED_BYTES:
                _log.warning("a watcher is %d bytes behind: it is closed and lists again", sink.buffered)
                sink.abort()
        return told


class FanOut:
    """The groups of one resource."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Group] = {}
        self._everywhere: list[Group] = []
        self._by_namespace: dict[str, list[Group]] = {}
        # groups that demand one value of one field: looked up by the values of a change, not asked one by one
        self._by_value: dict[int, dict[str, list[Group]]] = {}
        self._pending: set[Group] = set()
        self._scheduled = False
        self._rest: asyncio.TimerHandle | None = None
        self.count = 0

    def join(self, watcher: Watcher, group: Group, exact: tuple[int, str] | None = None) -> None:
        """Add a watcher to the group of the same key, or to `group` if there is none yet."""
        self.flush()
        known = self._groups.get(group.key)
        if known is None:
            known = self._groups[group.key] = group
            self._shelf(group, exact).append(group)
        known.watchers.add(watcher)
        watcher.group = known
        self.count += 1
        watcher.sink.on_close(lambda: self._leave(watcher, known, exact))

    def _shelf(self, group: Group, exact: tuple[int, str] | None) -> list[Group]:
        if exact is not None:
            return self._by_value.setdefault(exact[0], {}).setdefault(exact[1], [])
        return self._by_namespace.setdefault(group.namespace, []) if group.namespace else self._everywhere

    def _leave(self, watcher: Watcher, group: Group, exact: tuple[int, str] | None) -> None:
        group.watchers.discard(watcher)
        watcher.group = None
        self.count -= 1
        if group.watchers or self._groups.get(group.key) is not group:
            return
        del self._groups[group.key]
        self._pending.discard(group)
        self._shelf(group, exact).remove(group)
        if exact is not None:
            values = self._by_value[exact[0]]
            if not values[exact[1]]:
                del values[exact[1]]
                if not values:
                    del self._by_value[exact[0]]
        elif group.namespace and not self._by_namespace[group.namespace]:
            del self._by_namespace[group.namespace]

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell the groups; they write at the end of this turn of the loop."""
        if not self._groups:
            return
        for change in changes:
            for group in self._everywhere:
                self._offer(group, change)
            if self._by_namespace:
                for group in self._by_namespace.get(change.new.namespace, ()):
                    self._offer(group, change)
            if self._by_value:
                self._publish_by_value(change)
        if self._pending and not self._scheduled and self._rest is None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _publish_by_value(self, change: Change) -> None:
        for position, values in self._by_value.items():
            seen = value_at(change.new, position)
            before = value_at(change.old, position) if change.old is not None else seen
            for value in (seen,) if seen == before else (seen, before):
                for group in values.get(value, ()):
                    if not group.namespace or group.namespace == change.new.namespace:
                        self._offer(group, change)

    def _offer(self, group: Group, change: Change) -> None:
        if group.take(change):
            self._pending.add(group)

    def _turn(self) -> None:
        self._scheduled = False
        if self._rest is None:
            self._write()

    def _rested(self) -> None:
        self._rest = None
        self._write()

    def _write(self) -> None:
        told = self.flush()
        if told >= REST_FROM_WRITES:
            seconds = min(told * WRITE_SECONDS, LONGEST_REST_SECONDS)
            self._rest = asyncio.get_running_loop().call_later(seconds, self._rested)

    def flush(self) -> int:
        """Write everything that is pending now; the answer is how many writes that took."""
        told = 0
        if self._pending:
            pending, self._pending = self._pending, set()
            for group in pending:
                told += group.flush()
        return told

    def close(self) -> None:
        """End every watch properly."""
        self.flush()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        for group in tuple(self._groups.values()):
            for watcher in tuple(group.watchers):
                watcher.sink.close()


def value_at(entry: Entry, position: int) -> str:
    """The value of a selectable field; -1 is the name, -2 the namespace."""
    if position >= 0:
        return entry.fields[position]
    return entry.name if position == -1 else entry.namespace

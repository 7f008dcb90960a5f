"""The store against the simplest model there is: a list of all states, kept for ever."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from carob.store.memory import MemoryStore
from carob.store.sqlite import SqliteStore
from carob.store.types import Compacted, Event, KeyExists, KeyMissing, KeyValue, Revision, RevisionMismatch, Store

KEYS = st.sampled_from(["/a", "/a/1", "/a/2", "/a/1/x", "/b/1", "/b/2", "/c"])
PREFIXES = st.sampled_from(["", "/", "/a", "/a/", "/b/", "/c", "/d"])
VALUES = st.binary(max_size=12)


class StoreMachine(RuleBasedStateMachine):
    """`states[r]` is the whole store as of revision r; `events` is everything that ever happened."""

    def open(self) -> Store:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.runner.run(self._open())
        self.first = self.store.revision
        self.states: dict[int, dict[str, KeyValue]] = {self.first: {}}
        self.events: list[Event] = []
        self.heard: list[tuple[str, int, list[Event]]] = []

    async def _open(self) -> Store:
        return self.open()

    @property
    def present(self) -> dict[str, KeyValue]:
        return self.states[self.store.revision]

    def record(self, revision: Revision, key: str, value: bytes | None) -> None:
        state = dict(self.states[revision - 1])
        old = state.pop(key, None)
        created = old.create_revision if old else revision
        if value is not None:
            state[key] = KeyValue(key, value, created, revision)
        self.states[revision] = state
        self.events.append(Event(revision, key, value, old.value if old else None, created))

    @rule(key=KEYS, value=VALUES)
    def create(self, key: str, value: bytes) -> None:
        async def run() -> Revision:
            return await self.store.create(key, value)

        if key in self.present:
            with pytest.raises(KeyExists):
                self.runner.run(run())
        else:
            self.record(self.runner.run(run()), key, value)

    @rule(key=KEYS, value=st.none() | VALUES, off=st.sampled_from([0, 0, 0, -1, 1]))
    def change(self, key: str, value: bytes | None, off: int) -> None:
        there = self.present.get(key)
        expected = Revision((there.mod_revision if there else self.store.revision) + off)

        async def run() -> Revision:
            if value is None:
                return await self.store.delete(key, expected)
            return await self.store.update(key, value, expected)

        if there is None:
            with pytest.raises(KeyMissing):
                self.runner.run(run())
        elif off:
            with pytest.raises(RevisionMismatch) as stale:
                self.runner.run(run())
            assert stale.value.current == there
        else:
            self.record(self.runner.run(run()), key, value)

    @rule(writes=st.lists(st.tuples(KEYS, VALUES), min_size=2, max_size=6, unique_by=lambda write: write[0]))
    def create_together(self, writes: list[tuple[str, bytes]]) -> None:
        async def run() -> list[Revision | BaseException]:
            return await asyncio.gather(*(self.store.create(*write) for write in writes), return_exceptions=True)

        before = self.present
        for (key, value), outcome in zip(writes, self.runner.run(run()), strict=True):
            if key in before:
                assert isinstance(outcome, KeyExists)
            else:
                assert isinstance(outcome, int)
                self.record(outcome, key, value)

    @precondition(lambda self: self.states)
    @rule(prefix=PREFIXES, data=st.data(), limit=st.integers(0, 4), start_after=st.just("") | KEYS)
    def list_at(self, prefix: str, data: st.DataObject, limit: int, start_after: str) -> None:
        revision = data.draw(st.sampled_from(sorted(self.states)))
        listing = self.store.list(prefix, start_after=start_after, limit=limit, revision=Revision(revision))
        if revision < self.store.compacted_revision:
            with pytest.raises(Compacted):
                self.runner.run(listing)
            return
        page = self.runner.run(listing)
        state = self.states[revision]
        expected = [state[key] for key in sorted(state) if key.startswith(prefix) and key > start_after]
        assert list(page.items) == (expected[:limit] if limit else expected)
        assert page.remaining == len(expected) - len(page.items)
        assert page.more == (page.remaining > 0)

    @rule(prefix=PREFIXES, data=st.data())
    def watch_from(self, prefix: str, data: st.DataObject) -> None:
        after = data.draw(st.sampled_from(sorted(self.states)))
        heard: list[Event] = []
        watching = self.store.watch(prefix, Revision(after), heard.extend)
        if after + 1 < self.store.compacted_revision:
            with pytest.raises(Compacted):
                self.runner.run(watching)
            return
        self.runner.run(watching)
        self.heard.append((prefix, after, heard))

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.runner.run(self.store.compact(Revision(data.draw(st.sampled_from(sorted(self.states))))))

    @invariant()
    def watchers_heard_everything_once(self) -> None:
        for prefix, after, heard in self.heard:
            expected = [event for event in self.events if event.revision > after and event.key.startswith(prefix)]
            assert [event._replace(previous=None) for event in heard] == [
                event._replace(previous=None) for event in expected
            ]
            # what was compacted before the watch began is missing, anything else must be right
            for mine, real in zip(heard, expected, strict=True):
                assert mine.previous in (real.previous, None)

    @invariant()
    def the_present_is_right(self) -> None:
        for key in ("/a", "/a/1", "/b/2"):
            assert self.runner.run(self.store.get(key)) == self.present.get(key)

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()


class MemoryMachine(StoreMachine):
    def open(self) -> Store:
        return MemoryStore()


class SqliteMachine(StoreMachine):
    inline = True

    def open(self) -> Store:
        self.folder = tempfile.TemporaryDirectory()
        store = SqliteStore(Path(self.folder.name) / "state.db")
        store._pace.inline = self.inline
        return store

    @rule()
    def reopen(self) -> None:
        """What was acknowledged is there again, with the same revisions; watches end with the process."""
        self.runner.run(self.store.close())
        self.store = SqliteStore(Path(self.folder.name) / "state.db")
        self.heard.clear()

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class ThreadedSqliteMachine(SqliteMachine):
    inline = False


TestMemory = pytest.mark.slow(MemoryMachine.TestCase)
TestSqlite = pytest.mark.slow(SqliteMachine.TestCase)
TestThreadedSqlite = pytest.mark.slow(ThreadedSqliteMachine.TestCase)
MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
SqliteMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
ThreadedSqliteMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=40, deadline=None)

"""What every store promises (`carob.store.types`), judged on each implementation.

An implementation is an async context manager that gives an empty store; a new one is a line in `STORES`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.store.etcd.store import EtcdStore
from carob.store.memory import MemoryStore
from carob.store.sqlite import SqliteStore
from carob.store.types import (
    Compacted,
    Event,
    FutureRevision,
    KeyExists,
    KeyMissing,
    Revision,
    RevisionMismatch,
    Store,
)
from tests.etcd import Etcd


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Store]:
    store = MemoryStore()
    yield store
    await store.close()


@asynccontextmanager
async def sqlite_inline(folder: Path) -> AsyncIterator[Store]:
    store = SqliteStore(folder / "state.db")
    store._pace.inline = True
    yield store
    await store.close()


@asynccontextmanager
async def sqlite_threaded(folder: Path) -> AsyncIterator[Store]:
    store = SqliteStore(folder / "state.db")
    store._pace.inline = False
    yield store
    await store.close()


@contextmanager
def etcd_of(folder: Path, members: int, tls: bool) -> Iterator[Etcd]:
    pki = ensure_pki(folder / "pki", PkiOptions(addresses=("127.0.0.1",)), time.time()).directory if tls else None
    etcd = Etcd(folder, members, pki)
    try:
        asyncio.run(etcd.start())
        yield etcd
    finally:
        etcd.stop()


@pytest.fixture(scope="module")
def etcd_of_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with etcd_of(tmp_path_factory.mktemp("etcd"), 1, tls=False) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def etcd_of_three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """Speaks only to those who show a certificate."""
    with etcd_of(tmp_path_factory.mktemp("etcd"), 3, tls=True) as etcd:
        yield etcd


STORES = [memory, sqlite_inline, sqlite_threaded]
ETCDS = [pytest.param(name, marks=pytest.mark.slow) for name in ("etcd_of_one", "etcd_of_three")]

Body = Callable[[Store], Awaitable[None]]
Judge = Callable[[Body], None]


@pytest.fixture(params=[*STORES, *ETCDS], ids=lambda store: getattr(store, "__name__", store))
def judge(request: pytest.FixtureRequest, tmp_path: Path) -> Judge:
    open_store: Callable[[Path], AbstractAsyncContextManager[Store]] = request.param
    if isinstance(request.param, str):
        etcd: Etcd = request.getfixturevalue(request.param)

        @asynccontextmanager
        async def open_store(_: Path) -> AsyncIterator[Store]:
            await etcd.wipe()
            store = await EtcdStore.open(etcd.options)
            try:
                yield store
            finally:
                await store.close()

    def run(body: Body) -> None:
        async def main() -> None:
            async with open_store(tmp_path) as store:
                await body(store)

        asyncio.run(main())

    return run


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a store over a network delivers when it likes
            await asyncio.sleep(0.001)


def numbers(events: Sequence[Event]) -> list[int]:
    return [event.revision for event in events]


# -- writes -------------------------------------------------------------------------------------------------------------


def test_an_empty_store_has_a_revision_and_nothing_in_it(judge: Judge) -> None:
    async def body(store: Store) -> None:
        assert store.revision >= 1
        assert store.compacted_revision == 0
        assert await store.get("/a") is None
        assert list((await store.list("/")).items) == []

    judge(body)


def test_every_write_raises_the_revision_by_one(judge: Judge) -> None:
    async def body(store: Store) -> None:
        start = store.revision
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", created)
        other = await store.create("/b", b"3")
        deleted = await store.delete("/a", updated)
        assert [created, updated, other, deleted] == [start + 1, start + 2, start + 3, start + 4]
        assert store.revision == deleted

    judge(body)


def test_get_tells_both_revisions_of_a_key(judge: Judge) -> None:
    async def body(store: Store) -> None:
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", created)
        assert await store.get("/a") == ("/a", b"2", created, updated)
        await store.delete("/a", updated)
        assert await store.get("/a") is None
        again = await store.create("/a", b"3")
        assert await store.get("/a") == ("/a", b"3", again, again)

    judge(body)


def test_refused_writes_change_nothing(judge: Judge) -> None:
    async def body(store: Store) -> None:
        created = await store.create("/a", b"1")
        with pytest.raises(KeyExists):
            await store.create("/a", b"2")
        with pytest.raises(KeyMissing):
            await store.update("/b", b"2", created)
        with pytest.raises(KeyMissing):
            await store.delete("/b", created)
        with pytest.raises(RevisionMismatch) as stale:
            await store.update("/a", b"2", Revision(created - 1))
        assert stale.value.current == ("/a", b"1", created, created)
        with pytest.raises(RevisionMismatch):
            await store.delete("/a", Revision(created + 5))
        assert store.revision == created
        assert await store.get("/a") == ("/a", b"1", created, created)

    judge(body)


def test_of_two_writers_at_once_one_wins_and_the_other_sees_it(judge: Judge) -> None:
    async def body(store: Store) -> None:
        first, second = await asyncio.gather(store.create("/a", b"1"), store.create("/a", b"2"), return_exceptions=True)
        assert first == store.revision
        assert isinstance(second, KeyExists)
        outcomes = await asyncio.gather(
            *(store.update("/a", b"%d" % writer, store.revision) for writer in range(5)), return_exceptions=True
        )
        assert [isinstance(outcome, int) for outcome in outcomes].count(True) == 1
        losers = [outcome for outcome in outcomes if isinstance(outcome, RevisionMismatch)]
        assert [loser.current for loser in losers] == [await store.get("/a")] * 4
        gone = await asyncio.gather(*(store.delete("/a", store.revision) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in gone].count(KeyMissing) == 2

    judge(body)


def test_a_key_is_deleted_and_created_again_while_both_are_under_way(judge: Judge) -> None:
    async def body(store: Store) -> None:
        created = await store.create("/a", b"1")
        deleted, again = await asyncio.gather(store.delete("/a", created), store.create("/a", b"2"))
        assert again == deleted + 1
        assert await store.get("/a") == ("/a", b"2", again, again)

    judge(body)


def test_many_writers_get_distinct_revisions_and_all_keys(judge: Judge) -> None:
    async def body(store: Store) -> None:
        start = store.revision
        revisions = await asyncio.gather(*(store.create(f"/k/{n:04}", b"%d" % n) for n in range(1500)))
        assert sorted(revisions) == list(range(start + 1, start + 1501))
        page = await store.list("/k/")
        assert [item.key for item in page.items] == [f"/k/{n:04}" for n in range(1500)]
        assert all(item.value == b"%d" % int(item.key[3:]) for item in page.items)

    judge(body)


def test_a_cancelled_write_hurts_nobody(judge: Judge) -> None:
    async def body(store: Store) -> None:
        async def write() -> None:
            await store.create("/a", b"1")

        task = asyncio.get_running_loop().create_task(write())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.create("/b", b"2")
        found = await store.get("/a")
        assert found is None or found.value == b"1"

    judge(body)


def test_empty_and_binary_values_are_kept(judge: Judge) -> None:
    async def body(store: Store) -> None:
        await store.create("/empty", b"")
        await store.create("/binary", bytes(range(256)) * 100)
        empty, binary = await store.get("/empty"), await store.get("/binary")
        assert empty is not None
        assert binary is not None
        assert (empty.value, binary.value) == (b"", bytes(range(256)) * 100)

    judge(body)


# -- lists --------------------------------------------------------------------------------------------------------------


def test_list_is_in_key_order_within_the_prefix(judge: Judge) -> None:
    async def body(store: Store) -> None:
        for key in ("/b/2", "/a/1", "/b/10", "/b", "/b/é", "/b/1", "/c/1", "/b0"):
            await store.create(key, b"")
        assert [item.key for item in (await store.list("/b/")).items] == ["/b/1", "/b/10", "/b/2", "/b/é"]
        assert [item.key for item in (await store.list("/nothing/")).items] == []
        assert len((await store.list("")).items) == 8

    judge(body)


def test_pages_follow_each_other_and_count_what_remains(judge: Judge) -> None:
    async def body(store: Store) -> None:
        await asyncio.gather(*(store.create(f"/k/{n:02}", b"") for n in range(10)))
        first = await store.list("/k/", limit=4)
        assert (len(first.items), first.more, first.remaining) == (4, True, 6)
        assert first.revision == store.revision
        second = await store.list("/k/", limit=4, start_after=first.items[-1].key)
        assert ([item.key for item in second.items], second.remaining) == ([f"/k/0{n}" for n in range(4, 8)], 2)
        last = await store.list("/k/", limit=4, start_after="/k/07")
        assert (len(last.items), last.more, last.remaining) == (2, False, 0)
        assert (await store.list("/k/", start_after="/k/09")).items == []
        assert (await store.list("/k/", start_after="/z")).items == []

    judge(body)


def test_pages_of_one_revision_are_consistent_under_writes(judge: Judge) -> None:
    async def body(store: Store) -> None:
        await asyncio.gather(*(store.create(f"/k/{n}", b"old") for n in range(6)))
        first = await store.list("/k/", limit=2)
        for key in ("/k/0", "/k/3"):
            found = await store.get(key)
            assert found is not None
            await store.update(key, b"new", found.mod_revision)
        found = await store.get("/k/4")
        assert found is not None
        deleted = await store.delete("/k/4", found.mod_revision)
        await store.create("/k/35", b"new")
        again = await store.create("/k/4", b"new")
        rest = await store.list("/k/", start_after="/k/1", revision=first.revision)
        assert [(item.key, item.value) for item in rest.items] == [(f"/k/{n}", b"old") for n in range(2, 6)]
        assert rest.revision == first.revision
        between = await store.list("/k/", start_after="/k/3", revision=deleted)
        assert [item.key for item in between.items] == ["/k/5"]
        now = await store.list("/k/", start_after="/k/3")
        assert [(item.key, item.create_revision) for item in now.items][:2] == [("/k/35", again - 1), ("/k/4", again)]

    judge(body)


def test_the_past_of_one_key(judge: Judge) -> None:
    async def body(store: Store) -> None:
        before = store.revision
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", created)
        deleted = await store.delete("/a", updated)
        again = await store.create("/a", b"3")
        assert await store.get("/a", before) is None
        assert await store.get("/a", created) == ("/a", b"1", created, created)
        assert await store.get("/a", updated) == ("/a", b"2", created, updated)
        assert await store.get("/a", deleted) is None
        assert await store.get("/a", again) == ("/a", b"3", again, again)
        with pytest.raises(FutureRevision) as future:
            await store.get("/a", Revision(again + 1))
        assert future.value.current == again
        with pytest.raises(FutureRevision):
            await store.list("/", revision=Revision(again + 1))

    judge(body)


def test_a_long_past_is_read_in_steps(judge: Judge) -> None:
    async def body(store: Store) -> None:
        created = await store.create("/a", b"0")
        last = created
        for n in range(5):
            await asyncio.gather(*(store.create(f"/noise/{n}/{i}", b"") for i in range(500)))
            last = await store.update("/a", b"%d" % (n + 1), last)
        assert await store.get("/a", created) == ("/a", b"0", created, created)
        assert [item.value for item in (await store.list("/a", revision=created)).items] == [b"0"]
        assert (await store.list("/noise/", revision=Revision(created + 300))).remaining == 0

    judge(body)


# -- watches ------------------------------------------------------------------------------------------------------------


def test_a_watcher_hears_of_a_write_before_the_writer_does(judge: Judge) -> None:
    async def body(store: Store) -> None:
        heard: list[Event] = []
        watch = await store.watch("/a/", store.revision, heard.extend)
        created = await store.create("/a/1", b"1")
        assert heard == [(created, "/a/1", b"1", None, created)]
        updated = await store.update("/a/1", b"2", created)
        await store.create("/b/1", b"other")
        deleted = await store.delete("/a/1", updated)
        assert heard[1:] == [
            (updated, "/a/1", b"2", b"1", created),
            (deleted, "/a/1", None, b"2", created),
        ]
        watch.close()
        watch.close()
        await store.create("/a/2", b"")
        assert len(heard) == 3

    judge(body)


def test_a_watch_begins_with_history(judge: Judge) -> None:
    async def body(store: Store) -> None:
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", created)
        deleted = await store.delete("/a", updated)
        again = await store.create("/a", b"3")
        heard: list[Event] = []
        watch = await store.watch("/a", created, heard.extend)
        await until(lambda: len(heard) == 3)
        assert heard == [
            (updated, "/a", b"2", b"1", created),
            (deleted, "/a", None, b"2", created),
            (again, "/a", b"3", None, again),
        ]
        newest = await store.update("/a", b"4", again)
        assert heard[3:] == [(newest, "/a", b"4", b"3", again)]
        watch.close()
        with pytest.raises(FutureRevision):
            await store.watch("/a", Revision(newest + 1), heard.extend)

    judge(body)


def test_watches_that_begin_under_load_miss_nothing(judge: Judge) -> None:
    async def body(store: Store) -> None:
        start = store.revision
        heard: list[list[Event]] = []

        async def write(writer: int) -> None:
            for n in range(120):
                revision = await store.create(f"/k/{writer}/{n}", b"1")
                if n % 3 == 0:
                    await store.delete(f"/k/{writer}/{n}", revision)

        async def watch() -> None:
            mine: list[Event] = []
            heard.append(mine)
            await store.watch("/k/", start, mine.extend)

        writers = asyncio.gather(*(write(writer) for writer in range(16)))
        for _ in range(8):
            await asyncio.sleep(0.002)
            await watch()
        await writers
        await watch()
        expected = list(range(start + 1, store.revision + 1))
        await until(lambda: all(len(mine) == len(expected) for mine in heard))
        assert all(numbers(mine) == expected for mine in heard)

    judge(body)


def test_watches_hear_only_their_prefix(judge: Judge) -> None:
    async def body(store: Store) -> None:
        heard: dict[str, list[str]] = {}

        def listener(prefix: str) -> Callable[[Sequence[Event]], None]:
            return lambda events: heard.setdefault(prefix, []).extend(event.key for event in events)

        for prefix in ("", "/a", "/a/", "/a/b", "/c/"):
            await store.watch(prefix, store.revision, listener(prefix))
        await asyncio.gather(*(store.create(key, b"") for key in ("/a/b", "/a/c", "/ab", "/d")))
        assert {prefix: sorted(keys) for prefix, keys in heard.items()} == {
            "": ["/a/b", "/a/c", "/ab", "/d"],
            "/a": ["/a/b", "/a/c", "/ab"],
            "/a/": ["/a/b", "/a/c"],
            "/a/b": ["/a/b"],
        }

    judge(body)


def test_a_watcher_may_write_and_close_watches(judge: Judge) -> None:
    async def body(store: Store) -> None:
        answered: list[Awaitable[Revision]] = []
        late: list[Event] = []

        def answer(events: Sequence[Event]) -> None:
            other.close()
            answered.extend(store.create("/answer" + event.key, b"") for event in events)

        await store.watch("/question", store.revision, answer)
        other = await store.watch("/question", store.revision, late.extend)
        await store.create("/question", b"")
        await asyncio.gather(*answered)
        assert await store.get("/answer/question") is not None
        assert late == []

    judge(body)


# -- compaction ---------------------------------------------------------------------------------------------------------


def test_compaction_forgets_the_past_and_keeps_the_present(judge: Judge) -> None:
    async def body(store: Store) -> None:
        first = await store.create("/a", b"1")
        second = await store.update("/a", b"2", first)
        kept = await store.create("/kept", b"k")
        gone = await store.create("/gone", b"g")
        gone = await store.delete("/gone", gone)
        third = await store.update("/a", b"3", second)
        fourth = await store.update("/a", b"4", third)
        await store.compact(third)
        assert store.compacted_revision == third
        for revision in (first, second, kept, gone):
            with pytest.raises(Compacted) as past:
                await store.get("/a", revision)
            assert past.value.compacted == third
            with pytest.raises(Compacted):
                await store.list("/", revision=revision)
        assert await store.get("/a", third) == ("/a", b"3", first, third)
        assert await store.get("/a", fourth) == ("/a", b"4", first, fourth)
        assert await store.get("/kept", third) == ("/kept", b"k", kept, kept)
        assert [item.key for item in (await store.list("/", revision=third)).items] == ["/a", "/kept"]
        assert store.revision == fourth

    judge(body)


def test_watching_from_before_the_compacted_revision_is_refused(judge: Judge) -> None:
    async def body(store: Store) -> None:
        revision = await store.create("/a", b"0")
        for n in range(1, 5):
            revision = await store.update("/a", b"%d" % n, revision)
        await store.compact(revision)
        heard: list[Event] = []
        with pytest.raises(Compacted):
            await store.watch("/a", Revision(revision - 2), heard.extend)
        await store.watch("/a", Revision(revision - 1), heard.extend)
        await until(lambda: len(heard) == 1)
        assert (heard[0].revision, heard[0].value) == (revision, b"4")
        await store.watch("/a", revision, heard.extend)

    judge(body)


def test_compacting_again_earlier_or_in_the_future(judge: Judge) -> None:
    async def body(store: Store) -> None:
        first = await store.create("/a", b"1")
        second = await store.update("/a", b"2", first)
        await store.compact(second)
        await store.compact(first)
        assert store.compacted_revision == second
        with pytest.raises(FutureRevision):
            await store.compact(Revision(second + 1))
        third = await store.delete("/a", second)
        await store.compact(third)
        assert await store.get("/a") is None
        again = await store.create("/a", b"3")
        await store.compact(again)
        assert await store.get("/a") == ("/a", b"3", again, again)

    judge(body)


def test_compaction_leaves_running_watches_and_writers_alone(judge: Judge) -> None:
    async def body(store: Store) -> None:
        heard: list[Event] = []
        start = store.revision
        await store.watch("/", start, heard.extend)

        async def write(writer: int) -> None:
            revision = await store.create(f"/{writer}", b"0")
            for n in range(1, 150):
                revision = await store.update(f"/{writer}", b"%d" % n, revision)

        writers = asyncio.gather(*(write(writer) for writer in range(8)))
        for _ in range(3):
            await asyncio.sleep(0.005)
            await store.compact(store.revision)
        await writers
        await store.compact(store.revision)
        assert numbers(heard) == list(range(start + 1, start + 1201))
        assert all(event.previous == b"%d" % (int(event.value or b"0") - 1) for event in heard if event.previous)
        assert [item.value for item in (await store.list("/")).items] == [b"149"] * 8

    judge(body)

"""A store's state as a file: nothing but history is lost, and a store that opens it goes on from there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carob.store import snapshot
from carob.store.sqlite import SqliteStore
from carob.store.types import Compacted, KeyValue, Revision, StoreError


async def fill(store: SqliteStore) -> Revision:
    first = await store.create("/a", b"1")
    await store.update("/a", b"2", first)
    await store.create("/b", bytes(range(256)))
    gone = await store.create("/c", b"")
    return await store.delete("/c", gone)


def test_a_running_store_is_saved_and_restored_with_its_revisions(tmp_path: Path) -> None:
    async def body() -> None:
        store = SqliteStore(tmp_path / "one.db")
        newest = await fill(store)
        before = await store.list("/")
        taken = snapshot.read(tmp_path / "one.db")
        assert taken.revision == newest
        snapshot.write(tmp_path / "file", taken)
        await store.update("/b", b"later", before.items[1].mod_revision)
        await store.close()

        snapshot.restore(tmp_path / "file", tmp_path / "two.db")
        again = SqliteStore(tmp_path / "two.db")
        assert again.revision == newest
        assert await again.list("/") == before
        with pytest.raises(Compacted):
            await again.get("/a", Revision(newest - 1))
        assert await again.create("/d", b"new") == newest + 1
        await again.compact(again.revision)
        assert len((await again.list("/")).items) == 3
        await again.close()

    asyncio.run(body())
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_an_empty_state_and_a_second_save_over_the_first(tmp_path: Path) -> None:
    file = tmp_path / "file"
    snapshot.write(file, snapshot.Snapshot(Revision(7), []))
    assert snapshot.read(file) == snapshot.Snapshot(Revision(7), [])
    items = [KeyValue("/a", b"1", Revision(2), Revision(9))]
    snapshot.write(file, snapshot.Snapshot(Revision(9), items))
    assert snapshot.read(file) == snapshot.Snapshot(Revision(9), items)


def test_a_store_in_use_is_not_overwritten(tmp_path: Path) -> None:
    async def body() -> None:
        store = SqliteStore(tmp_path / "one.db")
        await fill(store)
        snapshot.write(tmp_path / "file", snapshot.read(tmp_path / "one.db"))
        with pytest.raises(StoreError, match="in use"):
            snapshot.restore(tmp_path / "file", tmp_path / "one.db")
        await store.close()

    asyncio.run(body())


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for name in ("text", "missing"):
        with pytest.raises(StoreError, match=name):
            snapshot.restore(tmp_path / name, tmp_path / "one.db")
    assert not (tmp_path / "one.db").exists()

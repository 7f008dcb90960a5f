"""A state moves from SQLite to etcd and back, and every key keeps the revision that clients know it by."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carob.store import snapshot
from carob.store.etcd.restore import restore
from carob.store.etcd.store import EtcdStore
from carob.store.sqlite import SqliteStore
from carob.store.types import Event, StoreError
from tests.etcd import Etcd

pytestmark = [pytest.mark.slow]


async def taken_from_sqlite(folder: Path) -> snapshot.Snapshot:
    """Keys with gaps between their revisions, and a deletion at the end."""
    store = SqliteStore(folder / "one.db")
    revision = store.revision
    for n in range(150):
        revision = await store.create(f"/k/{n:03}", b"%d" % n)
        if n % 3 == 0:
            revision = await store.update(f"/k/{n:03}", b"new", revision)
        if n % 5 == 0:
            await store.delete(f"/k/{n:03}", revision)
    await store.delete("/k/149", revision)
    await store.close()
    return snapshot.read(folder / "one.db")


async def there_and_back(etcd: Etcd, folder: Path) -> None:
    taken = await taken_from_sqlite(folder)
    await restore(etcd.options, taken)
    store = await EtcdStore.open(etcd.options)
    page = await store.list("/k/")
    assert page.revision == store.revision == taken.revision
    known = {item.key: (item.value, item.mod_revision) for item in taken.items}
    assert {item.key: (item.value, item.mod_revision) for item in page.items} == known
    # clients go on from the versions that they know
    heard: list[Event] = []
    await store.watch("/k/", taken.revision, heard.extend)
    last = page.items[-1]
    updated = await store.update(last.key, b"after", last.mod_revision)
    assert [(event.revision, event.value) for event in heard] == [(taken.revision + 1, b"after")]
    with pytest.raises(StoreError, match="not empty"):
        await restore(etcd.options, taken)

    page = await store.list("/k/")
    snapshot.write(folder / "file", snapshot.present_of(page.items, page.revision))
    await store.close()
    snapshot.restore(folder / "file", folder / "two.db")
    back = SqliteStore(folder / "two.db")
    assert back.revision == updated
    assert await back.list("/k/") == page
    await back.close()

    await etcd.wipe()
    with pytest.raises(StoreError, match="needs a new etcd"):
        await restore(etcd.options, taken)


def test_there_and_back(tmp_path: Path) -> None:
    etcd = Etcd(tmp_path / "etcd")

    async def main() -> None:
        await etcd.start()
        await there_and_back(etcd, tmp_path)

    try:
        asyncio.run(main())
    finally:
        etcd.stop()

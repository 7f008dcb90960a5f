"""Members of an etcd die or stand still under load: nothing that was acknowledged is lost, and no watcher misses or doubles a write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from carob.store.etcd.store import EtcdStore
from carob.store.types import Event, KeyExists, Revision, RevisionMismatch, StoreError
from tests.etcd import Etcd, Member

pytestmark = [pytest.mark.slow]

Fail = Callable[[Etcd, Member], Callable[[], None]]
"""Makes a member fail; the answer mends it."""

WRITERS = 8
WRITES_BETWEEN = 150


class Load:
    """Writers that remember what was acknowledged to them."""

    def __init__(self, store: EtcdStore, name: str) -> None:
        self.store = store
        self.name = name
        self.acknowledged: dict[Revision, tuple[str, bytes]] = {}
        self.unknown = 0
        self._progress = asyncio.Event()

    async def write(self, writer: int) -> None:
        count = 0
        while True:
            key = f"/{self.name}/{writer}/{count}"
            count += 1
            try:
                first = await self.store.create(key, b"%d" % count)
                self._note(first, key, b"%d" % count)
                self._note(await self.store.update(key, b"again", first), key, b"again")
            except (StoreError, KeyExists, RevisionMismatch):
                self.unknown += 1

    def _note(self, revision: Revision, key: str, value: bytes) -> None:
        assert revision not in self.acknowledged
        self.acknowledged[revision] = (key, value)
        self._progress.set()

    async def more(self, count: int) -> None:
        """Return when so many further writes have been acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(60):
            while len(self.acknowledged) < wanted:
                self._progress.clear()
                await self._progress.wait()


async def members_fail_under_load(etcd: Etcd, fail: Fail, count: int) -> None:
    first, second = await EtcdStore.open(etcd.options), await EtcdStore.open(etcd.options)
    loads = [Load(first, "first"), Load(second, "second")]
    heard: list[list[Event]] = [[], []]
    start = min(first.revision, second.revision)
    await first.watch("/", start, heard[0].extend)
    await second.watch("/", start, heard[1].extend)
    tasks = [asyncio.create_task(load.write(n)) for load in loads for n in range(WRITERS)]
    for member in etcd.members[:count]:
        await asyncio.gather(*(load.more(WRITES_BETWEEN) for load in loads))
        mend = fail(etcd, member)
        await asyncio.gather(*(load.more(WRITES_BETWEEN) for load in loads))
        mend()
    await asyncio.gather(*(load.more(WRITES_BETWEEN) for load in loads))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.gather(first.fresh(), second.fresh())

    events = {event.revision: event for event in heard[0]}
    assert [event.revision for event in heard[0]] == list(range(start + 1, first.revision + 1))
    shorter = min(len(one) for one in heard)
    assert heard[0][:shorter] == heard[1][:shorter]
    for load in loads:
        for revision, (key, value) in load.acknowledged.items():
            assert (events[revision].key, events[revision].value) == (key, value)
    # a third who comes now finds the same
    third = await EtcdStore.open(etcd.options)
    again: list[Event] = []
    await third.watch("/", start, again.extend)
    assert again == heard[0][: len(again)]
    assert len(again) >= third.revision - start
    for store in (first, second, third):
        await store.close()


def die(etcd: Etcd, member: Member) -> Callable[[], None]:
    member.kill()
    return lambda: member.start(etcd.peers, "existing")


def stand_still(etcd: Etcd, member: Member) -> Callable[[], None]:
    member.pause()
    return member.resume


@pytest.mark.parametrize(("fail", "count"), [(die, 3), (stand_still, 1)], ids=["die", "stand still"])
def test_no_acknowledged_write_is_lost_when_members_fail_in_turn(tmp_path: Path, fail: Fail, count: int) -> None:
    etcd = Etcd(tmp_path, 3)

    async def main() -> None:
        await etcd.start()
        await members_fail_under_load(etcd, fail, count)

    try:
        asyncio.run(main())
    finally:
        etcd.stop()


def test_a_restarted_member_is_used_again_and_a_lone_one_is_waited_for(tmp_path: Path) -> None:
    etcd = Etcd(tmp_path, 1)

    async def main() -> None:
        await etcd.start()
        store = await EtcdStore.open(etcd.options)
        heard: list[Event] = []
        await store.watch("/", store.revision, heard.extend)
        created = await store.create("/a", b"1")
        etcd.members[0].kill()
        writing = asyncio.create_task(store.update("/a", b"2", created))
        await asyncio.sleep(0)
        etcd.members[0].start(etcd.peers, "existing")
        updated = await writing
        assert [(event.revision, event.value) for event in heard] == [(created, b"1"), (updated, b"2")]
        await store.close()

    try:
        asyncio.run(main())
    finally:
        etcd.stop()

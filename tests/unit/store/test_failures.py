"""What becomes of writers when the log fails: a memory log that fails on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from carob.store.core import Row
from carob.store.embedded import EmbeddedStore
from carob.store.memory import MemoryLog
from carob.store.types import Event, KeyExists, Revision, StoreError


class FailingLog(MemoryLog):
    """Refuses every append while `full`; `broken` makes it raise what no log may raise."""

    full = False
    broken = False

    def append(self, rows: Sequence[Row]) -> list[bytes | None]:
        if self.broken:
            raise ZeroDivisionError
        if self.full:
            raise StoreError("the disk is full")
        return super().append(rows)


@pytest.mark.parametrize("inline", [True, False])
def test_exactly_the_writes_of_the_transaction_fail(inline: bool) -> None:
    async def main() -> None:
        log = FailingLog()
        store = EmbeddedStore(log)
        store._pace.inline = inline
        heard: list[Event] = []
        await store.watch("/", store.revision, heard.extend)
        before = await store.create("/a", b"1")
        log.full = True
        outcomes = await asyncio.gather(
            store.create("/b", b"1"), store.update("/a", b"2", before), return_exceptions=True
        )
        assert [str(outcome) for outcome in outcomes] == ["the disk is full"] * 2
        assert store.revision == before
        assert [event.key for event in heard] == ["/a"]
        assert await store.get("/b") is None
        log.full = False
        after = await asyncio.gather(store.create("/b", b"1"), store.update("/a", b"2", before))
        assert list(after) == [before + 1, before + 2]
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("inline", [True, False])
def test_a_writer_that_waited_for_a_failed_one_gets_its_own_chance(inline: bool) -> None:
    async def main() -> None:
        log = FailingLog()
        store = EmbeddedStore(log)
        store._pace.inline = inline
        log.full = True
        first = store.create("/a", b"1")
        second = store.create("/a", b"2")
        third = store.create("/a", b"3")
        with pytest.raises(StoreError):
            await first
        log.full = False
        await second
        with pytest.raises(KeyExists):
            await third
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("inline", [True, False])
def test_a_bug_in_the_log_is_told_to_the_writers_and_nobody_hangs(inline: bool) -> None:
    async def main() -> None:
        log = FailingLog()
        store = EmbeddedStore(log)
        store._pace.inline = inline
        log.broken = True
        with pytest.raises(StoreError, match="ZeroDivisionError"):
            await store.create("/a", b"1")
        log.broken = False
        await store.create("/a", b"1")
        await store.close()

    asyncio.run(main())


def test_a_watcher_that_raises_is_reported_and_the_writer_gets_its_revision() -> None:
    async def main() -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        store = EmbeddedStore(MemoryLog())
        fault = RuntimeError("a bug")

        def broken(_: object) -> None:
            raise fault

        await store.watch("/", store.revision, broken)
        assert await store.create("/a", b"1") == store.revision
        assert reported == [fault]
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("inline", [True, False])
def test_closing_finishes_what_was_asked_for(inline: bool) -> None:
    async def main() -> None:
        store = EmbeddedStore(MemoryLog())
        store._pace.inline = inline
        writes = [store.create(f"/{n}", b"") for n in range(1200)]
        twice = store.create("/0", b"")
        await store.close()
        assert sorted(await asyncio.gather(*writes)) == list(range(2, 1202))
        with pytest.raises(KeyExists):
            await twice
        with pytest.raises(StoreError, match="closed"):
            await store.create("/late", b"")
        with pytest.raises(StoreError, match="closed"):
            await store.get("/0")
        await store.close()

    asyncio.run(main())


def test_a_key_that_is_no_unicode_is_refused_alone() -> None:
    async def main() -> None:
        store = EmbeddedStore(MemoryLog())
        other = store.create("/a", b"")
        with pytest.raises(UnicodeEncodeError):
            store.create("/\ud800", b"")
        assert await other == Revision(2)
        await store.close()

    asyncio.run(main())

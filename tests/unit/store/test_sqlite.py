"""The database file: who may open it, what is said of a bad one, and what a full disk does."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from carob.store.sqlite import OVERDUE_PAGES, PAGE_BYTES, SqliteStore
from carob.store.types import Compacted, Event, Revision, StoreError


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "server" / "state.db")
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", created)
        gone = await store.create("/b", b"1")
        deleted = await store.delete("/b", gone)
        await store.compact(updated)
        await store.close()
        store = SqliteStore(tmp_path / "server" / "state.db")
        assert (store.revision, store.compacted_revision, len(store)) == (deleted, updated, 1)
        assert await store.get("/a") == ("/a", b"2", created, updated)
        with pytest.raises(Compacted):
            await store.get("/a", created)
        heard: list[Event] = []
        await store.watch("/", updated, heard.extend)
        assert [event.revision for event in heard] == [gone, deleted]
        assert await store.create("/b", b"2") == deleted + 1
        await store.close()

    asyncio.run(main())


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "server" / "state.db")
        await store.create("/secret", b"1")
        modes = {file.name: file.stat().st_mode & 0o077 for file in (tmp_path / "server").iterdir()}
        assert len(modes) == 4
        assert not any(modes.values())
        await store.close()

    asyncio.run(main())


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    async def main() -> None:
        first = SqliteStore(tmp_path / "state.db")
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()} "):
            SqliteStore(tmp_path / "state.db")
        await first.create("/a", b"1")
        await first.close()
        second = SqliteStore(tmp_path / "state.db")
        assert len(second) == 1
        await second.close()

    asyncio.run(main())


def test_somebody_with_another_tool_in_the_database_fails_the_write_alone(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "state.db")
        store._log._writer.execute("PRAGMA busy_timeout=10")  # type: ignore[attr-defined]
        intruder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process holds the database"):
            await store.create("/a", b"1")
        intruder.execute("ROLLBACK")
        intruder.close()
        await store.create("/a", b"1")
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is no database, whatever it is\n" * 200, "damaged .*restore a snapshot"),
        (b"SQLite format 3\0" + b"\xff" * 8192, "damaged|not a store"),
    ],
)
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(StoreError, match=message):
        SqliteStore(tmp_path / "state.db")
    assert (tmp_path / "state.db").read_bytes() == content


def test_a_database_of_somebody_else_or_of_the_future(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "state.db")
    database.execute("CREATE TABLE people(name)")
    database.commit()
    with pytest.raises(StoreError, match=r"not a store of carob's"):
        SqliteStore(tmp_path / "state.db")
    database.execute("PRAGMA application_id=0x6361726F")
    database.execute("PRAGMA user_version=99")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="schema 99; this carob knows schema 1"):
        SqliteStore(tmp_path / "state.db")


def test_a_damaged_page_is_an_error_and_not_an_answer(tmp_path: Path) -> None:
    async def fill() -> None:
        store = SqliteStore(tmp_path / "state.db")
        await asyncio.gather(*(store.create(f"/k/{n:04}", b"x" * 900) for n in range(600)))
        await store.close()

    async def read() -> None:
        store = SqliteStore(tmp_path / "state.db")
        try:
            with pytest.raises(StoreError, match="damaged"):
                await store.list("/k/")
        finally:
            await store.close()

    asyncio.run(fill())
    with open(tmp_path / "state.db", "r+b") as file:
        for page in range(8, 60):
            file.seek(page * PAGE_BYTES)
            file.write(b"\xff" * PAGE_BYTES)
    try:
        asyncio.run(read())
    except StoreError as error:
        assert "damaged" in str(error)  # noqa: PT017 - either door may be the one that notices


@pytest.mark.parametrize("inline", [True, False])
def test_a_full_disk_fails_the_writes_and_space_makes_it_go_on(tmp_path: Path, inline: bool) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "state.db")
        store._pace.inline = inline
        kept = await store.create("/kept", b"1")
        writer = store._log._writer  # type: ignore[attr-defined]
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count={pages + 4}")
        outcomes = await asyncio.gather(
            *(store.create(f"/big/{n}", b"x" * 5000) for n in range(20)), return_exceptions=True
        )
        assert {str(outcome) for outcome in outcomes} == {f"cannot write {tmp_path}/state.db: the disk is full"}
        assert store.revision == kept
        assert (await store.list("/")).items == [await store.get("/kept")]
        assert await store.create("/small", b"1") == kept + 1
        writer.execute("PRAGMA max_page_count=1000000")
        assert await store.create("/big/0", b"x" * 5000) == kept + 2
        await store.close()
        store = SqliteStore(tmp_path / "state.db")
        assert (store.revision, len(store)) == (kept + 2, 3)
        await store.close()

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("inline", [True, False])
def test_the_write_ahead_log_stays_bounded(tmp_path: Path, inline: bool) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "state.db")
        store._pace.inline = inline
        largest = 0

        async def write(writer: int) -> None:
            nonlocal largest
            revision = await store.create(f"/{writer}", b"")
            for _ in range(100):
                revision = await store.update(f"/{writer}", b"x" * 20_000, revision)
                largest = max(largest, (tmp_path / "state.db-wal").stat().st_size)

        await asyncio.gather(*(write(writer) for writer in range(32)))
        written = 32 * 100 * 20_000
        assert largest < 1.1 * OVERDUE_PAGES * PAGE_BYTES < written
        await store.close()
        assert not (tmp_path / "state.db-wal").exists()

    asyncio.run(main())


@pytest.mark.slow
def test_a_compaction_that_was_cut_short_goes_on_with_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "state.db")
        revision = await store.create("/a", b"0")
        for n in range(1300):
            revision = await store.update("/a", b"%d" % n, revision)
        task = asyncio.get_running_loop().create_task(store.compact(revision))
        # on a slow disk it begins in a thread
        while store.compacted_revision != revision:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert store.compacted_revision == revision
        await store.close()
        store = SqliteStore(tmp_path / "state.db")
        with pytest.raises(Compacted):
            await store.get("/a", Revision(revision - 1))
        await store.compact(revision)
        (rows,) = store._log._writer.execute("SELECT count(*) FROM log").fetchone()  # type: ignore[attr-defined]
        assert rows == 1
        await store.close()

    asyncio.run(main())


@pytest.mark.root
@pytest.mark.slow
def test_a_really_full_disk(tmp_path: Path) -> None:
    """A file system of 2 MiB in a mount namespace of a child, so that nothing stays mounted on the machine."""
    script = """
import asyncio, ctypes, os, sys
from pathlib import Path
from carob.store.sqlite import SqliteStore
from carob.store.types import StoreError
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0
folder = sys.argv[1]
assert libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=2m") == 0
async def main():
    store = SqliteStore(Path(folder) / "state.db")
    ballast = Path(folder) / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    kept = 0
    try:
        while True:
            await store.create(f"/{kept}", b"x" * 10_000)
            kept += 1
    except StoreError as error:
        assert "disk is full" in str(error), error
    revision = store.revision
    assert revision == kept + 1
    ballast.unlink()
    assert await store.create("/after", b"x" * 10_000) == revision + 1
    await store.close()
    store = SqliteStore(Path(folder) / "state.db")
    assert (store.revision, len(store)) == (revision + 1, kept + 1)
    await store.close()
asyncio.run(main())
print("fine")
"""

    async def main() -> bytes:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate()
        return out

    assert asyncio.run(main()) == b"fine\n"

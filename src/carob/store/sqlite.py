"""The store on this machine's disk: a log in SQLite, with a write-ahead log that is synced at every commit.

`synchronous=FULL`, because NORMAL loses acknowledged commits when the power fails. Every write is one row of `log`;
`current` names the newest row of each key that exists, so that opening reads no history.

Threads: the writer connection belongs to whoever runs the log's exclusive verbs, the reader connection to the event
loop, the third one to the checkpointer.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from carob.base.clock import Clock, SystemClock
from carob.store.core import FIRST_REVISION, Change, Core, Row
from carob.store.embedded import EmbeddedStore
from carob.store.keys import prefix_end
from carob.store.ownership import Ownership
from carob.store.types import Event, Revision, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

APPLICATION_ID = 0x6361726F
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE log(
  revision INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  create_revision INTEGER NOT NULL,
  previous_revision INTEGER NOT NULL,
  value BLOB
);
CREATE TABLE current(
  key TEXT PRIMARY KEY,
  revision INTEGER NOT NULL,
  create_revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE facts(name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""
PAGE_BYTES = 4096
CHECKPOINT_PAGES = 2000
OVERDUE_PAGES = 4 * CHECKPOINT_PAGES
WRITER_CACHE_KIB = 8192
READER_CACHE_KIB = 1024
BUSY_TIMEOUT_SECONDS = 5.0
VALUES_PER_QUERY = 250
COMMITS_TO_MEASURE = 3


class SqliteLog:
    """A `Log` in one SQLite database at `path`; beside it lie its `-wal`, `-shm` and `.lock`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._sync_seconds = 0.0
        self._unsynced_pages = 0
        self._reader: sqlite3.Connection | None = None
        self._checkpointer: sqlite3.Connection | None = None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ownership = Ownership(path.with_name(path.name + ".lock"))
        try:
            # SQLite gives the files beside it the mode of this one
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer = self._open()
        except OSError as error:
            self._ownership.release()
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        except BaseException:
            self._ownership.release()
            raise

    @property
    def sync_seconds(self) -> float:
        """What the last commit cost, or the cheapest of the trials at opening."""
        return self._sync_seconds

    # -- opening ----------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        with self._translated("cannot open"):
            connection = self._connect(WRITER_CACHE_KIB)
        try:
            with self._translated("cannot open"):
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute(f"PRAGMA journal_size_limit={OVERDUE_PAGES * PAGE_BYTES}")
            connection.execute(f"PRAGMA cache_size=-{cache_kib}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not application and not tables:
            with _transaction(connection):
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        elif application != APPLICATION_ID:
            raise StoreError(f"{self._path} is not a store of carob's")
        elif version != SCHEMA_VERSION:
            raise StoreError(f"{self._path} has schema {version}; this carob knows schema {SCHEMA_VERSION}")

    def load(self) -> Core:
        """The keys that exist, without their values. Raises: StoreError when the database is damaged."""
        with self._translated("cannot read"):
            entries = self._writer.execute("SELECT key, revision, create_revision FROM current").fetchall()
            (newest,) = self._writer.execute("SELECT max(revision) FROM log").fetchone()
            compacted = self._fact("compacted")
        last = max((entry[1] for entry in entries), default=0)
        if last > (newest or 0):
            raise StoreError(f"{self._path} is damaged: it names revision {last}, and its log ends at {newest}")
        self._measure()
        return Core(entries, Revision(newest or FIRST_REVISION), Revision(compacted))

    def _measure(self) -> None:
        """Learn what a commit costs here. A full disk is found out by those who write."""
        costs = []
        try:
            for _ in range(COMMITS_TO_MEASURE):
                with _transaction(self._writer):
                    self._set_fact("opened", self._fact("opened") + 1)
                    started = self._clock.monotonic()
                costs.append(self._clock.monotonic() - started)
        except sqlite3.Error:
            costs.append(BUSY_TIMEOUT_SECONDS)
        # the first ones make the files; the cheapest tells of the disk
        self._sync_seconds = min(costs)

    def _fact(self, name: str) -> int:
        row = self._writer.execute("SELECT number FROM facts WHERE name=?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _set_fact(self, name: str, number: int) -> None:
        self._writer.execute("INSERT OR REPLACE INTO facts(name, number) VALUES(?,?)", (name, number))

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Row]) -> list[bytes | None]:
        """One transaction, synced on return; the values before. Raises: StoreError, and then nothing was written."""
        writer = self._writer
        alive = [(row.key, row.revision, row.create_revision) for row in rows if row.value is not None]
        with self._translated("cannot write"):
            previous = [self._previous(row.previous_revision) for row in rows]
            with _transaction(writer):
                writer.executemany(
                    "INSERT INTO log(revision, key, create_revision, previous_revision, value) VALUES(?,?,?,?,?)", rows
                )
                if alive:
                    writer.executemany(
                        "INSERT OR REPLACE INTO current(key, revision, create_revision) VALUES(?,?,?)", alive
                    )
                if len(alive) < len(rows):
                    gone = [(row.key,) for row in rows if row.value is None]
                    writer.executemany("DELETE FROM current WHERE key=?", gone)
                started = self._clock.monotonic()
        self._sync_seconds = self._clock.monotonic() - started
        self._unsynced_pages += 2 + sum(2 + len(row.value or b"") // PAGE_BYTES for row in rows)
        return previous

    def _previous(self, revision: Revision) -> bytes | None:
        if not revision:
            return None
        row = self._writer.execute("SELECT value FROM log WHERE revision=?", (revision,)).fetchone()
        return row[0] if row else None

    def begin_compaction(self, revision: Revision) -> None:
        """Remember it on disk first, so that no reader trusts rows that a crash left half swept."""
        with self._translated("cannot compact"), _transaction(self._writer):
            self._set_fact("compacted", revision)

    def sweep(self, row_limit: int) -> bool:
        """Remove what writes of the next `row_limit` revisions superseded, and the deletions before them."""
        with self._translated("cannot compact"), _transaction(self._writer):
            swept, compacted = self._fact("swept"), self._fact("compacted")
            until = min(swept + row_limit, compacted)
            self._writer.execute(
                "DELETE FROM log WHERE revision IN"
                " (SELECT previous_revision FROM log WHERE revision > ? AND revision <= ? AND previous_revision > 0)",
                (swept, until),
            )
            self._writer.execute(
                "DELETE FROM log WHERE revision >= ? AND revision < ? AND value IS NULL", (swept, until)
            )
            self._set_fact("swept", until)
        self._unsynced_pages += row_limit
        return until < compacted

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, query: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        with self._translated("cannot read"):
            if self._reader is None:
                self._reader = self._connect(READER_CACHE_KIB)
            return self._reader.execute(query, parameters).fetchall()

    def values(self, revisions: Sequence[Revision]) -> dict[Revision, bytes]:
        """The values of these writes, as far as they are still there. Raises: StoreError."""
        found: dict[Revision, bytes] = {}
        for at in range(0, len(revisions), VALUES_PER_QUERY):
            some = revisions[at : at + VALUES_PER_QUERY]
            marks = ",".join("?" * len(some))
            found.update(
                self._read(f"SELECT revision, value FROM log WHERE revision IN ({marks}) AND value NOT NULL", some)  # type: ignore[arg-type]
            )
        return found

    def changes(self, prefix: str, after: Revision, until: Revision) -> Iterable[Change]:
        """Writes of a prefix without values, oldest first. Raises: StoreError."""
        where, parameters = _of_prefix(prefix)
        query = f"SELECT key, previous_revision, create_revision FROM log WHERE revision > ? AND revision <= ?{where} ORDER BY revision"
        return [Change(*row) for row in self._read(query, (after, until, *parameters))]  # type: ignore[arg-type]

    def events(self, prefix: str, after: Revision, until: Revision) -> list[Event]:
        """Writes of a prefix as events, oldest first. Raises: StoreError."""
        where, parameters = _of_prefix(prefix)
        query = (
            "SELECT revision, key, value, (SELECT value FROM log before WHERE before.revision = log.previous_revision),"
            f" create_revision FROM log WHERE revision > ? AND revision <= ?{where} ORDER BY revision"
        )
        return [Event(*row) for row in self._read(query, (after, until, *parameters))]  # type: ignore[arg-type]

    # -- upkeep -----------------------------------------------------------------------------------------------------

    @property
    def needs_work(self) -> bool:
        """True when the write-ahead log has grown enough to be copied into the database."""
        return self._unsynced_pages >= CHECKPOINT_PAGES

    @property
    def overdue(self) -> bool:
        """True when writers have run far ahead of the checkpoint, and must wait for it."""
        return self._unsynced_pages >= OVERDUE_PAGES

    def work_aside(self) -> None:
        """Copy and sync what is there, beside readers and the writer; what is written meanwhile stays."""
        with self._translated("cannot checkpoint"):
            if self._checkpointer is None:
                self._checkpointer = self._connect(READER_CACHE_KIB)
            self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def work_exclusive(self) -> None:
        """Copy the little that is left, so that the next commit begins the write-ahead log anew."""
        with self._translated("cannot checkpoint"):
            _, pages, copied = self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._unsynced_pages = max(0, pages - copied)

    def close(self) -> None:
        """Fold the write-ahead log into the database if that is possible, and let go of it; idempotent."""
        for connection in (self._reader, self._checkpointer, self._writer):
            if connection is not None:
                connection.close()
        self._ownership.release()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{what} {self._path}: {_explained(error)}") from error


def _of_prefix(prefix: str) -> tuple[str, tuple[str, ...]]:
    end = prefix_end(prefix)
    if end is not None:
        return " AND key >= ? AND key < ?", (prefix, end)
    return (" AND key >= ?", (prefix,)) if prefix else ("", ())


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _explained(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "the disk is full"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"the database is damaged ({error}); restore a snapshot, or move the file away to begin anew"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "another process holds the database"
    return str(error)


class SqliteStore(EmbeddedStore):
    """The `Store` at `path`, which is made if it does not exist.

    Raises: StoreError when another process has it open, or it is damaged, or from a newer carob.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        log = SqliteLog(path, clock or SystemClock())
        try:
            super().__init__(log)
        except BaseException:
            log.close()
            raise

"""A store's present as one file: every key with its value and revisions, and the revision that it is the state of.

The file is a database of the embedded store without history, so that restoring it there is copying it. It holds all
that the API keeps, Secrets too: it is readable for its owner only.

May touch: the files that it is given. Blocking.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.store.ownership import Ownership
from carob.store.sqlite import APPLICATION_ID, SCHEMA, SCHEMA_VERSION
from carob.store.types import KeyValue, Revision, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_PRESENT = (
    "SELECT current.key, log.value, current.create_revision, current.revision"
    " FROM current JOIN log ON log.revision = current.revision ORDER BY current.revision"
)


class Snapshot(Struct, frozen=True):
    """Keys in the order of their last writes."""

    revision: Revision
    items: Sequence[KeyValue]


def read(file: Path) -> Snapshot:
    """What a snapshot, or the database of a store (also one in use), holds. Raises: StoreError."""
    if not file.is_file():
        raise StoreError(f"there is no file {file}")
    try:
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as database:
            database.execute("BEGIN")
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION_ID or version != SCHEMA_VERSION:
                raise StoreError(f"{file} is not a snapshot that this carob knows")
            (newest,) = database.execute("SELECT max(revision) FROM log").fetchone()
            items = [KeyValue(*row) for row in database.execute(_PRESENT)]
    except sqlite3.Error as error:
        raise StoreError(f"cannot read {file}: {error}") from error
    return Snapshot(Revision(newest or 1), items)


def write(file: Path, snapshot: Snapshot) -> None:
    """Make the file, or replace it in one step. Raises: StoreError."""
    beside = file.with_name(f".{file.name}.new")
    try:
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(beside, isolation_level=None)) as database:
            _fill(database, snapshot)
        _sync(beside)
        beside.replace(file)
        _sync(file.absolute().parent)
    except (OSError, sqlite3.Error) as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"cannot write {file}: {error}") from error


def _fill(database: sqlite3.Connection, snapshot: Snapshot) -> None:
    database.execute("PRAGMA synchronous=OFF")  # synced as a whole, below
    database.execute("BEGIN")
    for statement in SCHEMA.split(";"):
        database.execute(statement)
    items, revision = snapshot.items, snapshot.revision
    database.executemany(
        "INSERT INTO log(revision, key, create_revision, previous_revision, value) VALUES(?,?,?,0,?)",
        ((item.mod_revision, item.key, item.create_revision, item.value) for item in items),
    )
    database.executemany(
        "INSERT INTO current(key, revision, create_revision) VALUES(?,?,?)",
        ((item.key, item.mod_revision, item.create_revision) for item in items),
    )
    if not items or max(item.mod_revision for item in items) < revision:
        # the last write was a deletion: a row that is no object's says how far the revisions had come
        database.execute("INSERT INTO log VALUES(?,'',?,0,NULL)", (revision, revision))
    database.executemany("INSERT INTO facts VALUES(?,?)", (("compacted", revision), ("swept", revision)))
    database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    database.execute("COMMIT")


def restore(snapshot: Path, database: Path) -> None:
    """Make a database from a snapshot, in place of whatever was there. Raises: StoreError also while it is in use."""
    read(snapshot)
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    ownership = Ownership(database.with_name(database.name + ".lock"))
    beside = database.with_name(f".{database.name}.new")
    try:
        shutil.copyfile(snapshot, beside)
        beside.chmod(0o600)
        _sync(beside)
        for name in ("-wal", "-shm"):
            database.with_name(database.name + name).unlink(missing_ok=True)
        beside.replace(database)
        _sync(database.parent)
    except OSError as error:
        raise StoreError(f"cannot write {database}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
        ownership.release()


def present_of(items: Iterable[KeyValue], revision: Revision) -> Snapshot:
    """A snapshot of what a store listed at a revision."""
    return Snapshot(revision, sorted(items, key=lambda item: item.mod_revision))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A `Store` in this process: the core decides, a log makes durable, and this shell joins them to the event loop.

All writes of one turn of the loop are one transaction. Where making it durable is fast it happens in the loop, at the
end of the turn; where it is slow a writer thread does it, and the writes that arrive meanwhile become the next
transaction (`pace.py` says which).

The order after a commit: the core knows it, then watchers hear it, then the writers do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from carob.base.log import get_logger
from carob.store.core import Row, Verdict
from carob.store.exclusive import Exclusive, outcome_of
from carob.store.history import History
from carob.store.pace import Pace
from carob.store.types import (
    Event,
    FutureRevision,
    KeyExists,
    KeyMissing,
    Revision,
    RevisionMismatch,
    StoreError,
)
from carob.store.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.store.log import Log
    from carob.store.types import Deliver, KeyValue, Page, Watch

# One transaction of this many small writes blocks the loop for some 10 ms.
MAX_TRANSACTION_WRITES = 1000
MAX_WAITING_WRITES = 50_000
# Sweeping this many revisions blocks the loop for 10 to 25 ms.
COMPACTION_STEP_ROWS = 500
NOW = Revision(0)

_log = get_logger("store")


class _Write:
    """A write that has been asked for; `expected` None means create, `value` None means delete."""

    __slots__ = ("done", "expected", "key", "value")

    def __init__(
        self, key: str, value: bytes | None, expected: Revision | None, done: asyncio.Future[Revision]
    ) -> None:
        self.key = key
        self.value = value
        self.expected = expected
        self.done = done

    def refuse(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def accept(self, revision: Revision) -> None:
        if not self.done.done():
            self.done.set_result(revision)


class EmbeddedStore:
    """The embedded `Store` over any `Log`. The rules are those of `carob.store.types`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._core = log.load()
        self._history = History(self._core, log)
        self._watches = Watches()
        self._pace = Pace(log.sync_seconds)
        self._staged: deque[_Write] = deque()
        self._waiting: dict[str, list[_Write]] = {}
        self._waiting_count = 0
        self._scheduled = False
        self._exclusive = Exclusive(self._schedule)
        self._compaction = asyncio.Lock()
        self._upkeep: asyncio.Task[None] | None = None
        self._upkeep_thread: ThreadPoolExecutor | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many keys exist."""
        return len(self._core)

    @property
    def revision(self) -> Revision:
        """The newest committed revision."""
        return self._core.revision

    @property
    def compacted_revision(self) -> Revision:
        """History before this is gone; 0 if nothing was compacted."""
        return self._core.compacted

    @property
    def commits_inline(self) -> bool:
        """True while transactions are made durable in the event loop, False while a thread does it."""
        return self._pace.inline

    @property
    def shared(self) -> bool:
        """One process alone has it."""
        return False

    async def fresh(self) -> None:
        """Watchers hear of a write before it is acknowledged: there is nothing to wait for."""

    async def lost(self) -> None:
        """Never."""
        await asyncio.get_running_loop().create_future()

    # -- writing ----------------------------------------------------------------------------------------------------

    def create(self, key: str, value: bytes) -> asyncio.Future[Revision]:
        """Write a new key. Raises: KeyExists, StoreError."""
        return self._submit(key, value, None)

    def update(self, key: str, value: bytes, expected: Revision) -> asyncio.Future[Revision]:
        """Write a key that was last written at `expected`. Raises: KeyMissing, RevisionMismatch, StoreError."""
        return self._submit(key, value, expected)

    def delete(self, key: str, expected: Revision) -> asyncio.Future[Revision]:
        """Remove a key that was last written at `expected`. Raises: KeyMissing, RevisionMismatch, StoreError."""
        return self._submit(key, None, expected)

    def _submit(self, key: str, value: bytes | None, expected: Revision | None) -> asyncio.Future[Revision]:
        if not key.isascii():
            key.encode()  # a key that is no Unicode must not fail the transaction of others
        write = _Write(key, value, expected, asyncio.get_running_loop().create_future())
        if self._closed:
            write.refuse(StoreError("the store is closed"))
        elif len(self._staged) + self._waiting_count >= MAX_WAITING_WRITES:
            write.refuse(StoreError(f"{MAX_WAITING_WRITES} writes are waiting for the disk already"))
        else:
            self._decide(write)
        return write.done

    def _decide(self, write: _Write) -> None:
        verdict = self._core.stage(write.key, write.expected)
        if verdict is Verdict.STAGED:
            self._staged.append(write)
            self._schedule()
        elif verdict is Verdict.WAIT:
            self._waiting.setdefault(write.key, []).append(write)
            self._waiting_count += 1
        else:
            write.refuse(self._refusal(write.key, verdict))

    def _refusal(self, key: str, verdict: Verdict) -> Exception:
        if verdict is Verdict.EXISTS:
            return KeyExists(key)
        if verdict is Verdict.MISSING:
            return KeyMissing(key)
        try:
            current = self._history.read(key, self._core.entry(key))
        except StoreError as error:
            return error
        assert current is not None
        return RevisionMismatch(current)

    def _schedule(self) -> None:
        if self._staged and not self._scheduled and not self._must_wait():
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _must_wait(self) -> bool:
        return self._exclusive.busy or (self._upkeep is not None and self._log.overdue)

    def _flush(self) -> None:
        self._scheduled = False
        if self._must_wait():
            return
        writes = [self._staged.popleft() for _ in range(min(len(self._staged), MAX_TRANSACTION_WRITES))]
        rows = self._core.assign([(write.key, write.value) for write in writes])
        if self._pace.inline:
            self._appended(writes, rows, outcome_of(lambda: self._log.append(rows)))
            self._schedule()
        else:
            self._exclusive.start(lambda: self._log.append(rows), lambda done: self._appended(writes, rows, done))

    def _appended(
        self, writes: Sequence[_Write], rows: Sequence[Row], outcome: Sequence[bytes | None] | StoreError
    ) -> None:
        if isinstance(outcome, StoreError):
            self._failed(writes, outcome)
        else:
            self._committed(writes, rows, outcome)
        if self._waiting:
            self._decide_waiting(rows)

    def _failed(self, writes: Sequence[_Write], cause: StoreError) -> None:
        _log.error("%d writes failed: %s", len(writes), cause)
        self._core.fail(write.key for write in writes)
        for write in writes:
            error = StoreError(str(cause))
            error.__cause__ = cause
            write.refuse(error)

    def _committed(self, writes: Sequence[_Write], rows: Sequence[Row], previous: Sequence[bytes | None]) -> None:
        self._core.commit(rows)
        events = [
            Event(row.revision, row.key, row.value, old, row.create_revision)
            for row, old in zip(rows, previous, strict=True)
        ]
        faults = self._watches.publish(events)
        for write, row in zip(writes, rows, strict=True):
            write.accept(row.revision)
        for fault in faults:
            context = {"message": "a watcher of the store raised", "exception": fault}
            asyncio.get_running_loop().call_exception_handler(context)
        self._pace.observe(self._log.sync_seconds)
        if self._upkeep is None and self._log.needs_work and not self._closed:
            self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(), name="store upkeep")

    def _decide_waiting(self, rows: Sequence[Row]) -> None:
        for row in rows:
            waiting = self._waiting.pop(row.key, ())
            self._waiting_count -= len(waiting)
            for write in waiting:
                self._decide(write)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def get(self, key: str, revision: Revision = NOW) -> KeyValue | None:
        """The key as of `revision` (0: now). Raises: Compacted, FutureRevision, StoreError."""
        self._check_open()
        return await self._history.get(key, revision)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 0, revision: Revision = NOW) -> Page:
        """A page in key order; values come from the log in steps, nothing of them is kept here.

        Raises: Compacted, FutureRevision, StoreError.
        """
        self._check_open()
        return await self._history.page(prefix, start_after, limit, revision)

    async def watch(self, prefix: str, after: Revision, deliver: Deliver) -> Watch:
        """Deliver history, then every commit, in batches. Raises: Compacted, FutureRevision, StoreError."""
        self._check_open()
        await self._history.replay(prefix, after, deliver)
        return self._watches.add(prefix, deliver)

    # -- upkeep -----------------------------------------------------------------------------------------------------

    async def compact(self, revision: Revision) -> None:
        """Forget history before `revision`, in steps between which writes go on. Raises: FutureRevision, StoreError.

        A compaction that was interrupted goes on with the next one.
        """
        self._check_open()
        if revision > self._core.revision:
            raise FutureRevision(self._core.revision)
        async with self._compaction:
            if revision > self._core.compacted:
                await self._exclusive.run(lambda: self._log.begin_compaction(revision), self._pace.inline)
                self._core.compacted = revision
            more = True
            while more and not self._closed:
                more = await self._exclusive.run(lambda: self._log.sweep(COMPACTION_STEP_ROWS), self._pace.inline)
                await asyncio.sleep(0)

    async def _keep_up(self) -> None:
        if self._upkeep_thread is None:
            self._upkeep_thread = ThreadPoolExecutor(1, "carob-store-upkeep")
        try:
            await asyncio.get_running_loop().run_in_executor(self._upkeep_thread, self._log.work_aside)
            await self._exclusive.run(self._log.work_exclusive, self._pace.inline)
        except StoreError as error:
            # a full disk, most likely: the log stays longer than it should, and the next commit asks again
            _log.warning("upkeep failed: %s", error)
        finally:
            self._upkeep = None
            self._schedule()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")

    async def close(self) -> None:
        """Finish the writes that were asked for, then let go of files and threads; idempotent."""
        self._closed = True
        while self._staged or self._waiting or self._exclusive.busy or self._upkeep is not None:
            if self._upkeep is not None:
                await asyncio.wait([self._upkeep])
            await self._exclusive.wait_free()
            await asyncio.sleep(0)
        async with self._compaction:
            self._exclusive.close()
            if self._upkeep_thread is not None:
                self._upkeep_thread.shutdown()
            self._log.close()

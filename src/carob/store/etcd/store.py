"""The `Store` on etcd v3, for several servers at once. The rules are those of `carob.store.types`.

A write is one transaction with one write in it, so each has a revision of its own. It resolves when etcd's majority has
it *and* this server's own watchers have heard of it: a writer reads its own write. `fresh` waits for the others'.

May touch: the network. Differs: history can be read back a little further than the compacted revision by servers that
have not heard of the compaction.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from carob.store.etcd.endpoints import Endpoints, EtcdOptions, Refused
from carob.store.etcd.follower import Follower, event_of, following
from carob.store.etcd.messages import (
    EVERYTHING,
    Held,
    compaction_request,
    decided,
    range_request,
    ranged,
    write_request,
)
from carob.store.keys import prefix_end
from carob.store.types import (
    Compacted,
    Event,
    FutureRevision,
    KeyExists,
    KeyMissing,
    KeyValue,
    Page,
    Revision,
    RevisionMismatch,
    StoreError,
)
from carob.store.watches import Watches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from carob.store.types import Deliver, Watch

RANGE, TXN, COMPACT = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Compact"
NOW = Revision(0)
# Keys per answer where everything is asked for: some megabytes of Pods.
PAGE_KEYS = 1000
_COMPACTED, _FUTURE = "required revision has been compacted", "required revision is a future revision"


class EtcdStore:
    """A store that other servers write too. Made by `open`."""

    def __init__(self, endpoints: Endpoints, follower: Follower, watches: Watches) -> None:
        self._endpoints = endpoints
        self._follower = follower
        self._watches = watches
        self._compacted = NOW
        self._busy: dict[str, asyncio.Future[None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._ask_next: asyncio.Task[None] | None = None
        self._following = asyncio.get_running_loop().create_task(follower.run(), name="etcd follower")

    @classmethod
    async def open(cls, options: EtcdOptions) -> Self:
        """Connect and follow from now on. Raises: StoreError when no member answers."""
        endpoints = Endpoints(options)
        try:
            revision = await _revision(endpoints)
        except BaseException:
            await endpoints.close()
            raise
        watches = Watches()
        return cls(endpoints, Follower(endpoints, watches, revision), watches)

    @property
    def shared(self) -> bool:
        """Others write here too."""
        return True

    @property
    def revision(self) -> Revision:
        """The newest revision that this server has heard of."""
        return self._follower.delivered

    @property
    def compacted_revision(self) -> Revision:
        """History before this is gone, as far as this server knows."""
        return self._compacted

    async def lost(self) -> None:
        """Return never. Raises: StoreError when events are gone that were never delivered."""
        try:
            await asyncio.shield(self._follower.lost)
        except Compacted as error:
            raise StoreError(
                f"etcd has forgotten writes that this server has not seen ({error}): start it again"
            ) from error

    # -- writing ----------------------------------------------------------------------------------------------------

    async def create(self, key: str, value: bytes) -> Revision:
        """Write a new key. Raises: KeyExists, StoreError."""
        return await self._write(key, value, NOW)

    async def update(self, key: str, value: bytes, expected: Revision) -> Revision:
        """Write a key that was last written at `expected`. Raises: KeyMissing, RevisionMismatch, StoreError."""
        return await self._write(key, value, expected)

    async def delete(self, key: str, expected: Revision) -> Revision:
        """Remove a key that was last written at `expected`. Raises: KeyMissing, RevisionMismatch, StoreError."""
        return await self._write(key, None, expected)

    async def _write(self, key: str, value: bytes | None, expected: Revision) -> Revision:
        name = key.encode()
        async with self._turn(key):
            answer = await self._endpoints.call(TXN, write_request(name, value, expected))
            outcome = decided(answer.data)
            revision, present = outcome.revision, outcome.present
            if not outcome.succeeded:
                if answer.again and _may_be_ours(present, value, expected):
                    # an earlier attempt, which nobody answered, was carried out after all
                    if present is None or present.value != value:
                        raise StoreError("etcd did not say in time whether the write was made")
                    revision = present.mod_revision
                else:
                    raise _refusal(key, present, expected)
            await self._follower.wait(revision)
        return Revision(revision)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        """One write of a key after the other, in the order in which they were asked for."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before = self._busy.get(key)
        self._busy[key] = mine
        try:
            if before is not None:
                await asyncio.shield(before)
            yield
        finally:
            if self._busy.get(key) is mine:
                del self._busy[key]
            if before is None or before.done():
                mine.set_result(None)
            else:  # cancelled while waiting: whoever is behind us still waits for the one before
                before.add_done_callback(lambda _: mine.set_result(None))

    # -- reading ----------------------------------------------------------------------------------------------------

    async def fresh(self) -> None:
        """Return once this server's watchers have heard of every write that was acknowledged before the call.

        Those who call while a question is under way share the next one. Raises: StoreError.
        """
        if self._ask_next is None:
            self._ask_next = asyncio.get_running_loop().create_task(self._ask(self._asking), name="etcd revision")
        await asyncio.shield(self._ask_next)

    async def _ask(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait((before,))
        self._asking, self._ask_next = self._ask_next, None
        await self._follower.wait(await _revision(self._endpoints))

    async def get(self, key: str, revision: Revision = NOW) -> KeyValue | None:
        """The key as of `revision` (0: now). Raises: Compacted, FutureRevision, StoreError."""
        _, held, _ = await self._range(key.encode(), b"", 0, revision)
        return _key_value(held[0]) if held else None

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 0, revision: Revision = NOW) -> Page:
        """Keys that begin with `prefix` and sort behind `start_after`, as of `revision` (0: now; limit 0: all).

        Raises: Compacted, FutureRevision, StoreError.
        """
        end = prefix_end(prefix)
        start = max(prefix, start_after + "\0") if start_after else prefix
        stop = EVERYTHING if end is None else end.encode()
        found: list[KeyValue] = []
        while True:
            asked = min(limit - len(found), PAGE_KEYS) if limit else PAGE_KEYS
            empty = end is not None and start >= end
            newest, held, count = await self._range(start.encode() or EVERYTHING, stop, asked, revision, empty)
            revision = revision or newest
            found += [_key_value(one) for one in held]
            remaining = count - len(held)
            if remaining <= 0 or len(found) == limit:
                return Page(found, revision, remaining > 0, max(remaining, 0))
            start = found[-1].key + "\0"

    async def _range(
        self, key: bytes, end: bytes, limit: int, revision: Revision, empty: bool = False
    ) -> tuple[Revision, Sequence[Held], int]:
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        try:
            if empty:
                key, end = EVERYTHING, b""
            data = (await self._endpoints.call(RANGE, range_request(key, end, limit=limit, revision=revision))).data
        except Refused as error:
            if _COMPACTED in str(error):
                raise Compacted(await self._learn_compacted(revision)) from None
            if _FUTURE in str(error):
                raise FutureRevision(await _revision(self._endpoints)) from None
            raise
        answer = ranged(data)
        return Revision(answer.revision), answer.held, answer.total

    async def _learn_compacted(self, revision: Revision) -> Revision:
        """etcd says what was compacted to watches alone."""
        try:
            async with following(self._endpoints, revision) as stream:
                await stream.events()
        except Compacted as error:
            self._compacted = max(self._compacted, error.compacted)
        return max(self._compacted, Revision(revision + 1))

    # -- watching ---------------------------------------------------------------------------------------------------

    async def watch(self, prefix: str, after: Revision, deliver: Deliver) -> Watch:
        """Deliver every event of `prefix` with a revision greater than `after`, first the history, then as it happens.

        Raises: Compacted, FutureRevision, StoreError.
        """
        if after > self.revision:
            newest = await _revision(self._endpoints)
            if after > newest:
                raise FutureRevision(newest)
            await self._follower.wait(after)
        if after + 1 < self._compacted:
            raise Compacted(self._compacted)
        early: list[Event] = []
        live = False

        def hear(events: Sequence[Event]) -> None:
            if live:
                deliver(events)
            else:
                early.extend(events)

        until = self.revision
        subscription = self._watches.add(prefix, hear)
        try:
            if after < until:
                await self._replay(prefix, after, until, deliver)
        except BaseException:
            subscription.close()
            raise
        live = True
        if early:
            deliver(early)
        return subscription

    async def _replay(self, prefix: str, after: Revision, until: Revision, deliver: Deliver) -> None:
        """Everything is read, for it is only by its events that a revision is known to have come."""
        reached = after
        while reached < until:
            member = self._endpoints.present
            try:
                async with following(self._endpoints, reached + 1) as stream:
                    while reached < until:
                        told = await stream.events()
                        events = [event_of(one) for one in told if reached < one.now.mod_revision <= until]
                        mine = [event for event in events if event.key.startswith(prefix)]
                        if mine:
                            deliver(mine)
                        reached = Revision(told[-1].now.mod_revision)
            except Compacted as error:
                self._compacted = max(self._compacted, error.compacted)
                raise
            except StoreError:
                self._endpoints.move_on(member)
                await _revision(self._endpoints)

    # -- upkeep -----------------------------------------------------------------------------------------------------

    async def compact(self, revision: Revision) -> None:
        """Forget history before `revision`; every key's newest value stays. Raises: FutureRevision, StoreError.

        etcd is told to keep one revision more: some of its versions forget a deletion at the very revision that they
        compact to, which a watch may still ask for.
        """
        if revision > self.revision:
            raise FutureRevision(self.revision)
        if revision <= self._compacted:
            return
        if revision > 2:
            try:
                await self._endpoints.call(COMPACT, compaction_request(revision - 1))
            except Refused as error:
                if _COMPACTED not in str(error):  # another server was here before
                    raise
        self._compacted = revision

    async def close(self) -> None:
        """End the watch and let go of connections."""
        tasks = [task for task in (self._following, self._asking, self._ask_next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if self._follower.lost.done():
            self._follower.lost.exception()
        await self._endpoints.close()


async def _revision(endpoints: Endpoints) -> Revision:
    """The newest revision that etcd's majority has acknowledged."""
    answer = await endpoints.call(RANGE, range_request(EVERYTHING, count_only=True))
    return Revision(ranged(answer.data).revision)


def _key_value(held: Held) -> KeyValue:
    return KeyValue(
        held.key.decode(errors="replace"), held.value, Revision(held.create_revision), Revision(held.mod_revision)
    )


def _may_be_ours(present: Held | None, value: bytes | None, expected: Revision) -> bool:
    """Whether a refused second attempt may have been refused because the first one succeeded."""
    if present is None:
        return value is None
    return value is not None and present.mod_revision > expected


def _refusal(key: str, present: Held | None, expected: Revision) -> Exception:
    if not expected:
        return KeyExists(key)
    if present is None:
        return KeyMissing(key)
    return RevisionMismatch(_key_value(present))

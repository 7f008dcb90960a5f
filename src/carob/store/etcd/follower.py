"""Following an etcd: one watch of everything, resumed on another member when one falls silent.

Invariants: every revision is delivered once and in order; `delivered` is the last of them. Since the watch covers every
key, each revision of the store arrives as an event, so that waiting for a revision needs no further question.

Differs: kube-apiserver opens a watch per resource. One for all keeps one order over all resources, which is what the
watch cache of this server promises to clients.
"""

from __future__ import annotations

import asyncio
import heapq
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

from carob.base.log import get_logger
from carob.store.etcd.messages import Told, watch_request, watched
from carob.store.types import Compacted, Event, Revision, StoreError
from carob.store.watches import Watches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from carob.store.etcd.endpoints import Endpoints, Stream

_log = get_logger("store.etcd")

WATCH = "/etcdserverpb.Watch/Watch"
# How long an acknowledged write may stay unseen before another member is asked.
PATIENCE_SECONDS = 1.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.5


class Follower:
    """Tells `watches` of every write from a revision on."""

    def __init__(self, endpoints: Endpoints, watches: Watches, revision: Revision) -> None:
        self._endpoints = endpoints
        self._watches = watches
        self.delivered = revision
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises Compacted once events are gone that were never delivered."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._reading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until cancelled, or until history was compacted before it could be seen."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            before = self.delivered
            self._reading = asyncio.get_running_loop().create_task(self._follow(), name="etcd watch")
            try:
                await self._reading
            except Compacted as error:
                self.lost.set_exception(error)
                return
            except StoreError as error:
                _log.info("the watch goes on elsewhere: %s", error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                _log.info("the watch goes on elsewhere: the member is too slow")
            if self.delivered > before:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        member = self._endpoints.present
        try:
            async with following(self._endpoints, self.delivered + 1) as stream:
                while True:
                    self._publish(await stream.events())
        finally:
            self._endpoints.move_on(member)

    def _publish(self, told: Sequence[Told]) -> None:
        events = [event_of(one) for one in told if one.now.mod_revision > self.delivered]
        if not events:
            return
        for fault in self._watches.publish(events):
            _log.error("a watcher raised", exc_info=fault)
        self.delivered = events[-1].revision
        while self._waiting and self._waiting[0][0] <= self.delivered:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)

    async def wait(self, revision: int) -> None:
        """Return once `revision`, which has been committed, was delivered. Raises: StoreError when it never will be."""
        while revision > self.delivered:
            if self.lost.done():
                raise StoreError("the watch of etcd has lost events; the server must start again")
            arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (revision, next(self._numbers), arrived))
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await arrived
            except TimeoutError:
                self.leave()

    def leave(self) -> None:
        """The member in use is too slow: follow another."""
        if self._reading is not None:
            self._reading.cancel()


class Following:
    """A watch of every key."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def events(self) -> list[Told]:
        """The next events, whole revisions at a time. Raises: Compacted; StoreError when the stream has ended."""
        held: list[Told] = []
        while True:
            message = watched(await self._stream.read())
            if message.compact_revision:
                raise Compacted(Revision(message.compact_revision))
            if message.cancelled:
                raise StoreError(f"etcd ended the watch: {message.reason or 'no reason given'}")
            held += message.events
            if held and not message.fragment:
                return held


@asynccontextmanager
async def following(endpoints: Endpoints, start: int) -> AsyncIterator[Following]:
    """Every event from revision `start` on, as the member in use tells it."""
    async with endpoints.stream(WATCH, watch_request(start)) as stream:
        yield Following(stream)


def event_of(told: Told) -> Event:
    """A store's event from etcd's."""
    now, before = told.now, told.before
    created = before.create_revision if told.deleted and before is not None else now.create_revision
    return Event(
        Revision(now.mod_revision),
        now.key.decode(errors="replace"),
        None if told.deleted else now.value,
        before.value if before is not None else None,
        Revision(created),
    )

"""What has to go with time: the store's old history, and Events that nobody renewed for an hour.

Both are periodic on purpose: there is no event to be woken by, and a few minutes more or less do not matter. Before, the
memory of a start is put in order, a little at a time, when those who wait for the server have had their answers.
May touch: the store and the caches.

Source: kube-apiserver `--etcd-compaction-interval` (5 m) and `--event-ttl` (1 h).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from carob.api.status import ApiError
from carob.base.clock import parse_rfc3339
from carob.base.log import get_logger
from carob.store.types import FutureRevision, Revision, StoreError

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.apiserver.objects import Objects
    from carob.apiserver.watch_cache import Entry
    from carob.base.clock import Clock

INTERVAL_SECONDS = 300.0
EVENT_SECONDS = 3600.0
# From the start until what was loaded is packed, so many objects (a millisecond) every so often.
PACK_AFTER_SECONDS = 10.0
PACK_OBJECTS = 50
PACK_PAUSE_SECONDS = 0.01
# Deletions that are under way at a time: they share commits.
DELETIONS_AT_ONCE = 64

_log = get_logger("apiserver.housekeeping")


class _Series(msgspec.Struct):
    at: str | None = msgspec.field(default=None, name="lastObservedTime")


class _Metadata(msgspec.Struct):
    created: str | None = msgspec.field(default=None, name="creationTimestamp")


class _Event(msgspec.Struct):
    metadata: _Metadata
    last: str | None = msgspec.field(default=None, name="lastTimestamp")
    first: str | None = msgspec.field(default=None, name="eventTime")
    series: _Series | None = None


_decode = msgspec.json.Decoder(_Event).decode


def last_seen(entry: Entry) -> float:
    """Seconds since 1970 of an Event's last occurrence; 0 if it says nothing."""
    event = _decode(b"{" + entry.tail)
    times = (event.metadata.created, event.last, event.first, event.series.at if event.series is not None else None)
    return max((parse_rfc3339(text) for text in times if text), default=0.0)


class Housekeeping:
    """The one periodic task of the engine."""

    def __init__(self, objects: Objects, events: Resource, clock: Clock) -> None:
        self._objects = objects
        self._events = events
        self._clock = clock
        self._forget_before = Revision(0)

    async def run(self) -> None:
        """Until cancelled."""
        self._forget_before = self._objects.store.revision
        await self._clock.sleep(PACK_AFTER_SECONDS)
        while self._objects.pack_loaded(PACK_OBJECTS):
            await self._clock.sleep(PACK_PAUSE_SECONDS)
        while True:
            await self._clock.sleep(INTERVAL_SECONDS)
            await self.compact()
            await self.expire_events()

    async def compact(self) -> None:
        """Forget what was history at the last turn already: watches can go back at least one interval."""
        store = self._objects.store
        before, self._forget_before = self._forget_before, store.revision
        if before <= store.compacted_revision:
            return
        try:
            await store.compact(before)
        except (StoreError, FutureRevision) as error:
            _log.warning("history could not be compacted: %s", error)

    async def expire_events(self) -> None:
        """Delete the Events that are older than an hour."""
        deadline = self._clock.now() - EVENT_SECONDS
        old = [entry for entry in self._objects.cache(self._events).entries() if last_seen(entry) < deadline]
        for at in range(0, len(old), DELETIONS_AT_ONCE):
            part = old[at : at + DELETIONS_AT_ONCE]
            await asyncio.gather(*(self._delete(entry) for entry in part))

    async def _delete(self, entry: Entry) -> None:
        try:
            await self._objects.delete(self._events, entry)
        except ApiError as error:
            # renewed or deleted meanwhile; a full disk is the next turn's affair
            _log.debug("event %s/%s stays: %s", entry.namespace, entry.name, error.message)

"""WATCH: initial state where asked for, then every change behind a revision, in order and without gaps.

The way of one watch: what happened behind its resourceVersion (from the ring of recent changes, or from the store's
history), then the group of watchers that want the same. Large initial states are sent with back-pressure before the
watch joins its group.

Source: API concepts, "Efficient detection of changes", "Watch bookmarks", "Streaming lists" (KEP-3157).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from carob.api.status import gone
from carob.apiserver import keys, list_options
from carob.apiserver.encodings import BINARY, framed, unframed
from carob.apiserver.fan_out import ADDED, Group, Watcher
from carob.apiserver.handlers.freshness import wait_until
from carob.apiserver.handlers.get import form_of
from carob.apiserver.handlers.selection import Selection, select
from carob.apiserver.negotiation import PARTIAL_LIST, not_acceptable
from carob.apiserver.presenters import include_of
from carob.apiserver.watch_cache import Change
from carob.store.types import Compacted, FutureRevision, Revision
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from carob.apiserver.deadlines import Appointment
    from carob.apiserver.fan_out import FanOut
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.list_options import ListOptions
    from carob.apiserver.presenters import Presenter
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry, ResourceCache
    from carob.store.types import Event
    from carob.transport.http import Request, Sink

BOOKMARK_SECONDS = 60.0
BOOKMARK_BEFORE_END_SECONDS = 2.0
# A watch without a timeout ends after half an hour to an hour, spread so that clients do not come back all at once.
SHORTEST_DEFAULT_SECONDS = 1800
# Above this an initial state is sent piece by piece.
INITIAL_BYTES = 512 << 10
INITIAL_SEGMENT_EVENTS = 128


def watch(backend: Backend, info: RequestInfo, request: Request) -> Response | Awaitable[Response]:
    """A stream of changes. Raises: ApiError 400, 406, 422, 504."""
    row = info.resource
    assert row is not None
    options = list_options.parse(info, watch=True)
    form = form_of(info, request, watch=True)
    if form.kind == PARTIAL_LIST:
        raise not_acceptable()
    objects = backend.objects
    stored = objects.stored_row(row)
    fields = options.field_selector
    if info.name:  # /api/v1/watch/…/name: the old form of a watch of one object
        fields = f"{fields},metadata.name={info.name}" if fields else f"metadata.name={info.name}"
    selection = select(row, stored, info.namespace, options.label_selector, fields)
    include = include_of(info.first("includeObject")) if form.kind else "Metadata"
    stream = _Stream(backend, info, options, selection, backend.presenters.get(form, row, stored, include))
    if request.wants_websocket:
        return _over_websocket(request, form.media, stream.response())
    return stream.response()


async def _over_websocket(request: Request, media: str, answer: Response | Awaitable[Response]) -> Response:
    from carob.transport.websocket_sink import told_in_messages

    begun = answer if isinstance(answer, Response) else await answer
    if media in BINARY:
        return told_in_messages(request, begun, lambda data: unframed(media, data), text=False)
    return told_in_messages(request, begun)


class _Stream:
    """One watch from its request to the moment when it has joined its group."""

    def __init__(
        self, backend: Backend, info: RequestInfo, options: ListOptions, selection: Selection, presenter: Presenter
    ) -> None:
        assert info.resource is not None
        self._backend = backend
        self._options = options
        self._selection = selection
        self._presenter = presenter
        self._cache: ResourceCache = backend.objects.cache(info.resource)
        self._fan: FanOut = backend.objects.fan(info.resource)
        self._history: list[Change] = []

    def response(self) -> Response | Awaitable[Response]:
        """The answer's head; everything else happens when the stream is there."""
        options, now = self._options, self._backend.objects.revision
        revision = options.revision or 0
        self._initial = options.send_initial_events is True or (
            revision == 0 and options.send_initial_events is not False
        )
        self._from = now if revision == 0 else revision
        if self._initial and revision > now:
            return self._when_fresh(revision)
        if not self._initial and revision and revision < self._cache.ring.floor:
            return self._with_history(revision)
        return self._streaming()

    def _streaming(self) -> Response:
        return Response(200, content_type=self._presenter.form.stream_media, stream=self._begin)

    async def _when_fresh(self, revision: int) -> Response:
        await wait_until(self._backend, revision)
        return self._streaming()

    async def _with_history(self, revision: int) -> Response:
        """Fetch what the ring has forgotten."""
        collected: list[Event] = []
        prefix = keys.prefix(self._cache.row, self._selection.namespace)
        store = self._backend.objects.store
        until = self._backend.objects.revision
        try:
            subscription = await store.watch(prefix, Revision(revision), collected.extend)
        except Compacted:
            message = f"too old resource version: {revision} ({store.compacted_revision})"
            error = gone(message)
            form = self._presenter.form
            return Response(
                200, content_type=form.stream_media, stream=lambda sink: _refuse(sink, form.media, error.status())
            )
        except FutureRevision:
            return self._streaming()
        subscription.close()
        for event in collected:
            if event.revision <= until:
                self._history.append(self._change(event))
        self._from = until
        return self._streaming()

    def _change(self, event: Event) -> Change:
        place = keys.split(event.key)
        assert place is not None
        namespace, name = place[2], place[3]
        old = self._cache.entry(namespace, name, event.previous, event.revision) if event.previous else None
        if event.value is None:
            assert old is not None
            return Change(event.revision, old, old, deleted=True)
        return Change(
            event.revision, old, self._cache.entry(namespace, name, event.value, event.revision), deleted=False
        )

    # -- the stream ------------------------------------------------------------------------------------------------

    def _begin(self, sink: Sink) -> None:
        self._fan.flush()
        self._watcher = Watcher(sink, self._from)
        self._schedule(sink)
        if not self._initial:
            self._send(self._history)
            self._join()
            return
        self._from = self._watcher.start_revision = self._backend.objects.revision
        entries = self._selected()
        if sum(entry.size for entry in entries) <= INITIAL_BYTES:
            self._send_initial(entries)
            self._initial_end()
            self._join()
        else:
            task = self._backend.spawn(self._initial_slowly(entries), "watch-initial")
            sink.on_close(lambda: _cancel(task))

    def _selected(self) -> Sequence[Entry]:
        selection, cache = self._selection, self._cache
        name, matches = selection.name, selection.matches
        if name is not None and (selection.namespace or not cache.row.namespaced):
            entry = cache.get(selection.namespace, name)
            return [entry] if entry is not None and (matches is None or matches(entry)) else []
        entries = cache.entries(selection.namespace)
        return entries if matches is None else [entry for entry in entries if matches(entry)]

    def _send_initial(self, entries: Iterable[Entry]) -> None:
        watcher, event = self._watcher, self._presenter.event
        lines = []
        for entry in entries:
            lines.append(event(ADDED, entry, watcher.fresh))
            watcher.fresh = False
        if lines:
            watcher.sink.write(b"".join(lines))

    async def _initial_slowly(self, entries: Sequence[Entry]) -> None:
        sink = self._watcher.sink
        try:
            for at in range(0, len(entries), INITIAL_SEGMENT_EVENTS):
                self._send_initial(entries[at : at + INITIAL_SEGMENT_EVENTS])
                await sink.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            return
        self._initial_end()
        self._fan.flush()
        self._join()

    def _initial_end(self) -> None:
        if self._options.send_initial_events and self._options.allow_bookmarks:
            self._watcher.sink.write(self._presenter.bookmark(self._from, initial_end=True))

    def _send(self, changes: Iterable[Change]) -> None:
        group, watcher = self._group(), self._watcher
        lines = []
        for change in changes:
            line = group.line(change, watcher.fresh and self._presenter.headers_first)
            if line is not None:
                lines.append(line)
                watcher.fresh = False
        if lines:
            watcher.sink.write(b"".join(lines))

    def _group(self) -> Group:
        selection, after = self._selection, self._from
        ahead = after if after > self._backend.objects.revision else 0
        key = (*selection.key, id(self._presenter), ahead)
        return Group(key, selection.namespace, selection.matches, self._presenter, ahead)

    def _join(self) -> None:
        """Catch up with what has happened meanwhile, and hear the rest with the others."""
        missed = self._cache.ring.after(self._from)
        if missed is None:
            self._watcher.sink.abort()  # too slow for the ring: the client comes back
            return
        self._send(self._of_namespace(missed))
        self._fan.join(self._watcher, self._group(), self._selection.exact(self._cache.row))

    def _of_namespace(self, changes: Iterable[Change]) -> Iterable[Change]:
        namespace = self._selection.namespace
        return (change for change in changes if not namespace or change.new.namespace == namespace)

    # -- its end and its bookmarks ---------------------------------------------------------------------------------

    def _schedule(self, sink: Sink) -> None:
        backend, options = self._backend, self._options
        now = backend.clock.monotonic()
        seconds = options.timeout_seconds
        if not seconds or seconds < 0:
            share = int.from_bytes(backend.randomness.token(2), "big") / 65536
            seconds = SHORTEST_DEFAULT_SECONDS * (1 + share)
        self._ends_at = now + seconds
        self._appointments = [backend.deadlines.at(self._ends_at, self._end)]
        if options.allow_bookmarks:
            self._appointments.append(self._next_bookmark(now))
        sink.on_close(self._closed)

    def _closed(self) -> None:
        for appointment in self._appointments:
            appointment.cancel()

    def _end(self) -> None:
        self._fan.flush()
        self._watcher.sink.close()

    def _next_bookmark(self, now: float) -> Appointment:
        before_end = self._ends_at - BOOKMARK_BEFORE_END_SECONDS
        at = min(now + BOOKMARK_SECONDS, before_end) if before_end > now else now + BOOKMARK_SECONDS
        return self._backend.deadlines.at(at, self._bookmark)

    def _bookmark(self) -> None:
        watcher, revision = self._watcher, self._backend.objects.revision
        if watcher.group is not None and revision > watcher.start_revision:
            self._fan.flush()
            watcher.sink.write(self._presenter.bookmark(revision, initial_end=False))
        self._appointments[-1] = self._next_bookmark(self._backend.clock.monotonic())


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _refuse(sink: Sink, media: str, status: dict[str, Any]) -> None:
    """An ERROR event instead of a stream: the head has been sent already."""
    event = {"type": "ERROR", "object": status}
    sink.write(framed(media, event) if media in BINARY else orjson.dumps(event) + b"\n")
    sink.close()

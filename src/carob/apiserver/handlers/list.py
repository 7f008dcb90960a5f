"""LIST: from the cache as of now, or from the store as of a past revision; page by page with one consistent snapshot.

Source: the resourceVersion table of the API concepts documentation; `storage.DecodeContinue`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.status import ApiError, bad_request, gone
from carob.apiserver import keys, list_options
from carob.apiserver.handlers.freshness import too_large, wait_until
from carob.apiserver.handlers.get import form_of
from carob.apiserver.handlers.selection import Selection, select
from carob.apiserver.presenters import check_list, include_of, list_response
from carob.store.types import Compacted, FutureRevision, Revision

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.list_options import ListOptions
    from carob.apiserver.presenters import Presenter
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry, ResourceCache
    from carob.transport.http import Request, Response

STORE_PAGE_KEYS = 1000

_EXPIRED_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
_EXPIRED_REVISION = "The resourceVersion for the provided list is too old."


class Listed(Struct):
    """A page: `start` names the last object looked at when more follow; `remaining` is None when it is not known."""

    entries: Sequence[Entry]
    revision: int
    start: str = ""
    remaining: int | None = None

    def metadata(self) -> bytes:
        """The ListMeta of the answer."""
        more = b""
        if self.start:
            more = b',"continue":"%b"' % list_options.encode_continue(self.revision, self.start).encode()
            if self.remaining is not None:
                more += b',"remainingItemCount":%d' % self.remaining
        return b'{"resourceVersion":"%d"%b}' % (self.revision, more)


def list_objects(backend: Backend, info: RequestInfo, request: Request) -> Response | Awaitable[Response]:
    """A list. Raises: ApiError 400, 406, 410, 422, 504."""
    row = info.resource
    assert row is not None
    options = list_options.parse(info, watch=False)
    form = form_of(info, request)
    check_list(form)
    stored = backend.objects.stored_row(row)
    presenter = backend.presenters.get(
        form, row, stored, include_of(info.first("includeObject")) if form.kind else "Metadata"
    )
    selection = select(row, stored, info.namespace, options.label_selector, options.field_selector)
    listed = find(backend, info, options, selection)
    if isinstance(listed, Listed):
        turn = presenter.turn_bytes
        if turn and sum(entry.size for entry in listed.entries) > turn:
            return _in_slices(presenter, listed)
        return list_response(presenter, listed.entries, listed.metadata())

    async def later() -> Response:
        return await _in_slices(presenter, await listed)

    return later()


async def _in_slices(presenter: Presenter, listed: Listed) -> Response:
    """Make the items of a long list in slices, so that other requests have their turns."""
    items: list[bytes] = []
    for part in _turns(listed.entries, presenter.turn_bytes):
        items += presenter.items(part)
        if presenter.turn_bytes:
            await asyncio.sleep(0)
    return list_response(presenter, listed.entries, listed.metadata(), items)


def _turns(entries: Sequence[Entry], turn_bytes: int) -> Iterator[Sequence[Entry]]:
    """The entries in parts of about so many bytes; 0: all of them."""
    start = size = 0
    for at, entry in enumerate(entries):
        size += entry.size
        if size >= turn_bytes > 0:
            yield entries[start : at + 1]
            start, size = at + 1, 0
    if start < len(entries):
        yield entries[start:]


def find(backend: Backend, info: RequestInfo, options: ListOptions, selection: Selection) -> Listed | Awaitable[Listed]:
    """The objects that a list is about; awaitable where the store must be asked, or a revision waited for."""
    assert info.resource is not None
    cache = backend.objects.cache(info.resource)
    now = backend.objects.revision
    limit = max(options.limit, 0)
    # what the cache still knows of the time before is as far away as the rest: whether a token has expired must not
    # hang on who wrote meanwhile
    compacted = backend.objects.store.compacted_revision
    if options.continue_:
        revision, start = list_options.decode_continue(options.continue_)
        if options.revision:
            raise bad_request("specifying resource version is not allowed when using continue")
        if revision < 0 or max(cache.revision, compacted) <= revision <= now:
            return _page(cache, selection, start, limit, revision if revision > 0 else now)
        recent = _recent(cache, selection, start, limit, revision) if compacted <= revision < now else None
        return recent or _past(backend, cache, selection, start, limit, revision, expired_token=True)
    revision = options.revision or 0
    exact = options.match == list_options.EXACT or (limit > 0 and not options.match and revision > 0)
    if revision > now:
        return _when_fresh(backend, cache, selection, limit, revision, exact)
    if exact and max(cache.revision, compacted) > revision:
        return _past(backend, cache, selection, "", limit, revision, expired_token=False)
    if options.revision == 0:
        limit = 0  # "any version will do" comes whole, as from upstream's watch cache
    return _page(cache, selection, "", limit, revision if exact else now)


async def _when_fresh(
    backend: Backend, cache: ResourceCache, selection: Selection, limit: int, revision: int, exact: bool
) -> Listed:
    await wait_until(backend, revision)
    if exact and cache.revision > revision:
        return await _past(backend, cache, selection, "", limit, revision, expired_token=False)
    return _page(cache, selection, "", limit, revision if exact else backend.objects.revision)


def _page(cache: ResourceCache, selection: Selection, start: str, limit: int, revision: int) -> Listed:
    matches = selection.matches
    name = selection.name
    if name is not None and (selection.namespace or not cache.row.namespaced) and not start:
        entry = cache.get(selection.namespace, name)
        return Listed([entry] if entry is not None and (matches is None or matches(entry)) else [], revision)
    if not limit and not start:
        entries = cache.entries(selection.namespace)
        return Listed(entries if matches is None else [entry for entry in entries if matches(entry)], revision)
    return _listed(cache, selection, revision, cache.page(selection.namespace, start, limit, matches))


def _recent(cache: ResourceCache, selection: Selection, start: str, limit: int, revision: int) -> Listed | None:
    """A page as of a revision that few changes have followed, as happens to long lists of what is written to; or None."""
    page = cache.page_as_of(revision, selection.namespace, start, limit, selection.matches)
    return _listed(cache, selection, revision, page) if page is not None else None


def _listed(
    cache: ResourceCache, selection: Selection, revision: int, page: tuple[list[Entry], Entry | None, int]
) -> Listed:
    found, last, remaining = page
    if last is None:
        return Listed(found, revision)
    return Listed(found, revision, _relative(cache, selection, last), None if selection.matches else remaining)


def _relative(cache: ResourceCache, selection: Selection, entry: Entry) -> str:
    """An object's key behind the collection's prefix."""
    whole = not selection.namespace and cache.row.namespaced
    return f"{entry.namespace}/{entry.name}" if whole else entry.name


async def _past(
    backend: Backend,
    cache: ResourceCache,
    selection: Selection,
    start: str,
    limit: int,
    revision: int,
    *,
    expired_token: bool,
) -> Listed:
    """A page as of a revision that the cache has left behind."""
    prefix = keys.prefix(cache.row, selection.namespace)
    after = prefix + start.removesuffix("\0") if start else ""
    found: list[Entry] = []
    matches = selection.matches
    while True:
        count = min(limit - len(found), STORE_PAGE_KEYS) if limit else STORE_PAGE_KEYS
        try:
            page = await backend.objects.store.list(prefix, start_after=after, limit=count, revision=Revision(revision))
        except Compacted:
            raise (_Expired(start) if expired_token else gone(_EXPIRED_REVISION)) from None
        except FutureRevision as error:
            raise too_large(revision, error.current) from None
        for item in page.items:
            place = keys.split(item.key)
            assert place is not None
            entry = cache.entry(place[2], place[3], item.value, item.mod_revision)
            if matches is None or matches(entry):
                found.append(entry)
        if not page.more:
            return Listed(found, revision)
        after = page.items[-1].key
        if limit and len(found) >= limit:
            remaining = page.remaining if matches is None else None
            return Listed(found, revision, after.removeprefix(prefix), remaining)


class _Expired(ApiError):
    """410 for a continue token whose snapshot is gone, with a token that goes on with the present state."""

    def __init__(self, start: str) -> None:
        super().__init__(410, "Expired", _EXPIRED_TOKEN)
        self._start = start.removesuffix("\0")

    def status(self) -> dict[str, object]:
        """The Status with the fresh token in its metadata."""
        out = super().status()
        out["metadata"] = {"continue": list_options.encode_continue(-1, self._start)}
        return out

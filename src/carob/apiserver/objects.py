"""Objects as Structs: reading them from the cache, writing them to the store.

`Objects` is what the handlers share. Reads are synchronous (everything is in the cache); a write resolves once it is
durable and the cache has it, so a writer reads its own write.

Invariant: a Struct handed out by `read` is shared and never changed; who wants to change one takes a `fresh` copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.scalars import NOTHING
from carob.api.status import already_exists, conflict, not_found, unavailable
from carob.apiserver import keys
from carob.apiserver.conversion import convert_object
from carob.apiserver.fan_out import FanOut
from carob.apiserver.watch_cache import Entry, Recent, ResourceCache
from carob.base.log import get_logger
from carob.store.types import KeyExists, KeyMissing, Revision, RevisionMismatch, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from carob.api.resources import Resource, ResourceTable
    from carob.apiserver.watch_cache import Change
    from carob.store.types import Event, KeyValue, Store, Watch

_log = get_logger("apiserver")

# Decoded objects that are kept for admission and authorization while they do not change.
MAX_MEMO = 4096

LOAD_PAGE_KEYS = 2000


class Objects:
    """The cache of every resource, kept in step with the store."""

    def __init__(self, store: Store, table: ResourceTable) -> None:
        self.store = store
        self.table = table
        self.revision = 0
        """The newest revision that the caches show."""
        self._caches: dict[tuple[str, str], ResourceCache] = {}
        self._recent = Recent()
        self._fans: dict[tuple[str, str], FanOut] = {}
        self._memo: dict[Entry, Any] = {}
        self._listeners: dict[tuple[str, str], list[Callable[[str, str], None]]] = {}
        self._waiters: list[tuple[int, Callable[[], None]]] = []
        self._watch: Watch | None = None

    # -- following the store ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load everything and follow the store from there. Raises: StoreError."""
        start, revision = "", Revision(0)
        while True:
            page = await self.store.list(keys.ROOT, start_after=start, limit=LOAD_PAGE_KEYS, revision=revision)
            revision = page.revision
            for item in page.items:
                found = self._place(item.key)
                if found is not None:
                    self._load(*found, item)
            if not page.more:
                break
            start = page.items[-1].key
        self.revision = revision
        for cache in self._caches.values():
            cache.ring.floor = cache.revision = revision
        self._watch = await self.store.watch(keys.ROOT, revision, self._deliver)

    @staticmethod
    def _load(cache: ResourceCache, namespace: str, name: str, item: KeyValue) -> None:
        try:
            cache.load(namespace, name, item.value, item.mod_revision)
        except ValueError:
            _log.exception("%s cannot be read and is not served", item.key)

    def pack_loaded(self, most: int) -> bool:
        """Pack some of what was loaded at the start; whether more of it is left."""
        return any(cache.pack_loaded(most) for cache in self._caches.values())

    async def close(self) -> None:
        """Follow no longer and end every watch."""
        if self._watch is not None:
            self._watch.close()
        for fan in self._fans.values():
            fan.close()

    def _place(self, key: str) -> tuple[ResourceCache, str, str] | None:
        found = keys.split(key)
        if found is None:
            return None
        group, plural, namespace, name = found
        cache = self._caches.get((group, plural))
        if cache is None:
            row = next((r for r in self.table if r.group == group and r.plural == plural and r.stored), None)
            if row is None:
                return None
            cache = self.cache(row)
        return cache, namespace, name

    def _deliver(self, events: Sequence[Event]) -> None:
        """Take in committed writes: first every cache, then watchers, then listeners, so that all see one state."""
        changes: dict[tuple[str, str], list[Change]] = {}
        for event in events:
            change = self._taken_in(event)
            if change is not None:
                place, made = change
                changes.setdefault(place, []).append(made)
        self.revision = events[-1].revision
        for place, several in changes.items():
            fan = self._fans.get(place)
            if fan is not None:
                fan.publish(several)
            for listener in self._listeners.get(place, ()):
                for one in several:
                    self._tell(listener, one)
        if self._waiters:
            due = [call for revision, call in self._waiters if revision <= self.revision]
            self._waiters = [waiter for waiter in self._waiters if waiter[0] > self.revision]
            for call in due:
                call()

    def _taken_in(self, event: Event) -> tuple[tuple[str, str], Change] | None:
        found = self._place(event.key)
        if found is None:
            return None
        cache, namespace, name = found
        try:
            change = cache.apply(namespace, name, event.value, event.revision)
        except ValueError:
            # whoever wrote this was no carob of this version; the others' writes must still be seen
            _log.exception("%s cannot be read and is not served", event.key)
            return None
        if change is None:
            return None
        if change.old is not None:
            self._memo.pop(change.old, None)
        return (cache.row.group, cache.row.plural), change

    @staticmethod
    def _tell(listener: Callable[[str, str], None], change: Change) -> None:
        try:
            listener(change.new.namespace, change.new.name)
        except Exception:  # noqa: BLE001 - one listener's mistake must not hide the change from the others
            _log.exception("a listener raised at %s/%s", change.new.namespace, change.new.name)

    def when_at(self, revision: int, call: Callable[[], None]) -> Callable[[], None]:
        """Call once the caches show `revision`; the answer takes the wish back."""
        waiter = (revision, call)
        self._waiters.append(waiter)

        def forget() -> None:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

        return forget

    # -- reading ---------------------------------------------------------------------------------------------------

    def stored_row(self, row: Resource) -> Resource:
        """The row in whose form the objects of `row` are kept."""
        return keys.storage_row(self.table, row)

    def cache(self, row: Resource) -> ResourceCache:
        """The cache that holds the objects of a row."""
        stored = self.stored_row(row)
        place = (stored.group, stored.plural)
        cache = self._caches.get(place)
        if cache is None:
            cache = self._caches[place] = ResourceCache(stored, self.revision, self._recent)
        return cache

    def counts(self) -> list[tuple[str, str, int]]:
        """Group, plural and how many there are, of every resource that was ever looked at."""
        return [(group, plural, cache.count()) for (group, plural), cache in sorted(self._caches.items())]

    def fan(self, row: Resource) -> FanOut:
        """The watchers of a row's objects."""
        stored = self.stored_row(row)
        place = (stored.group, stored.plural)
        fan = self._fans.get(place)
        if fan is None:
            fan = self._fans[place] = FanOut()
        return fan

    def fresh(self, row: Resource, entry: Entry) -> Any:
        """A Struct of `row` that nobody else has."""
        cache = self.cache(row)
        obj = codec.decode(cache.row.struct, cache.head + entry.tail)
        return convert_object(obj, cache.row, row)

    def read(self, row: Resource, entry: Entry) -> Any:
        """The Struct of an entry, shared: never change it."""
        if row is not self.cache(row).row:
            return self.fresh(row, entry)
        obj = self._memo.get(entry)
        if obj is None:
            if len(self._memo) >= MAX_MEMO:
                for old in [known for known, _ in zip(self._memo, range(MAX_MEMO // 4), strict=False)]:
                    del self._memo[old]
            obj = self._memo[entry] = self.fresh(row, entry)
            owners = obj.metadata.managed_fields
            if owners is not NOTHING:
                # bytes that are a part of others keep those alive
                obj.metadata.managed_fields = owners.copy()
        return obj

    def get(self, resource: Resource, namespace: str, name: str) -> Any | None:
        """The Struct of one object, not to be changed; None if there is none."""
        entry = self.cache(resource).get(namespace, name)
        return None if entry is None else self.read(resource, entry)

    def list(self, resource: Resource, namespace: str = "") -> list[Any]:
        """The Structs of a namespace, or of all, not to be changed."""
        return [self.read(resource, entry) for entry in self.cache(resource).entries(namespace)]

    def placed(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """The key of every object, with the group and plural of its kind."""
        for place, cache in self._caches.items():
            for entry in cache.entries():
                yield keys.key(cache.row, entry.namespace, entry.name), place

    def compare(self, key: str, value: bytes | None) -> tuple[Revision, bool]:
        """When an object was last written (0: there is none), and whether it is `value` (None: nothing) already."""
        found = self._place(key)
        entry = found[0].get(found[1], found[2]) if found is not None else None
        if found is None or entry is None:
            return Revision(0), value is None
        return Revision(entry.revision), value is not None and found[0].tail(value, entry.revision) == entry.tail

    def on_change(self, resource: Resource, callback: Callable[[str, str], None]) -> None:
        """Call `callback(namespace, name)` after every change of a resource's objects; it must not wait."""
        stored = self.stored_row(resource)
        self._listeners.setdefault((stored.group, stored.plural), []).append(callback)

    # -- writing ---------------------------------------------------------------------------------------------------

    def value_of(self, row: Resource, obj: Any) -> bytes:
        """The bytes to store: the stored form, without a resourceVersion."""
        kept, obj.metadata.resource_version = obj.metadata.resource_version, ""
        stored = self.stored_row(row)
        kind = convert_object(obj, row, stored)
        # whatever a client wrote there: these bytes are served as this kind
        kind.kind, kind.api_version = stored.kind, stored.api_version
        value = codec.encode(kind)
        obj.metadata.resource_version = kept
        return value

    def unchanged(self, entry: Entry, value: bytes, row: Resource) -> bool:
        """Whether writing `value` would change nothing."""
        return self.cache(row).tail(value, entry.revision) == entry.tail

    def preview(self, row: Resource, namespace: str, name: str, value: bytes, revision: int) -> Entry:
        """What a write leaves, for answers: no index values. Revision 0 leaves out the resourceVersion."""
        return Entry(namespace, name, self.cache(row).rest(value), revision, {}, ())

    async def _catch_up(self) -> None:
        """Another server was faster: see what it wrote, so that whoever tries again does not try the same."""
        try:
            await self.store.fresh()
        except StoreError as error:
            raise unavailable(str(error)) from error

    async def create(self, row: Resource, namespace: str, name: str, value: bytes) -> Entry:
        """Write a new object. Raises: ApiError 409, 503."""
        try:
            revision = await self.store.create(keys.key(self.stored_row(row), namespace, name), value)
        except KeyExists:
            await self._catch_up()
            raise already_exists(row, name) from None
        except StoreError as error:
            raise unavailable(str(error)) from error
        return self.preview(row, namespace, name, value, revision)

    async def update(self, row: Resource, entry: Entry, value: bytes) -> Entry:
        """Replace what `entry` shows. Raises: ApiError 404, 409 when somebody else was faster, 503."""
        key = keys.key(self.stored_row(row), entry.namespace, entry.name)
        try:
            revision = await self.store.update(key, value, Revision(entry.revision))
        except KeyMissing:
            await self._catch_up()
            raise not_found(row, entry.name) from None
        except RevisionMismatch:
            await self._catch_up()
            raise conflict(row, entry.name) from None
        except StoreError as error:
            raise unavailable(str(error)) from error
        return self.preview(row, entry.namespace, entry.name, value, revision)

    async def delete(self, row: Resource, entry: Entry) -> Entry:
        """Remove what `entry` shows. Raises: ApiError 404, 409 when somebody else was faster, 503."""
        key = keys.key(self.stored_row(row), entry.namespace, entry.name)
        try:
            revision = await self.store.delete(key, Revision(entry.revision))
        except KeyMissing:
            await self._catch_up()
            raise not_found(row, entry.name) from None
        except RevisionMismatch:
            await self._catch_up()
            raise conflict(row, entry.name) from None
        except StoreError as error:
            raise unavailable(str(error)) from error
        return entry.at(revision)

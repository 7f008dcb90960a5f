"""A local copy of one kind's objects that keeps itself up to date: list, watch, resume, list again after 410.

Level-triggered: after whatever happened on the way (server restarts, cut connections, expired versions) the copy
equals the server's state and every difference was told once. Objects in the copy are never changed in place, and
nobody else may change them; `managedFields` are left out of it, because nobody here reads them and they are large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, KeysView
from sys import intern
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from carob.api.resources import resource_of
from carob.api.scalars import NOTHING
from carob.api.status import ApiError
from carob.base.ids import SystemRandomness
from carob.base.log import get_logger
from carob.client.watch import BOOKMARK, DELETED, ERROR

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client

T = TypeVar("T")
Handler = Callable[[str, "T | None", "T | None"], None]

_log = get_logger("informer")

FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 10.0
# small pages stay in the processor's caches while they are decoded: half the CPU of pages of 1,000
PAGE_OBJECTS = 50
# The server ends every watch after this time, spread so that all watches of a process do not end at once.
# Source: client-go Reflector, minWatchTimeout.
WATCH_SECONDS = 300
# A watch that ended sooner than this counts as a failure, so that a server that hangs up at once is not hammered.
SHORT_WATCH_SECONDS = 1.0


def key_of(obj: Any) -> str:
    """`namespace/name`, or `name` for what has no namespace: one text for all informers of a process."""
    metadata = obj.metadata
    return intern(f"{metadata.namespace}/{metadata.name}" if metadata.namespace else str(metadata.name))


def split_key(key: str) -> tuple[str, str]:
    """Namespace (empty for what has none) and name."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


class Informer(Generic[T]):
    """The copy. `run` keeps it; `get`, `items`, `by_index` read it at once; `subscribe` tells of changes."""

    def __init__(
        self,
        client: Client,
        kind: type[T],
        clock: Clock,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        name: str = "",
        randomness: Randomness | None = None,
        longest_delay_seconds: float = LONGEST_DELAY_SECONDS,
    ) -> None:
        self._longest_delay_seconds = longest_delay_seconds
        """At most so long, times the jitter, it waits before it tries again to reach a server that does not answer."""
        self._client = client
        self._kind = kind
        self._clock = clock
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._name = name or resource_of(kind).group_resource
        self._randomness = randomness or SystemRandomness()
        self._items: dict[str, T] = {}
        self._handlers: list[Handler[T]] = []
        self._indexes: dict[str, _Index[T]] = {}
        self._version = ""
        self._synced = asyncio.Event()
        self._failing = False
        self._hurried = asyncio.Event()
        self._returned: Callable[[], None] = _nothing

    @property
    def name(self) -> str:
        """What it watches, for logs."""
        return self._name

    @property
    def synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced.is_set()

    @property
    def version(self) -> int:
        """The server's version that the copy has reached; 0 while there is none to go on from."""
        return int(self._version or 0)

    async def wait_synced(self) -> None:
        """Return when the first list is in."""
        await self._synced.wait()

    def get(self, key: str) -> T | None:
        """The object of a key (`namespace/name`, or `name`)."""
        return self._items.get(key)

    def items(self) -> Iterable[T]:
        """Every object; copy it before anything is awaited."""
        return self._items.values()

    def keys(self) -> KeysView[str]:
        """Every key."""
        return self._items.keys()

    def __len__(self) -> int:
        return len(self._items)

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call `callback` when a server that did not answer answers again."""
        self._returned = callback

    def hurry(self) -> None:
        """Try again now: somebody knows that the server answers again."""
        self._hurried.set()

    def subscribe(self, handler: Handler[T]) -> None:
        """Call `handler(key, old, new)` for every object there is (old None) and for every change from now on.

        `new` None: deleted. Called on the loop; must not block. What it raises is logged and costs nobody else.
        """
        self._handlers.append(handler)
        for key, obj in list(self._items.items()):
            self._call((handler,), key, None, obj)

    def add_index(self, name: str, keys_of: Callable[[T], Iterable[str]]) -> None:
        """Make `by_index(name, value)` find the objects for which `keys_of` yields `value`."""
        index = self._indexes[name] = _Index(keys_of)
        for key, obj in self._items.items():
            index.change(key, None, obj)

    def by_index(self, name: str, value: str) -> list[T]:
        """The objects of one value of an index."""
        found = self._indexes[name].found.get(value)
        return list(found.values()) if found else []

    async def run(self) -> None:
        """Keep the copy until cancelled."""
        delay = FIRST_DELAY_SECONDS
        while True:
            started = self._clock.monotonic()
            worked = await self._attempt()
            lasted = self._clock.monotonic() - started
            if lasted >= LONGEST_DELAY_SECONDS:
                delay = FIRST_DELAY_SECONDS
            if worked and lasted >= SHORT_WATCH_SECONDS:
                continue
            await self._pause(delay * self._jitter())
            delay = min(delay * 2, self._longest_delay_seconds)

    async def _attempt(self) -> bool:
        """List if need be and watch until the watch ends; False if that was a failure."""
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except ApiError as error:
            level = _log.info if error.code == 410 else _log.warning
            level("%s: listing again: %s", self._name, error.message)
            self._version = ""
        except msgspec.DecodeError as error:
            _log.error("%s: listing again: the server sent what is no %s: %s", self._name, self._kind.__name__, error)
            self._version = ""
        except OSError as error:
            self._failing = True
            _log.info("%s: connecting again: %s", self._name, str(error) or type(error).__name__)
        else:
            return True
        return False

    async def _pause(self, seconds: float) -> None:
        self._hurried.clear()
        loop = asyncio.get_running_loop()
        waits: set[asyncio.Task[Any]] = {
            loop.create_task(self._clock.sleep(seconds), name=f"{self._name} waits"),
            loop.create_task(self._hurried.wait(), name=f"{self._name} may hurry"),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _jitter(self) -> float:
        """Between 1 and 2, so that many clients do not come back in step."""
        return 1.0 + self._randomness.token(1)[0] / 256

    async def _list(self) -> None:
        """Page by page, so that others have their turn while many objects are decoded."""
        fresh: set[str] = set()
        continue_ = ""
        while True:
            page = await self._client.list(
                self._kind,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=PAGE_OBJECTS,
                continue_=continue_,
            )
            for obj in page.items:
                key = key_of(obj)
                fresh.add(key)
                self._put(key, obj)
            continue_ = page.continue_
            if not continue_:
                break
            await asyncio.sleep(0)  # a server of this process answers at once
        for key in [key for key in self._items if key not in fresh]:
            self._remove(key)
        self._version = page.resource_version
        self._synced.set()

    async def _watch(self) -> None:
        watch = self._client.watch(
            self._kind,
            self._namespace,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=int(WATCH_SECONDS * self._jitter()),
        )
        async with watch:
            if self._failing:
                self._failing = False
                self._returned()
            async for event in watch:
                obj = event.object
                if isinstance(obj, ApiError):
                    assert event.type == ERROR
                    raise obj
                if event.type == DELETED:
                    self._remove(key_of(obj), obj)
                elif event.type != BOOKMARK:
                    self._put(key_of(obj), obj)
                self._version = event.resource_version

    def _put(self, key: str, obj: T) -> None:
        metadata: Any = obj.metadata  # type: ignore[attr-defined]
        old: Any = self._items.get(key)
        if old is not None and old.metadata.resource_version == metadata.resource_version:
            return
        metadata.managed_fields = NOTHING
        self._items[key] = obj
        if old is not None and old.metadata.uid != metadata.uid:
            # deleted and made anew while nobody looked: two different objects must not look like one change
            self._tell(key, old, None)
            old = None
        self._tell(key, old, obj)

    def _remove(self, key: str, last: T | None = None) -> None:
        old = self._items.pop(key, None)
        if old is not None:
            if last is not None:
                last.metadata.managed_fields = NOTHING  # type: ignore[attr-defined]
            self._tell(key, old, None)

    def _tell(self, key: str, old: T | None, new: T | None) -> None:
        for index in self._indexes.values():
            index.change(key, old, new)
        self._call(self._handlers, key, old, new)

    def _call(self, handlers: Iterable[Handler[T]], key: str, old: T | None, new: T | None) -> None:
        for handler in handlers:
            try:
                handler(key, old, new)
            except Exception:  # noqa: BLE001 - one subscriber's bug must not stop the copy that others rely on
                _log.exception("%s: a handler failed on %s", self._name, key)


def _nothing() -> None:
    """Stands in for a callback."""


class _Index(Generic[T]):
    """Objects by the values that a function finds in them."""

    def __init__(self, keys_of: Callable[[T], Iterable[str]]) -> None:
        self._keys_of = keys_of
        self.found: dict[str, dict[str, T]] = {}

    def change(self, key: str, old: T | None, new: T | None) -> None:
        """Forget `old`, remember `new`."""
        if old is not None:
            for value in self._keys_of(old):
                bucket = self.found.get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del self.found[value]
        if new is not None:
            for value in self._keys_of(new):
                self.found.setdefault(value, {})[key] = new

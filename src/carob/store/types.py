"""The store: a revisioned log of keys and bytes behind a handful of verbs. It knows nothing of kinds or HTTP.

Rules that every implementation keeps, and that `tests/contracts/test_store.py` judges:

- One revision counter for the whole store. Every successful write raises it by exactly one and is one event.
- Durable before visible: a write is on disk before its awaitable resolves and before any watcher hears of it.
- A watcher hears every event after its start revision once, in order of revision, without gaps; the event of a write
  is delivered before the write's own awaitable resolves (embedded stores), so a writer reads its own write.
- Writes are compare-and-swap: the revision that the caller saw is part of the call. Two writers of one key never both
  win, also while the first one's commit is still on its way to the disk.
- History is kept until compaction; reading or watching before the compacted revision raises `Compacted`.
- Nothing here makes a clock reading or an id; a failed commit (full disk) raises `StoreError` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, NewType, Protocol

from msgspec import Struct

Revision = NewType("Revision", int)


class KeyValue(NamedTuple):
    """One key as of `mod_revision`, its last write; `create_revision` is the first write since it last did not exist."""

    key: str
    value: bytes
    create_revision: Revision
    mod_revision: Revision


class Event(NamedTuple):
    """One committed write.

    Shape: `value` is None for a deletion; `previous` is the value before, None for a creation. On an event read from
    history `previous` is there as long as it was not compacted.
    """

    revision: Revision
    key: str
    value: bytes | None
    previous: bytes | None
    create_revision: Revision


class Page(Struct, frozen=True):
    """Part of a listing, in key order, as of one revision.

    `more` tells that keys follow the last item; `remaining` counts them.
    """

    items: Sequence[KeyValue]
    revision: Revision
    more: bool = False
    remaining: int = 0


class StoreError(Exception):
    """The store cannot do its work (full disk, no quorum); the write did not happen.

    Where the store is on other machines it may also be unknown whether it did, and the text says so.
    """


class KeyExists(Exception):
    """`create` of a key that exists."""


class KeyMissing(Exception):
    """`update` or `delete` of a key that does not exist."""


class RevisionMismatch(Exception):
    """The key was written since the caller read it; `current` is what is there now."""

    def __init__(self, current: KeyValue) -> None:
        super().__init__(f"{current.key} is at revision {current.mod_revision}")
        self.current = current


class Compacted(Exception):
    """History before `compacted` is gone."""

    def __init__(self, compacted: Revision) -> None:
        super().__init__(f"revisions before {compacted} have been compacted")
        self.compacted = compacted


class FutureRevision(Exception):
    """The revision has not happened yet; `current` is the newest."""

    def __init__(self, current: Revision) -> None:
        super().__init__(f"the store is at revision {current}")
        self.current = current


Deliver = Callable[[Sequence[Event]], None]
"""Takes a batch of events on the event loop; must not block, must not raise."""


class Watch(Protocol):
    """A running subscription."""

    def close(self) -> None:
        """No event is delivered after this returns; idempotent."""
        ...


class Store(Protocol):
    """Used from one event loop. Every awaitable may be cancelled; a cancelled write may still happen."""

    @property
    def shared(self) -> bool:
        """Whether other processes write to it too: then watchers hear of others' writes later than those do."""
        ...

    async def fresh(self) -> None:
        """Return once watchers have heard of every write that was acknowledged, to whomever, before this call.

        Raises: StoreError.
        """
        ...

    @property
    def revision(self) -> Revision:
        """The newest committed revision."""
        ...

    @property
    def compacted_revision(self) -> Revision:
        """History before this is gone; 0 if nothing was compacted."""
        ...

    async def lost(self) -> None:
        """Return never. Raises: StoreError once watchers can no longer be told of every write."""
        ...

    def create(self, key: str, value: bytes) -> Awaitable[Revision]:
        """Write a new key. Raises: KeyExists, StoreError."""
        ...

    def update(self, key: str, value: bytes, expected: Revision) -> Awaitable[Revision]:
        """Write a key that was last written at `expected`. Raises: KeyMissing, RevisionMismatch, StoreError."""
        ...

    def delete(self, key: str, expected: Revision) -> Awaitable[Revision]:
        """Remove a key that was last written at `expected`. Raises: KeyMissing, RevisionMismatch, StoreError."""
        ...

    async def get(self, key: str, revision: Revision = Revision(0)) -> KeyValue | None:
        """The key as of `revision` (0: now). Raises: Compacted, FutureRevision."""
        ...

    async def list(
        self, prefix: str, *, start_after: str = "", limit: int = 0, revision: Revision = Revision(0)
    ) -> Page:
        """Keys that begin with `prefix` and sort behind `start_after`, as of `revision` (0: now; limit 0: all).

        Raises: Compacted, FutureRevision.
        """
        ...

    async def watch(self, prefix: str, after: Revision, deliver: Deliver) -> Watch:
        """Deliver every event of `prefix` with a revision greater than `after`, first the history, then as it happens.

        Raises: Compacted, FutureRevision.
        """
        ...

    async def compact(self, revision: Revision) -> None:
        """Forget history before `revision`; every key's newest value stays. Raises: FutureRevision."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of files and connections."""
        ...

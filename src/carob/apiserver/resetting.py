"""Going back to a snapshot while the server runs: `POST /carob/v1/reset` with `{"file": "/path/on/the/server"}`.

What differs from the snapshot is written, with the uids of the snapshot; revisions go on, so every watcher hears of it
and nobody's view goes back in time. What tells who lives now stays as it is: leases, and nodes that are known in both.

Who may: those to whom RBAC gives the path, which is cluster administrators. Differs: upstream has no such thing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import orjson

from carob.api.status import ApiError, bad_request, method_not_supported, unavailable
from carob.apiserver import keys
from carob.store.types import KeyExists, KeyMissing, RevisionMismatch, StoreError
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from carob.apiserver.objects import Objects
    from carob.apiserver.types import RequestInfo
    from carob.store.types import KeyValue
    from carob.transport.http import Request

PATH = "/carob/v1/reset"
NOTHING, MADE, CHANGED, REMOVED = range(4)
# A controller may change an object at the same moment.
TRIES = 8
_LIVING = frozenset((("coordination.k8s.io", "leases"),))
_KEPT = frozenset((("", "nodes"), ("storage.k8s.io", "csinodes")))


class _Order(msgspec.Struct):
    file: str


class Resetting:
    """See the module."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._one = asyncio.Lock()

    async def answer(self, info: RequestInfo, request: Request) -> Response:
        """Carry out one order. Raises: ApiError 400, 405, 503."""
        if request.method != "POST":
            raise method_not_supported(None, info.verb)
        try:
            order = msgspec.json.decode(request.body, type=_Order)
        except msgspec.DecodeError as error:
            raise bad_request(f"the body is not a reset: {error}") from None
        from carob.store import snapshot

        try:
            taken = await asyncio.to_thread(snapshot.read, Path(order.file))
        except StoreError as error:
            raise bad_request(str(error)) from None
        async with self._one:
            made, changed, removed = await self.back_to(taken.items)
        return Response(200, orjson.dumps({"created": made, "updated": changed, "deleted": removed}))

    async def back_to(self, items: Iterable[KeyValue]) -> tuple[int, int, int]:
        """Write what differs; how many keys were created, changed and removed. Raises: ApiError 503."""
        wanted = {item.key: item.value for item in items if _place(item.key) not in _LIVING}
        present = {key: place for key, place in self._objects.placed() if place not in _LIVING}
        writes: list[Awaitable[int]] = []
        for key, value in wanted.items():
            if not (key in present and _place(key) in _KEPT):
                writes.append(self._write(key, value))
        for key, place in present.items():
            if key not in wanted and place not in _KEPT:
                writes.append(self._write(key, None))
        try:
            outcomes = await asyncio.gather(*writes)
        except StoreError as error:
            raise unavailable(str(error)) from error
        return outcomes.count(MADE), outcomes.count(CHANGED), outcomes.count(REMOVED)

    async def _write(self, key: str, value: bytes | None) -> int:
        """Make one key what it was (None: it was not there)."""
        store = self._objects.store
        for _ in range(TRIES):
            there, same = self._objects.compare(key, value)
            if same:
                return NOTHING
            try:
                if value is None:
                    await store.delete(key, there)
                    return REMOVED
                if there:
                    await store.update(key, value, there)
                    return CHANGED
                await store.create(key, value)
            except (KeyMissing, RevisionMismatch):
                await store.fresh()
                continue
            except KeyExists:
                await store.fresh()
                if self._objects.compare(key, None)[0]:
                    continue
                return NOTHING  # of a kind that is not served: nobody can have changed it
            return MADE
        raise ApiError(409, "Conflict", f"{key} changes too often to be reset")


def _place(key: str) -> tuple[str, str]:
    found = keys.split(key)
    return (found[0], found[1]) if found is not None else ("", "")

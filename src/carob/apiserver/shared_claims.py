"""Claims of values that only one Service may hold, kept in a store that several servers write.

Each claim is a key of its own that is created, never overwritten: of two servers that give out one address at once, one
learns that it was too late. The key stays as long as its Service has the value. A server that dies between the claim
and the Service leaves a claim that nobody uses; after a minute it may be taken over.

Source: upstream's IPAddress objects (KEP-1880) and the bitmap of node ports do the same work.
Differs: the keys are carob's own, and no objects of the API.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from carob.api.status import unavailable
from carob.base.log import get_logger
from carob.store.types import KeyExists, KeyMissing, Revision, RevisionMismatch, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.registry.allocation import Claim
    from carob.store.types import KeyValue

_log = get_logger("apiserver.claims")

STALE_SECONDS = 60.0
# A claim whose Service is just being made or removed elsewhere is looked at again, this often.
TRIES, PAUSE_SECONDS = 40, 0.05


class _Held(msgspec.Struct):
    holder: str = ""
    uid: str = ""
    at: float = 0.0


class SharedClaims:
    """Takes claims and gives them back. `used` says whether a claim's Service is there and has the value."""

    def __init__(self, backend: Backend, used: Callable[[Claim], bool]) -> None:
        self._backend = backend
        self._store = backend.objects.store
        self._used = used

    async def take(self, claims: Iterable[Claim]) -> tuple[list[Claim], bool]:
        """Those that are ours now, with their revisions, and whether that is all. Raises: ApiError 503."""
        asked = list(claims)
        try:
            revisions = await asyncio.gather(*(self._take(claim) for claim in asked))
        except StoreError as error:
            raise unavailable(str(error)) from error
        mine = [claim._replace(revision=at) for claim, at in zip(asked, revisions, strict=True) if at]
        return mine, len(mine) == len(asked)

    async def _take(self, claim: Claim) -> int:
        """The claim's revision; 0 if somebody else has it."""
        clock, store = self._backend.clock, self._store
        value = msgspec.json.encode(_Held(claim.holder, claim.uid, clock.now()))
        for _ in range(TRIES):
            try:
                return await store.create(claim.key, value)
            except KeyExists:
                present = await store.get(claim.key)
            if present is None:
                continue
            held = _held(present)
            await store.fresh()
            mine = (held.holder, held.uid) == (claim.holder, claim.uid)
            if not mine and self._used(claim._replace(holder=held.holder, uid=held.uid)):
                return 0
            if mine or clock.now() - held.at > STALE_SECONDS:
                try:
                    return await store.update(claim.key, value, present.mod_revision)
                except (KeyMissing, RevisionMismatch):
                    continue
            await clock.sleep(PAUSE_SECONDS)
        return 0

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Later, and only what is not used by then."""
        for claim in claims:
            self._backend.spawn(self.give_back_now(claim), f"give back {claim.value}")

    async def give_back_now(self, claim: Claim) -> None:
        """Let others have the value, unless it is used, or was claimed again."""
        store = self._store
        try:
            await store.fresh()
            present = await store.get(claim.key)
            if present is None or self._used(claim):
                return
            held = _held(present)
            if (held.holder, held.uid) == (claim.holder, claim.uid):
                await store.delete(claim.key, Revision(claim.revision) or present.mod_revision)
        except (KeyMissing, RevisionMismatch):
            return  # it was claimed again
        except StoreError as error:
            _log.warning("the claim of %s stays until somebody else wants it: %s", claim.value, error)


def _held(present: KeyValue) -> _Held:
    try:
        return msgspec.json.decode(present.value, type=_Held)
    except msgspec.DecodeError:
        return _Held()  # nobody's, and old

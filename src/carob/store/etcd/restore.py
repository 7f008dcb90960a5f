"""Putting a snapshot into a new etcd so that every key has the revision that it had.

An etcd counts its revisions itself, one a transaction: where the snapshot has gaps (what was overwritten or deleted
since), writes of a key of no meaning fill them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.store.etcd.endpoints import Endpoints, EtcdOptions
from carob.store.etcd.messages import (
    EVERYTHING,
    compaction_request,
    decided,
    put_request,
    range_request,
    ranged,
    write_request,
)
from carob.store.etcd.store import COMPACT, RANGE, TXN
from carob.store.types import StoreError

if TYPE_CHECKING:
    from carob.store.snapshot import Snapshot

FILLER = b"/carob/revision"
PUT = "/etcdserverpb.KV/Put"
AT_ONCE = 64


async def restore(options: EtcdOptions, snapshot: Snapshot) -> None:
    """Write everything. Raises: StoreError when the etcd is not empty, or has counted too far already."""
    endpoints = Endpoints(options)
    try:
        await _restore(endpoints, snapshot)
    finally:
        await endpoints.close()


async def _restore(endpoints: Endpoints, snapshot: Snapshot) -> None:
    found = ranged((await endpoints.call(RANGE, range_request(EVERYTHING, EVERYTHING, limit=1))).data)
    if found.total:
        raise StoreError(f"the etcd is not empty: it holds {found.total} keys; a snapshot needs a new one")
    at = found.revision
    for item in snapshot.items:
        if item.mod_revision <= at:
            raise StoreError(
                f"the etcd is at revision {at}, and the snapshot has a key of revision {item.mod_revision}: resource "
                "versions could not be kept; a snapshot needs a new etcd"
            )
        await _fill(endpoints, item.mod_revision - 1 - at)
        answer = decided((await endpoints.call(TXN, write_request(item.key.encode(), item.value, 0))).data)
        if not answer.succeeded or answer.revision != item.mod_revision:
            raise StoreError("somebody else writes to the etcd; a snapshot needs one of its own")
        at = item.mod_revision
    await _fill(endpoints, snapshot.revision - at)
    await endpoints.call(COMPACT, compaction_request(snapshot.revision))


async def _fill(endpoints: Endpoints, count: int) -> None:
    """Let so many revisions pass. Which of several answers first does not matter."""
    while count > 0:
        step = min(count, AT_ONCE)
        answers = await asyncio.gather(*(endpoints.call(PUT, put_request(FILLER, b"")) for _ in range(step)))
        if any(answer.again for answer in answers):
            raise StoreError(
                "etcd did not answer in time, and revisions may have been counted twice; begin with a new one"
            )
        count -= step

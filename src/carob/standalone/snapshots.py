"""A cluster's state as a file: taken from its store, and put into one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.apiserver import keys
from carob.standalone.stores import database, etcd_options, open_etcd
from carob.store import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from carob.base.layout import Cluster, StoreLayout


def save(cluster: Cluster, file: Path) -> int:
    """Write the present state, also of a running cluster; how many objects. Raises: StoreError."""
    if cluster.store.endpoints:
        taken = asyncio.run(_from_etcd(cluster.store))
    else:
        taken = snapshot.read(database(cluster))
    snapshot.write(file, taken)
    return len(taken.items)


async def _from_etcd(layout: StoreLayout) -> snapshot.Snapshot:
    store = await open_etcd(layout)
    try:
        page = await store.list(keys.ROOT)
        # claims are made again from the Services that have them
        items = [
            item for item in page.items if keys.split(item.key) is not None and not item.key.startswith(keys.CLAIMS)
        ]
        return snapshot.present_of(items, page.revision)
    finally:
        await store.close()


def restore(cluster: Cluster, file: Path) -> int:
    """Put a snapshot into the cluster's store, which nobody uses; how many objects. Raises: StoreError."""
    taken = snapshot.read(file)
    if cluster.store.endpoints:
        asyncio.run(_into_etcd(cluster.store, taken))
    else:
        snapshot.restore(file, database(cluster))
    return len(taken.items)


async def _into_etcd(layout: StoreLayout, taken: snapshot.Snapshot) -> None:
    from carob.store.etcd.restore import restore as write

    await write(etcd_options(layout), taken)

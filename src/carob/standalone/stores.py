"""Opens the store that a cluster's description names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carob.store.sqlite import SqliteStore
from carob.store.types import StoreError

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.base.layout import Cluster, StoreLayout
    from carob.store.etcd.endpoints import EtcdOptions
    from carob.store.etcd.store import EtcdStore
    from carob.store.types import Store


async def open_store(cluster: Cluster, clock: Clock) -> Store:
    """The cluster's store. Raises: StoreError, OSError."""
    if cluster.store.endpoints:
        return await open_etcd(cluster.store)
    cluster.server_dir.mkdir(parents=True, exist_ok=True)
    return SqliteStore(database(cluster), clock)


def database(cluster: Cluster) -> Path:
    """The file of a store on this machine."""
    return cluster.server_dir / "carob.db"


async def open_etcd(layout: StoreLayout) -> EtcdStore:
    """Raises: StoreError when no member answers, or what it needs is not installed."""
    options = etcd_options(layout)
    from carob.store.etcd.store import EtcdStore

    return await EtcdStore.open(options)


def etcd_options(layout: StoreLayout) -> EtcdOptions:
    """Raises: StoreError when what an etcd needs is not installed."""
    try:
        import grpc  # noqa: F401 - the package that may be missing
    except ImportError:
        raise StoreError("a store on etcd needs the package grpcio: pip install 'carob[etcd]'") from None
    from carob.store.etcd.endpoints import EtcdOptions

    files = (Path(name) if name else None for name in (layout.ca_file, layout.certificate_file, layout.key_file))
    return EtcdOptions(tuple(layout.endpoints), *files)

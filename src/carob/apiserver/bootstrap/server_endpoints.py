"""Which of several servers live: the addresses behind the `kubernetes` Service, kept by all of them together.

Each server renews a key of its own; one that has not changed for a while is taken away by whoever notices. Nobody
trusts another machine's clock: what counts is how long we have seen a key unchanged.

Source: kube-apiserver `--endpoint-reconciler-type=lease`, which keeps the same keys for 15 s, renewed every 10 s.
Differs: a silent server is given 25 s, for it is looked at only every 10 s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec
from carob.api.status import ApiError
from carob.apiserver.bootstrap.objects import kubernetes_endpoints
from carob.base.log import get_logger
from carob.store.types import KeyExists, KeyMissing, Revision, RevisionMismatch, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.resources import Resource, ResourceTable
    from carob.apiserver.bootstrap.run import Writer
    from carob.apiserver.options import ApiServerOptions
    from carob.base.clock import Clock
    from carob.store.types import KeyValue, Store

PREFIX = "/registry/masterleases/"
RENEW_SECONDS = 10.0
SILENT_SECONDS = 25.0
LEAVE_SECONDS = 2.0
# All servers write the same; what is still missing after this the next turn finds.
TRIES = 5

_log = get_logger("apiserver.servers")


class ServerEndpoints:
    """This server's part in it."""

    def __init__(
        self, store: Store, writer: Writer, table: ResourceTable, options: ApiServerOptions, clock: Clock
    ) -> None:
        self._store = store
        self._writer = writer
        self._table = table
        self._clock = clock
        self._address = f"{options.advertise_address}:{options.port}"
        self._seen: dict[str, tuple[Revision, float]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(RENEW_SECONDS)
            try:
                await self.renew()
            except (StoreError, ApiError) as error:
                _log.warning("the addresses of the servers were not renewed: %s", error)

    async def renew(self) -> None:
        """Say that we live, and write down who does. Raises: StoreError, ApiError."""
        await self._renew_own()
        await self._write_down(await self._living())

    async def leave(self) -> None:
        """We are about to go: nobody is sent here any more. If that fails, the others find us silent."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                found = await self._store.get(PREFIX + self._address)
                if found is not None:
                    await self._remove(found)
                    await self._store.fresh()
                    await self._write_down(await self._living())
        except (StoreError, ApiError, TimeoutError) as error:
            _log.warning("this server's address stays until others find it silent: %r", error)

    async def _renew_own(self) -> None:
        key, value = PREFIX + self._address, orjson.dumps({"at": self._clock.now()})
        found = await self._store.get(key)
        try:
            if found is None:
                await self._store.create(key, value)
            else:
                await self._store.update(key, value, found.mod_revision)
        except (KeyExists, KeyMissing, RevisionMismatch) as error:
            # somebody thought us dead: the next turn says otherwise
            _log.info("another server wrote our address: %r", error)

    async def _living(self) -> list[tuple[str, int]]:
        now, living = self._clock.monotonic(), []
        for item in (await self._store.list(PREFIX)).items:
            revision, since = self._seen.get(item.key, (Revision(0), now))
            if revision != item.mod_revision:
                since = now
            self._seen[item.key] = item.mod_revision, since
            if now - since > SILENT_SECONDS:
                _log.warning("the server %s is silent and gets no requests any more", item.key.removeprefix(PREFIX))
                await self._remove(item)
                continue
            host, _, port = item.key.removeprefix(PREFIX).rpartition(":")
            living.append((host, int(port)))
        return living

    async def _remove(self, item: KeyValue) -> None:
        self._seen.pop(item.key, None)
        try:
            await self._store.delete(item.key, item.mod_revision)
        except (KeyMissing, RevisionMismatch):
            _log.info("another server was faster with %s", item.key)

    async def _write_down(self, servers: Iterable[tuple[str, int]]) -> None:
        for tree in kubernetes_endpoints(servers):
            row = self._table.by_kind(tree["apiVersion"], tree["kind"])
            assert row is not None
            wanted = codec.from_tree(row.struct, tree)
            metadata = tree["metadata"]
            for _ in range(TRIES):
                if await self._written(row, wanted, metadata["namespace"], metadata["name"]):
                    break

    async def _written(self, row: Resource, wanted: Any, namespace: str, name: str) -> bool:
        """Whether the object says it now; False when somebody else was faster."""
        present = self._writer.reader.get(row, namespace, name)
        try:
            if present is None:
                await self._writer.create_object(row, wanted, namespace)
            elif (new := _changed(present, wanted)) is not None:
                await self._writer.update_object(row, new, namespace)
        except ApiError as error:
            if error.reason not in ("AlreadyExists", "Conflict", "NotFound"):
                raise
            return False
        return True


def _changed(present: Any, wanted: Any) -> Any | None:
    """The object with what is wanted; None if it says that already."""
    old, new = codec.to_tree(present), codec.to_tree(wanted)
    made = old | {key: value for key, value in new.items() if key != "metadata"}
    return None if made == old else codec.from_tree(type(present), made)

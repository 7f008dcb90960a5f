"""Going back to a snapshot while the server runs: what was made since is gone, what was deleted is there again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carob.api.status import ApiError
from carob.api.types import coordination_v1, core_v1, meta_v1, networking_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.store import snapshot
from carob.store.memory import MemoryStore
from carob.transport.memory import MemoryTransport

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
SOMEBODY = UserInfo("somebody", ("system:authenticated",))
PATH = "/carob/v1/reset"


def config_map(name: str, **data: str) -> core_v1.ConfigMap:
    return core_v1.ConfigMap(metadata=meta_v1.ObjectMeta(name=name, namespace="default"), data=data)


def test_what_differs_is_put_back_and_watchers_hear_of_it(tmp_path: Path) -> None:
    async def body() -> None:
        store = MemoryStore()
        api = ApiServer(store, ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()
        client = Client(MemoryTransport(api.handle, ADMIN))
        same = await client.create(config_map("same"))
        gone = await client.create(config_map("gone", a="1"))
        changed = await client.create(config_map("changed", a="1"))
        lease = coordination_v1.Lease(metadata=meta_v1.ObjectMeta(name="alive", namespace="default"))
        await client.create(lease)
        page = await store.list("")
        file = tmp_path / "file"
        snapshot.write(file, snapshot.present_of(page.items, page.revision))

        await client.delete(core_v1.ConfigMap, "gone", "default")
        await client.patch(core_v1.ConfigMap, "changed", "default", patch={"data": {"a": "2"}})
        await client.create(config_map("new"))
        held = await client.patch(
            coordination_v1.Lease, "alive", "default", patch={"spec": {"holderIdentity": "somebody"}}
        )
        listed = await client.list(core_v1.ConfigMap, "default")
        order = b'{"file": "%b"}' % str(file).encode()
        async with client.watch(core_v1.ConfigMap, "default", resource_version=listed.resource_version) as events:
            answer = await client.raw("POST", PATH, body=order)
            assert answer.body == b'{"created":1,"updated":1,"deleted":1}'
            told = {}
            async for event in events:
                assert isinstance(event.object, core_v1.ConfigMap)
                told[event.object.metadata.name] = event.type
                if len(told) == 3:
                    break
        assert told == {"gone": "ADDED", "changed": "MODIFIED", "new": "DELETED"}
        back = await client.get(core_v1.ConfigMap, "gone", "default")
        assert (back.metadata.uid, back.data) == (gone.metadata.uid, {"a": "1"})
        assert int(back.metadata.resource_version) > int(listed.resource_version)
        assert (await client.get(core_v1.ConfigMap, "changed", "default")).data == changed.data
        assert await client.get(core_v1.ConfigMap, "same", "default") == same
        assert await client.get(coordination_v1.Lease, "alive", "default") == held
        # a second time nothing is left to do
        assert (await client.raw("POST", PATH, body=order)).body == b'{"created":0,"updated":0,"deleted":0}'
        await refusals(client, Client(MemoryTransport(api.handle, SOMEBODY)), order)
        await api.close()
        await store.close()

    asyncio.run(body())


async def refusals(client: Client, somebody: Client, order: bytes) -> None:
    assert (await somebody.raw("POST", PATH, body=order)).status == 403
    assert (await client.raw("GET", PATH)).status == 405
    for wrong in (b"", b"{}", b'{"file": 3}', b'{"file": "/nowhere"}', b'{"file": "/etc/passwd"}'):
        assert (await client.raw("POST", PATH, body=wrong)).status == 400


def service(name: str, address: str = "") -> core_v1.Service:
    spec = core_v1.ServiceSpec(cluster_ip=address, ports=[core_v1.ServicePort(port=80)])
    return core_v1.Service(metadata=meta_v1.ObjectMeta(name=name, namespace="default"), spec=spec)


def test_addresses_of_services_are_those_of_the_snapshot(tmp_path: Path) -> None:
    async def body() -> None:
        store = MemoryStore()
        api = ApiServer(store, ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()
        client = Client(MemoryTransport(api.handle, ADMIN))
        await client.create(service("old", "10.43.0.50"))
        page = await store.list("")
        file = tmp_path / "file"
        snapshot.write(file, snapshot.present_of(page.items, page.revision))
        await client.delete(core_v1.Service, "old", "default")
        await client.create(service("new", "10.43.0.51"))
        await client.raw("POST", PATH, body=b'{"file": "%b"}' % str(file).encode())
        # what came since is free again, what is back is taken
        await client.create(service("next", "10.43.0.51"))
        with pytest.raises(ApiError, match="provided IP is already allocated"):
            await client.create(service("thief", "10.43.0.50"))
        await client.delete(core_v1.Service, "old", "default")
        await client.create(service("heir", "10.43.0.50"))
        addresses = await client.list(networking_v1.IPAddress)
        owners = {one.metadata.name: one.spec.parent_ref.name for one in addresses.items if one.spec.parent_ref}
        assert owners["10.43.0.50"] == "heir"
        assert owners["10.43.0.51"] == "next"
        await api.close()

    asyncio.run(body())

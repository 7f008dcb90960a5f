"""The ledger of the quotas: no moment in which something that was admitted is not counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.api.user import UserInfo
from carob.apiserver.admission.quota_ledger import QuotaLedger
from carob.apiserver.admission.resource_quotas import QuotaAdmission
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.types import Attributes, Operation
from carob.base.clock import VirtualClock
from carob.base.tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.api.resources import Resource

CONFIG_MAPS = row("", "v1", "configmaps")
BOB = UserInfo("bob", ("system:authenticated",))


class SlowWriter:
    """Writes a quota's status when it is let, and only then does the reader show it."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()

    async def update_object(self, resource: Resource, obj: Any, namespace: str = "") -> Any:
        self.begun.set()
        await self.may_end.wait()
        self._reader.put(codec.to_tree(obj) | {"apiVersion": "v1", "kind": "ResourceQuota"})
        self.ended.set()


class World:
    def __init__(self, reader: Any, **hard: str) -> None:
        self.reader = reader
        self.writer = SlowWriter(reader)
        status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
        metadata = {"name": "q", "namespace": "a"}
        tree = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata}
        reader.put(tree | {"spec": {"hard": hard}, "status": status})
        self.ledger = QuotaLedger(reader, self.writer, TABLE, VirtualClock(0))
        self.admission = QuotaAdmission(reader, self.ledger)

    def admitted(self, tree: dict[str, Any], old: Any = None) -> bool:
        resource = TABLE.by_kind("v1", tree["kind"])
        assert resource is not None
        obj = codec.from_tree(resource.struct, tree)
        operation = Operation.UPDATE if old is not None else Operation.CREATE
        name = obj.metadata.name
        attributes = Attributes(operation, resource, "a", name, BOB, obj, old=old)
        try:
            self.admission.validate(attributes)
        except ApiError as error:
            if "exceeded quota: q" not in error.message:
                raise
            return False
        return True


def run_with(reader: Any, test: Callable[[World], Awaitable[None]], **hard: str) -> None:
    async def main() -> None:
        world = World(reader, **hard)
        async with TaskGroup() as group:
            counting = group.spawn(world.ledger.run(), "ledger")
            async with asyncio.timeout(30):
                await test(world)
            counting.cancel()

    asyncio.run(main())


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}}


def service(kind: str, version: str) -> dict[str, Any]:
    metadata = {"name": "s", "namespace": "a", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": kind}}


def test_what_came_is_counted_while_the_status_is_being_written(reader: Any) -> None:
    async def test(world: World) -> None:
        assert world.admitted(config_map("one"))
        reader.put(config_map("one") | {"metadata": {"name": "one", "namespace": "a", "resourceVersion": "7"}})
        await world.writer.begun.wait()
        # counted, but not yet said
        assert not world.admitted(config_map("two"))
        world.writer.may_end.set()
        await world.writer.ended.wait()
        assert not world.admitted(config_map("two"))

    run_with(reader, test, configmaps="1")


def test_what_grows_is_counted_before_its_change_is_there(reader: Any) -> None:
    async def test(world: World) -> None:
        old = reader.put(service("ClusterIP", "5"))
        assert world.admitted(service("LoadBalancer", "5"), old)
        await world.writer.begun.wait()
        world.writer.may_end.set()
        await world.writer.ended.wait()
        other = service("LoadBalancer", "") | {"metadata": {"name": "t", "namespace": "a"}}
        assert not world.admitted(other)

    run_with(reader, test, **{"services.loadbalancers": "1", "services": "9"})


def test_what_came_and_went_between_two_counts_gives_its_place_back(reader: Any) -> None:
    async def test(world: World) -> None:
        world.writer.may_end.set()
        # counted before it is there
        assert world.admitted(config_map("one"))
        await world.writer.ended.wait()
        world.writer.ended.clear()
        reader.put(config_map("one"))
        reader.delete(CONFIG_MAPS, "a", "one")
        await world.writer.ended.wait()
        assert world.admitted(config_map("two"))

    run_with(reader, test, configmaps="1")

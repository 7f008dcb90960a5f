"""How the proxy carries changes: what is dirty together goes together, what failed is tried again, ports have one owner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from carob.api import codec
from carob.api.types import core_v1, discovery_v1
from carob.base.clock import SystemClock
from carob.kubelet import service_proxy
from carob.kubelet.service_ports import Place
from carob.kubelet.service_proxy import ServiceProxy
from carob.network.layout import NetworkFailure
from carob.network.services import Backends, Endpoint, ServicePort

EXTERNAL = ServicePort("203.0.113.1", "tcp", 80)


class Copy:
    """As much of an informer as the proxy reads."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.handlers: list[Callable[[str, Any, Any], None]] = []
        self.index: Callable[[Any], Any] = lambda obj: ()

    async def wait_synced(self) -> None:
        pass

    def add_index(self, name: str, keys_of: Callable[[Any], Any]) -> None:
        self.index = keys_of

    def by_index(self, name: str, value: str) -> list[Any]:
        return [obj for obj in self.objects.values() if value in self.index(obj)]

    def get(self, key: str) -> Any:
        return self.objects.get(key)

    def subscribe(self, handler: Callable[[str, Any, Any], None]) -> None:
        self.handlers.append(handler)
        for key, obj in self.objects.items():
            handler(key, None, obj)

    def put(self, key: str, obj: Any) -> None:
        old = self.objects.pop(key, None)
        if obj is not None:
            self.objects[key] = obj
        for handler in self.handlers:
            handler(key, old, obj)


class Table:
    def __init__(self) -> None:
        self.now: dict[ServicePort, Backends] = {ServicePort("10.43.9.9", "tcp", 1): Backends()}
        self.calls = 0
        self.failures = 0
        self.refused = ""
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def ports(self) -> dict[ServicePort, Backends]:
        return dict(self.now)

    def apply(self, changes: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise NetworkFailure("no")
        if any(port.address == self.refused for port in changes):
            raise NetworkFailure("not this one")
        self.calls += 1
        for port, backends in changes.items():
            if backends is None:
                self.now.pop(port, None)
            else:
                self.now[port] = backends
        self._loop.call_soon_threadsafe(self.changed.set)


class Clock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class World:
    def __init__(self) -> None:
        self.services, self.slices, self.table = Copy(), Copy(), Table()
        services: Any = self.services
        slices: Any = self.slices
        place = Place("node-0")
        self.proxy = ServiceProxy(services, slices, self.table, lambda: place, Clock(), spared=["10.43.0.10"])

    async def settled(self) -> None:
        async with asyncio.timeout(30):
            await self.table.changed.wait()
        self.table.changed.clear()


def service(name: str, address: str, **spec: Any) -> core_v1.Service:
    ports = [{"port": 80, "protocol": "TCP"}]
    tree = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports} | spec,
    }
    return codec.from_tree(core_v1.Service, tree)


def slice_of(name: str, *addresses: str) -> discovery_v1.EndpointSlice:
    tree = {
        "metadata": {"name": f"{name}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }
    return codec.from_tree(discovery_v1.EndpointSlice, tree)


def run(test: Callable[[World], Awaitable[None]], prepare: Callable[[World], None] = lambda world: None) -> None:
    async def body() -> None:
        world = World()
        prepare(world)
        task = asyncio.get_running_loop().create_task(world.proxy.run())
        try:
            await world.settled()
            await test(world)
        finally:
            task.cancel()

    asyncio.run(body())


def one_service(world: World) -> None:
    world.services.put("default/web", service("web", "10.43.0.7"))
    world.slices.put("default/web-1", slice_of("web", "10.42.0.2"))
    world.services.put("kube-system/dns", service("dns", "10.43.0.10"))


def test_the_first_transaction_has_everything_and_removes_what_nobody_wants() -> None:
    async def test(world: World) -> None:
        assert world.table.now == {ServicePort("10.43.0.7", "tcp", 80): Backends((Endpoint("10.42.0.2", 8080),))}
        assert world.table.calls == 1
        await world.proxy.wait_programmed()

    run(test, one_service)


def test_changes_of_one_turn_are_one_transaction() -> None:
    async def test(world: World) -> None:
        world.slices.put("default/web-1", slice_of("web", "10.42.0.3"))
        world.slices.put("default/web-1", slice_of("web", "10.42.0.3", "10.42.0.4"))
        world.services.put("default/other", service("other", "10.43.0.8"))
        await world.settled()
        assert world.table.calls == 2
        assert len(world.table.now[ServicePort("10.43.0.7", "tcp", 80)].endpoints) == 2
        world.services.put("default/web", None)
        await world.settled()
        assert list(world.table.now) == [ServicePort("10.43.0.8", "tcp", 80)]

    run(test, one_service)


def test_what_failed_is_tried_again_with_what_came_meanwhile() -> None:
    async def test(world: World) -> None:
        world.table.failures = 2
        world.services.put("default/other", service("other", "10.43.0.8"))
        await world.settled()
        assert ServicePort("10.43.0.8", "tcp", 80) in world.table.now

    run(test, one_service)
    assert service_proxy.RETRY_SECONDS > 0


def test_one_that_is_refused_keeps_no_other_waiting() -> None:
    others = [f"10.43.1.{number}" for number in range(7)]

    def prepare(world: World) -> None:
        world.table.refused = "10.43.1.3"
        for address in others:
            world.services.put(f"default/{address}", service(address, address))

    async def test(world: World) -> None:
        while len(world.table.now) < 6:
            await world.settled()
        world.services.put("default/late", service("late", "10.43.2.1"))
        while ServicePort("10.43.2.1", "tcp", 80) not in world.table.now:
            await world.settled()
        assert ServicePort("10.43.1.3", "tcp", 80) not in world.table.now
        world.table.refused = ""
        while ServicePort("10.43.1.3", "tcp", 80) not in world.table.now:
            await world.settled()

    run(test, prepare)


def test_a_port_that_two_services_want_has_the_first_until_it_goes() -> None:
    def prepare(world: World) -> None:
        for name, address, endpoint in (("a", "10.43.0.7", "10.42.0.2"), ("b", "10.43.0.8", "10.42.0.3")):
            world.services.put(f"default/{name}", service(name, address, externalIPs=["203.0.113.1"]))
            world.slices.put(f"default/{name}-1", slice_of(name, endpoint))

    async def test(world: World) -> None:
        assert world.table.now[EXTERNAL].endpoints == (Endpoint("10.42.0.2", 8080),)
        world.services.put("default/a", None)
        await world.settled()
        assert world.table.now[EXTERNAL].endpoints == (Endpoint("10.42.0.3", 8080),)
        world.services.put("default/b", None)
        await world.settled()
        assert EXTERNAL not in world.table.now

    run(test, prepare)

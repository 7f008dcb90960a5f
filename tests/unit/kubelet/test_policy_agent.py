"""The policies of a node's new Pods hold before their first container begins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from carob.api import codec
from carob.api.types import core_v1, networking_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.kubelet.network_gate import NetworkGate
from carob.kubelet.policy_agent import PolicyAgent
from carob.network.layout import NetworkFailure
from carob.network.policy import PolicyRules
from carob.store.memory import MemoryStore
from carob.transport.memory import MemoryTransport

ADDRESS = "10.42.0.7"


class Table:
    """Remembers what was programmed; refuses while told to."""

    def __init__(self) -> None:
        self.rules = PolicyRules()
        self.times = 0
        self.refuses = False

    def apply(self, wanted: PolicyRules) -> None:
        if self.refuses:
            raise NetworkFailure("no")
        self.rules = wanted
        self.times += 1

    def guarded(self) -> set[str]:
        return {key for name, key in self.rules.elements if name == "egress"}


class World:
    def __init__(self, client: Client, table: Table, agent: PolicyAgent) -> None:
        self.client = client
        self.table = table
        self.agent = agent

    async def policy(self) -> None:
        tree = {"metadata": {"name": "deny", "namespace": "default"}, "spec": {"policyTypes": ["Egress"]}}
        await self.client.create(codec.from_tree(networking_v1.NetworkPolicy, tree))

    async def pod(self, name: str) -> core_v1.Pod:
        spec = {"nodeName": "node-0", "containers": [{"name": "c", "image": "i"}]}
        tree = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
        return await self.client.create(codec.from_tree(core_v1.Pod, tree))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.005)


def in_world(body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = SystemClock()
        api = ApiServer(MemoryStore(), ApiServerOptions(), clock, SystemRandomness())
        await api.start()
        client = Client(MemoryTransport(api.handle, UserInfo("test", ("system:masters",))))
        await client.create(
            codec.from_tree(core_v1.ServiceAccount, {"metadata": {"name": "default", "namespace": "default"}})
        )
        table = Table()
        agent = PolicyAgent(client, table, "node-0", clock)
        task = asyncio.get_running_loop().create_task(agent.run())
        try:
            await body(World(client, table, agent))
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await api.close()

    asyncio.run(main())


def test_a_pod_is_met_before_the_api_shows_its_address() -> None:
    async def body(world: World) -> None:
        await world.policy()
        pod = await world.pod("web")
        await world.agent.admit(pod, [ADDRESS])
        assert world.table.guarded() == {ADDRESS}
        status: dict[str, Any] = {"status": {"podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}], "phase": "Running"}}
        await world.client.patch(core_v1.Pod, "web", "default", patch=status, subresource="status")
        other = await world.pod("other")
        await world.agent.admit(other, ["10.42.0.8"])
        assert world.table.guarded() == {ADDRESS, "10.42.0.8"}
        for name in ("web", "other"):
            await world.client.delete(core_v1.Pod, name, "default", grace_period_seconds=0)
        await world.until(lambda: world.table.guarded() == set())

    in_world(body)


def test_without_policies_nobody_waits_and_nothing_is_computed() -> None:
    async def body(world: World) -> None:
        pod = await world.pod("web")
        await world.agent.admit(pod, [ADDRESS])
        assert world.table.times == 1
        await world.policy()
        # the first policy is seen, and with it the Pod that was there before
        await world.until(lambda: world.table.times > 1)
        assert world.table.guarded() == set()

    in_world(body)


def test_an_address_that_comes_back_belongs_to_its_new_pod() -> None:
    async def body(world: World) -> None:
        await world.policy()
        first, second = await world.pod("first"), await world.pod("second")
        await world.agent.admit(first, [ADDRESS])
        await world.agent.admit(second, [ADDRESS])
        await world.client.delete(core_v1.Pod, "first", "default", grace_period_seconds=0)
        await world.until(lambda: world.table.times > 2)
        assert world.table.guarded() == {ADDRESS}
        await world.client.delete(core_v1.Pod, "second", "default", grace_period_seconds=0)
        await world.until(lambda: world.table.guarded() == set())

    in_world(body)


def test_a_gate_opens_late_rather_than_never() -> None:
    async def main() -> None:
        gate = NetworkGate()
        pod = codec.from_tree(core_v1.Pod, {"spec": {"containers": []}})
        assert await gate.passes(pod, [ADDRESS])

        async def too_long(pod: core_v1.Pod, addresses: object) -> None:
            raise TimeoutError

        gate.opened_by(too_long)
        assert not await gate.passes(pod, [ADDRESS])
        pod.spec.host_network = True
        assert await gate.passes(pod, [ADDRESS])

    asyncio.run(main())

"""Simulated nodes against a real API server, with the scheduler and the controllers that taint and count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from carob.api import codec
from carob.api.types import coordination_v1, core_v1
from carob.base.clock import SystemClock
from carob.client.rest import Client
from carob.simulated.behaviour import FLAP, RUN, STATE
from carob.simulated.fleet import SimulatedNodes
from carob.simulated.options import SimulatedOptions
from tests.api.test_scheduling import World, in_world, placed


def with_fleet(count: int, body: Callable[[World, SimulatedNodes], Awaitable[None]], **options: Any) -> None:
    async def inner(world: World) -> None:
        fleet = SimulatedNodes(world.client, SystemClock(), SimulatedOptions(count, **options))
        task = asyncio.get_running_loop().create_task(fleet.run())
        try:
            await body(world, fleet)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    in_world(inner)


async def untaint(client: Client, count: int) -> None:
    """As the controller does, which is not here."""
    for number in range(count):
        await until_node(client, f"simulated-{number}", lambda node: True)
        await client.patch(core_v1.Node, f"simulated-{number}", patch={"spec": {"taints": None}})


async def until_node(client: Client, name: str, holds: Callable[[core_v1.Node], bool]) -> None:
    async with (
        asyncio.timeout(30),
        client.watch(core_v1.Node, field_selector=f"metadata.name={name}", send_initial_events=True) as events,
    ):
        async for event in events:
            if event.type in ("ADDED", "MODIFIED") and isinstance(event.object, core_v1.Node) and holds(event.object):
                return


def ready(node: core_v1.Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


def running(pod: core_v1.Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def test_pods_run_end_and_go_on_nodes_that_are_not_there() -> None:
    async def body(world: World, fleet: SimulatedNodes) -> None:
        await untaint(world.client, 4)
        async with asyncio.timeout(30):
            await fleet.usable.wait()
        lease = await world.client.get(coordination_v1.Lease, "simulated-0", "kube-node-lease")
        assert lease.spec.holder_identity == "simulated-0"
        for number in range(8):
            await world.pod(f"web-{number}")
        pods = [await world.until(f"web-{number}", running) for number in range(8)]
        assert len({pod.status.pod_ip for pod in pods}) == 8
        assert {pod.status.phase for pod in pods} == {"Running"}
        await world.client.delete(core_v1.Pod, "web-0", "default")
        async with (
            asyncio.timeout(30),
            world.client.watch(core_v1.Pod, "default", send_initial_events=True) as events,
        ):
            async for event in events:
                if event.type == "DELETED":
                    break
        tree = {
            "metadata": {"name": "once", "namespace": "default", "annotations": {RUN: "0"}},
            "spec": {"containers": [{"name": "main", "image": "x"}], "restartPolicy": "Never"},
        }
        await world.client.create(codec.from_tree(core_v1.Pod, tree))
        ended = await world.until("once", lambda pod: pod.status.phase == "Succeeded")
        assert ended.status.container_statuses[0].state is not None
        assert ended.status.container_statuses[0].state.terminated is not None

    with_fleet(4, body)


def test_nodes_fail_flap_and_vanish_when_told() -> None:
    async def body(world: World, fleet: SimulatedNodes) -> None:
        client = world.client
        await untaint(client, 2)

        async def tell(name: str, state: str) -> None:
            notes = {STATE: state, FLAP: "0.1"}
            await client.patch(core_v1.Node, name, patch={"metadata": {"annotations": notes}})

        await tell("simulated-0", "not-ready")
        await until_node(client, "simulated-0", lambda node: not ready(node))
        await tell("simulated-0", "ready")
        await until_node(client, "simulated-0", ready)
        await tell("simulated-1", "flapping")
        for _ in range(2):
            await until_node(client, "simulated-1", lambda node: not ready(node))
            await until_node(client, "simulated-1", ready)
        # silent: a Pod that is bound there stays as it is, until the node speaks again
        await tell("simulated-0", "silent")
        selector = {"kubernetes.io/hostname": "simulated-0"}
        await world.pod("quiet", nodeSelector=selector)
        pod = await world.until("quiet", placed)
        await tell("simulated-1", "gone")
        async with (
            asyncio.timeout(30),
            client.watch(core_v1.Node, field_selector="metadata.name=simulated-1", send_initial_events=True) as events,
        ):
            async for event in events:
                if event.type == "DELETED" or (event.type == "BOOKMARK" and not await there(client)):
                    break
        pod = await client.get(core_v1.Pod, "quiet", "default")
        assert pod.status.phase == "Pending"
        await tell("simulated-0", "ready")
        await world.until("quiet", running)

    with_fleet(2, body)


async def there(client: Client) -> bool:
    return any(node.metadata.name == "simulated-1" for node in (await client.list(core_v1.Node)).items)

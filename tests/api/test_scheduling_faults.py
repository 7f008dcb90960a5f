"""The scheduler when its requests fail: every Pod gets a node in the end, none gets two, none is counted twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from carob.api import codec
from carob.api.status import ApiError, internal
from carob.api.types import core_v1, resource_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock, VirtualClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.scheduler.loop import SchedulingLoop
from carob.scheduler.profiles import Configuration
from carob.store.memory import MemoryStore
from carob.transport.http import Connection, Request, Response, ResponseStream, Transport
from carob.transport.memory import MemoryTransport

USER = UserInfo("test", ("system:masters", "system:authenticated"))


class Unreliable:
    """A road on which `fate(request)` decides: "" (as ever), "lost" (never sent), "unanswered" (sent, answer lost) or
    "500"."""

    def __init__(self, road: Transport, fate: Callable[[Request], str]) -> None:
        self._road = road
        self._fate = fate

    async def send(self, request: Request) -> Response:
        fate = self._fate(request)
        if fate == "lost":
            raise ConnectionError("lost")
        if fate == "500":
            return Response(500, internal("chance").body())
        answer = await self._road.send(request)
        if fate == "unanswered":
            raise ConnectionError("unanswered")
        return answer

    async def stream(self, request: Request) -> ResponseStream:
        return await self._road.stream(request)

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        return await self._road.upgrade(request)

    async def close(self) -> None:
        await self._road.close()


def in_world(
    fate: Callable[[Request], str], body: Callable[[Client, SchedulingLoop, VirtualClock], Awaitable[None]]
) -> None:
    async def main() -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        api = ApiServer(MemoryStore(), ApiServerOptions(), clock, randomness)
        await api.start()
        client = Client(MemoryTransport(api.handle, USER))
        account = {"metadata": {"name": "default", "namespace": "default"}}
        await client.create(codec.from_tree(core_v1.ServiceAccount, account))
        virtual = VirtualClock(clock.now())
        road = Unreliable(MemoryTransport(api.handle, USER), fate)
        loop = SchedulingLoop(Client(road), virtual, randomness, Configuration())
        task = asyncio.get_running_loop().create_task(loop.run())
        try:
            await body(client, loop, virtual)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await api.close()

    asyncio.run(main())


async def make_node(client: Client, name: str, pods: str) -> None:
    await client.create(codec.from_tree(core_v1.Node, {"metadata": {"name": name}}))
    allocatable = {"cpu": "64", "memory": "64Gi", "pods": pods}
    await client.patch(core_v1.Node, name, patch={"status": {"allocatable": allocatable}}, subresource="status")
    await client.patch(core_v1.Node, name, patch={"spec": {"taints": None}})


async def make_pod(client: Client, name: str) -> None:
    tree = {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    await client.create(codec.from_tree(core_v1.Pod, tree))


@pytest.mark.parametrize("fate", ["lost", "unanswered", "500"])
def test_a_binding_that_fails_is_tried_again_after_its_pause(fate: str) -> None:
    failures = [fate, ""]

    def once(request: Request) -> str:
        return failures.pop(0) if request.path.endswith("/binding") and failures else ""

    async def body(client: Client, loop: SchedulingLoop, clock: VirtualClock) -> None:
        await make_node(client, "node-0", "1")
        await make_pod(client, "web")
        async with asyncio.timeout(30):
            while failures == [fate, ""]:  # noqa: ASYNC110 - the road cannot await
                await asyncio.sleep(0)
        await clock.advance(0.9)
        pod = await client.get(core_v1.Pod, "web", "default")
        assert pod.spec.node_name == ("node-0" if fate == "unanswered" else "")
        await clock.advance(0.2)
        async with asyncio.timeout(30):
            while not (await client.get(core_v1.Pod, "web", "default")).spec.node_name:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    in_world(once, body)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_fails_every_pod_gets_one_node_and_none_is_overfilled(seed: int) -> None:
    chance = random.Random(seed)

    def fate(request: Request) -> str:
        if request.method in ("POST", "PATCH") and chance.random() < 0.4:
            return chance.choice(["lost", "unanswered", "500"])
        return ""

    async def body(client: Client, loop: SchedulingLoop, clock: VirtualClock) -> None:
        for number in range(4):
            await make_node(client, f"node-{number}", "10")
        await asyncio.gather(*(make_pod(client, f"web-{number}") for number in range(40)))
        bound: dict[str, str] = {}
        for _ in range(200):
            await clock.advance(1)
            for pod in (await client.list(core_v1.Pod, "default")).items:
                if pod.spec.node_name:
                    assert bound.setdefault(pod.metadata.name, pod.spec.node_name) == pod.spec.node_name
            if len(bound) == 40:
                break
        counts = [sum(node == f"node-{number}" for node in bound.values()) for number in range(4)]
        assert counts == [10, 10, 10, 10], f"seed {seed}"
        await clock.advance(1)
        snapshot = loop._snapshot
        assert sorted(key for node in snapshot.nodes() for key in node.pods) == sorted(f"default/{n}" for n in bound)

    in_world(fate, body)


def test_pods_that_are_deleted_while_they_are_bound_leave_nothing() -> None:
    async def body(client: Client, loop: SchedulingLoop, clock: VirtualClock) -> None:
        await make_node(client, "node-0", "110")

        async def come_and_go(name: str) -> None:
            await make_pod(client, name)
            try:
                await client.delete(core_v1.Pod, name, "default", grace_period_seconds=0)
            except ApiError as error:
                assert error.reason in ("NotFound", "Conflict")  # noqa: PT017

        await asyncio.gather(*(come_and_go(f"web-{number}") for number in range(30)))
        for _ in range(5):
            await clock.advance(1)
        left = (await client.list(core_v1.Pod, "default")).items
        (node,) = loop._snapshot.nodes()
        assert sorted(node.pods) == sorted(f"default/{pod.metadata.name}" for pod in left)
        assert node.requested.get("cpu", 0) == 0
        assert len(loop._queue) == 0

    in_world(lambda request: "", body)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_no_device_is_given_twice_and_every_pod_gets_one(seed: int) -> None:
    chance = random.Random(seed)
    failures = 100

    def fate(request: Request) -> str:
        nonlocal failures
        # watches and first lists pass: what they miss is the informers' affair
        writes = request.method in ("POST", "PATCH", "PUT", "DELETE")
        asks = request.method == "GET" and "/resourceclaims/" in request.path
        if failures and (writes or asks) and chance.random() < 0.3:
            failures -= 1
            return chance.choice(["lost", "unanswered", "500"])
        return ""

    async def body(client: Client, loop: SchedulingLoop, clock: VirtualClock) -> None:
        gpu = {"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "example.com/gpu"}}
        await client.create(codec.from_tree(resource_v1.DeviceClass, gpu))
        for number in range(2):
            node = f"node-{number}"
            await make_node(client, node, "20")
            pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
            spec = {"driver": "d", "nodeName": node, "pool": pool, "devices": [{"name": f"d{i}"} for i in range(6)]}
            tree = {"metadata": {"name": f"slice-{number}"}, "spec": spec}
            await client.create(codec.from_tree(resource_v1.ResourceSlice, tree))
        wanted = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
        for number in range(12):
            metadata: dict[str, Any] = {"name": f"web-{number}", "namespace": "default"}
            container: dict[str, Any] = {"name": "a", "image": "b"}
            more: dict[str, Any] = {"resourceClaims": [{"name": "card", "resourceClaimName": f"web-{number}"}]}
            if number % 3 == 0:
                one = {"example.com/gpu": "1"}
                container["resources"] = {"requests": one, "limits": one}
                more = {}
            else:
                asked = {"metadata": metadata, "spec": wanted}
                await client.create(codec.from_tree(resource_v1.ResourceClaim, asked))
            made = {"metadata": metadata, "spec": {"containers": [container]} | more}
            await client.create(codec.from_tree(core_v1.Pod, made))
        pods: Any = []
        waiting: list[core_v1.Pod] = []
        for _ in range(300):
            await clock.advance(1)
            pods = (await client.list(core_v1.Pod, "default")).items
            waiting = [pod for pod in pods if not pod.spec.node_name]
            if not waiting:
                break
        assert not waiting, f"seed {seed}"
        claims = (await client.list(resource_v1.ResourceClaim, "default")).items
        used = [one for one in claims if one.status.allocation is not None]
        devices = [
            (one.pool, one.device)
            for claim in used
            for one in claim.status.allocation.devices.results  # type: ignore[union-attr]
        ]
        assert len(devices) == len(set(devices)) == 12, f"seed {seed}"
        nodes = {pod.metadata.uid: pod.spec.node_name for pod in pods}
        for claim in used:
            [user] = claim.status.reserved_for
            assert claim.status.allocation is not None
            [result] = claim.status.allocation.devices.results
            assert nodes[user.uid] == result.pool, f"seed {seed}"
        await clock.advance(1)
        assert not loop._devices._pending
        assert all(pod.devices is None for node in loop._snapshot.nodes() for pod in node.pods.values())
        assert len(loop._devices._taken.whole) == 12

    in_world(fate, body)

"""The scheduler against a real API server, over the road without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import core_v1, storage_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.scheduler.profiles import DEFAULT, MOST, Configuration, FitStrategy, Profile
from carob.scheduler.scheduler import Scheduler
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport

Explain = Callable[..., Awaitable[dict[str, Any]]]


class World:
    def __init__(self, client: Client, scheduler: asyncio.Task[None], explain: Explain) -> None:
        self.client = client
        self.scheduler = scheduler
        self.explain = explain

    async def node(self, name: str = "node-0", **status: str) -> None:
        allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110"} | status
        await self.client.create(codec.from_tree(core_v1.Node, {"metadata": {"name": name}}))
        patch = {"status": {"allocatable": allocatable, "capacity": allocatable}}
        await self.client.patch(core_v1.Node, name, patch=patch, subresource="status")
        # the taint that admission gives a new node; its controller is not here
        await self.client.patch(core_v1.Node, name, patch={"spec": {"taints": None}})

    async def pod(self, name: str, cpu: str = "100m", **spec: Any) -> core_v1.Pod:
        container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": cpu}}}
        tree = {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container]} | spec}
        return await self.client.create(codec.from_tree(core_v1.Pod, tree))

    async def until(self, name: str, holds: Callable[[core_v1.Pod], bool]) -> core_v1.Pod:
        """The Pod, as soon as it is as wanted."""
        async with asyncio.timeout(30):
            watch = self.client.watch(
                core_v1.Pod, "default", field_selector=f"metadata.name={name}", send_initial_events=True
            )
            async with watch as events:
                async for event in events:
                    pod = event.object
                    assert not isinstance(pod, ApiError)
                    if event.type != "BOOKMARK" and holds(pod):
                        return pod
        raise AssertionError("the watch ended")

    async def message(self, name: str) -> str:
        """What the Pod's PodScheduled condition says."""
        pod = await self.until(name, lambda p: any(c.status == "False" for c in p.status.conditions))
        (condition,) = (c for c in pod.status.conditions if c.type == "PodScheduled")
        assert condition.reason == "Unschedulable"
        assert condition.last_transition_time
        return condition.message

    async def event(self, reason: str) -> core_v1.Event:
        async with asyncio.timeout(30):
            async with self.client.watch(core_v1.Event, "default", send_initial_events=True) as events:
                async for event in events:
                    found = event.object
                    if isinstance(found, core_v1.Event) and found.reason == reason:
                        return found
        raise AssertionError("the watch ended")


def in_world(body: Callable[[World], Awaitable[None]], configuration: Configuration | None = None) -> None:
    async def main() -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        api = ApiServer(MemoryStore(), ApiServerOptions(), clock, randomness)
        await api.start()
        transport = MemoryTransport(api.handle, UserInfo("test", ("system:masters", "system:authenticated")))
        client = Client(transport)
        await client.create(
            codec.from_tree(core_v1.ServiceAccount, {"metadata": {"name": "default", "namespace": "default"}})
        )
        part = Scheduler(client, clock, randomness, configuration)
        scheduler = asyncio.get_running_loop().create_task(part.run())
        try:
            await body(World(client, scheduler, part.explain))
            assert not scheduler.done()
        finally:
            scheduler.cancel()
            await asyncio.gather(scheduler, return_exceptions=True)
            await transport.close()
            await api.close()

    asyncio.run(main())


def placed(pod: core_v1.Pod) -> bool:
    return bool(pod.spec.node_name)


def test_a_pod_gets_a_node_and_an_event_says_so() -> None:
    async def body(world: World) -> None:
        await world.node()
        await world.pod("hello-pod")
        pod = await world.until("hello-pod", placed)
        assert pod.spec.node_name == "node-0"
        (condition,) = (c for c in pod.status.conditions if c.type == "PodScheduled")
        assert condition.status == "True"
        event = await world.event("Scheduled")
        assert event.message == "Successfully assigned default/hello-pod to node-0"
        assert (event.type, event.source.component) == ("Normal", "default-scheduler")
        assert event.involved_object.uid == pod.metadata.uid

    in_world(body)


def test_thirty_at_once_are_spread_and_never_too_many() -> None:
    async def body(world: World) -> None:
        for number in range(3):
            await world.node(f"node-{number}", pods="10")
        names = [f"web-{number}" for number in range(31)]
        await asyncio.gather(*(world.pod(name) for name in names))
        pods: list[core_v1.Pod] = []
        async with asyncio.timeout(30):
            while len(pods) < 30:
                await asyncio.sleep(0.01)
                pods = [pod for pod in (await world.client.list(core_v1.Pod, "default")).items if placed(pod)]
        counts = {f"node-{n}": sum(p.spec.node_name == f"node-{n}" for p in pods) for n in range(3)}
        assert counts == {"node-0": 10, "node-1": 10, "node-2": 10}
        (left,) = set(names) - {pod.metadata.name for pod in pods}
        assert await world.message(left) == (
            "0/3 nodes are available: 3 Too many pods. no new claims to deallocate, preemption: "
            "0/3 nodes are available: 3 No preemption victims found for incoming pod."
        )

    in_world(body)


def test_a_pod_that_fits_nowhere_waits_until_something_helps() -> None:
    async def body(world: World) -> None:
        await world.pod("early")
        assert await world.message("early") == "no nodes available to schedule pods"
        await world.node()
        await world.until("early", placed)
        await world.pod("large", cpu="3950m")
        assert "1 Insufficient cpu." in await world.message("large")
        event = await world.event("FailedScheduling")
        assert event.type == "Warning"
        await world.client.delete(core_v1.Pod, "early", "default", grace_period_seconds=0)
        await world.until("large", placed)
        await world.pod("huge", cpu="6")
        await world.message("huge")
        await world.node("node-1", cpu="8")
        assert (await world.until("huge", placed)).spec.node_name == "node-1"

    in_world(body)


@pytest.mark.parametrize("taken", [{"schedulerName": "other"}, {"schedulingGates": [{"name": "wait"}]}])
def test_pods_of_other_schedulers_and_gated_pods_are_left_alone(taken: dict[str, Any]) -> None:
    async def body(world: World) -> None:
        await world.node()
        await world.pod("left-alone", **taken)
        await world.pod("ours")
        await world.until("ours", placed)
        assert not placed(await world.client.get(core_v1.Pod, "left-alone", "default"))
        if "schedulingGates" in taken:
            await world.client.patch(core_v1.Pod, "left-alone", "default", patch={"spec": {"schedulingGates": None}})
            await world.until("left-alone", placed)

    in_world(body)


async def bound_disk(world: World, name: str) -> dict[str, Any]:
    """A disk of a CSI driver with its claim, bound on both sides; the answer is a Pod's volume."""
    modes = {"accessModes": ["ReadWriteOnce"]}
    annotations = {"pv.kubernetes.io/bind-completed": "yes"}
    asked = {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": name, "storageClassName": ""}
    tree = {"metadata": {"name": name, "namespace": "default", "annotations": annotations}, "spec": modes | asked}
    await world.client.create(codec.from_tree(core_v1.PersistentVolumeClaim, tree))
    bound = {"status": {"phase": "Bound"}}
    await world.client.patch(core_v1.PersistentVolumeClaim, name, "default", patch=bound, subresource="status")
    source = {"csi": {"driver": "disks.example.com", "volumeHandle": name}, "capacity": {"storage": "1Gi"}}
    volume = {"metadata": {"name": name}, "spec": modes | source}
    await world.client.create(codec.from_tree(core_v1.PersistentVolume, volume))
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def test_a_node_that_has_all_the_disks_it_can_have_takes_the_next_when_one_is_gone() -> None:
    async def body(world: World) -> None:
        await world.node()
        limit = {"name": "disks.example.com", "nodeID": "n", "topologyKeys": [], "allocatable": {"count": 1}}
        tree = {"metadata": {"name": "node-0"}, "spec": {"drivers": [limit]}}
        await world.client.create(codec.from_tree(storage_v1.CSINode, tree))
        await world.pod("first", volumes=[await bound_disk(world, "one")])
        await world.until("first", placed)
        await world.pod("second", volumes=[await bound_disk(world, "two")])
        assert (await world.message("second")).startswith(
            "0/1 nodes are available: 1 node(s) exceed max volume count. no new claims to deallocate, preemption: "
        )
        await world.client.delete(core_v1.Pod, "first", "default", grace_period_seconds=0)
        await world.until("second", placed)

    in_world(body)


def test_where_somebody_else_wants_a_pod_is_heeded() -> None:
    async def body(world: World) -> None:
        for number in range(3):
            await world.node(f"node-{number}")
        await world.pod("other", cpu="2")
        other = (await world.until("other", placed)).spec.node_name
        await world.pod("wanted", schedulingGates=[{"name": "wait"}])
        nominated = {"status": {"nominatedNodeName": other}}
        await world.client.patch(core_v1.Pod, "wanted", "default", patch=nominated, subresource="status")
        await world.client.patch(core_v1.Pod, "wanted", "default", patch={"spec": {"schedulingGates": None}})
        found = await world.until("wanted", placed)
        assert (found.spec.node_name, found.status.nominated_node_name) == (other, "")

    in_world(body)


def test_the_scheduler_at_work_explains_itself_and_goes_on_as_before() -> None:
    packer = Profile("packer", fit=FitStrategy(MOST))

    async def body(world: World) -> None:
        for number in range(3):
            await world.node(f"node-{number}")
        await world.pod("other", cpu="2")
        other = (await world.until("other", placed)).spec.node_name
        await world.pod("web", cpu="1")
        chosen = (await world.until("web", placed)).spec.node_name
        assert chosen != other
        for _ in range(2):
            found = await world.explain("default", "web")
            assert (found["node"], found["rank"], found["schedulerName"]) == (chosen, 1, "default-scheduler")
            # as if it had no node: the one that it has is as good as the third
            assert found["chosen"] != other
            assert [one["node"] for one in found["nodes"]][-1] == other
        assert (await world.explain("default", "web", "packer"))["chosen"] == other
        with pytest.raises(ApiError) as caught:
            await world.explain("default", "web", "nobody")
        assert caught.value.message == (
            'no profile of the scheduler is called "nobody": supported values: "default-scheduler", "packer"'
        )
        with pytest.raises(ApiError) as caught:
            await world.explain("default", "gone")
        assert caught.value.reason == "NotFound"
        # what was lifted for a look was put back: there is room for exactly this
        for number, cpu in enumerate(("4", "3", "2")):
            await world.pod(f"rest-{number}", cpu=cpu)
            await world.until(f"rest-{number}", placed)
        await world.pod("full", cpu="100m")
        assert "3 Insufficient cpu" in await world.message("full")

    in_world(body, Configuration({"default-scheduler": DEFAULT, "packer": packer}))


def test_a_subresource_of_ours_is_asked_for_its_right_and_named_nowhere() -> None:
    async def main() -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        api = ApiServer(MemoryStore(), ApiServerOptions(), clock, randomness)
        await api.start()
        api.offer("", "pods", "scheduling", lambda info, request, user: Response(body=f'"{info.name}"'.encode()))
        path = "/api/v1/namespaces/default/pods/web/scheduling"
        admin = MemoryTransport(api.handle, UserInfo("admin", ("system:masters", "system:authenticated")))
        stranger = MemoryTransport(api.handle, UserInfo("eve", ("system:authenticated",)))
        try:
            answers = [
                await admin.send(Request("GET", path)),
                await stranger.send(Request("GET", path)),
                await admin.send(Request("POST", path)),
                await admin.send(Request("GET", f"{path}/more")),
            ]
            assert [answer.status for answer in answers] == [200, 403, 404, 404]
            assert answers[0].body == b'"web"'
            assert b'cannot get resource \\"pods/scheduling\\"' in answers[1].body
            listed = await admin.send(Request("GET", "/api/v1"))
            assert b"pods/log" in listed.body
            assert b"pods/scheduling" not in listed.body
        finally:
            await api.close()

    asyncio.run(main())

"""The scheduler among Pods that come and go, nodes that change, requests that fail, and restarts in the midst of it.

Each seed is a history of its own on virtual time. Promises that hold after every single event: no node is over capacity,
no Pod changes its node, none is bound twice, nobody is where it must not be or next to whom it must not be near, and
whoever had to go was less important than for whom. At rest nobody waits who fits somewhere: the plain reference is asked.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import pytest

from carob.api import codec
from carob.api.status import ApiError, internal
from carob.api.types import core_v1, scheduling_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock, VirtualClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.scheduler.scheduler import Scheduler
from carob.store.memory import MemoryStore
from carob.transport.http import Connection, Request, Response, ResponseStream
from carob.transport.memory import MemoryTransport
from tests.fakes.plain_scheduler import HOST, ZONE, Plain, Tree, amounts, asked

pytestmark = pytest.mark.slow

USER = UserInfo("test", ("system:masters", "system:authenticated"))
PRIORITIES = {"low": 0, "mid": 10, "high": 100}
NODES, STEPS = 5, 50
_COUNT = int(os.environ.get("CAROB_SEEDS", "4"))
SEEDS = [int(os.environ["CAROB_SEED"])] if "CAROB_SEED" in os.environ else range(1, 1 + _COUNT)


class Road:
    """To the server; some writes never arrive, some answers are lost. `bound` counts the bindings that were accepted."""

    def __init__(self, road: MemoryTransport, lots: random.Random) -> None:
        self._road = road
        self._lots = lots
        self.bound: Counter[str] = Counter()
        self.calm = False

    async def send(self, request: Request) -> Response:
        fate = self._lots.random() if request.method != "GET" and not self.calm else 1.0
        if fate < 0.05:
            raise ConnectionError("lost")
        if fate < 0.1:
            return Response(500, internal("chance").body())
        answer = await self._road.send(request)
        if request.path.endswith("/binding") and answer.status < 300:
            self.bound[codec.decode(core_v1.Binding, request.body).metadata.uid] += 1
        if fate < 0.15:
            raise ConnectionError("unanswered")
        return answer

    async def stream(self, request: Request) -> ResponseStream:
        return await self._road.stream(request)

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        return await self._road.upgrade(request)

    async def close(self) -> None:
        await self._road.close()


class Witness:
    """Hears every event of Pods and Nodes in order, and looks after each whether the promises hold."""

    def __init__(self) -> None:
        self.pods: dict[str, Tree] = {}
        self.nodes: dict[str, Tree] = {}
        self.priorities: dict[str, int] = {}
        self.broken: list[str] = []

    def hears(self, event: str, kind: str, tree: Tree) -> None:
        name = tree["metadata"]["name"]
        if kind == "Event":
            if event == "ADDED" and tree["reason"] == "Preempted":
                self._judge_eviction(tree)
            return
        known = self.nodes if kind == "Node" else self.pods
        old = known.pop(name, None)
        if event != "DELETED":
            known[name] = tree
        if kind == "Pod" and event != "DELETED":
            self.priorities[tree["metadata"]["uid"]] = tree["spec"].get("priority", 0)
            self._judge(old, tree)

    def _judge(self, old: Tree | None, new: Tree) -> None:
        where, name = new["spec"].get("nodeName"), new["metadata"]["name"]
        before = old["spec"].get("nodeName") if old and old["metadata"]["uid"] == new["metadata"]["uid"] else None
        if before and where != before:
            self.broken.append(f"{name} moved from {before} to {where}")
        if not where or before:
            return
        there = [pod for pod in self.pods.values() if pod["spec"].get("nodeName") == where]
        node = self.nodes.get(where)
        if node is None:
            return
        offered = amounts(node["status"]["allocatable"])
        for resource in ("cpu", "memory"):
            taken = sum(asked(pod).get(resource, 0) for pod in there)
            if taken > offered[resource]:
                self.broken.append(f"{where} has {taken} of {offered[resource]} {resource} after {name}")
        for key, value in new["spec"].get("nodeSelector", {}).items():
            if node["metadata"]["labels"].get(key) != value:
                self.broken.append(f"{name} is on {where}, which is not {key}={value}")
        alone = Counter(pod["metadata"]["labels"]["alone"] for pod in there if "alone" in pod["metadata"]["labels"])
        if any(count > 1 for count in alone.values()):
            self.broken.append(f"{name} is on {where} with another that must be alone")

    def _judge_eviction(self, tree: Tree) -> None:
        uid = tree["message"].split()[3]
        victim = tree["involvedObject"]["uid"]
        if not self.priorities[victim] < self.priorities[uid]:
            self.broken.append(f"{tree['involvedObject']['name']} had to go for nobody more important")


class World:
    def __init__(self, seed: int) -> None:
        self.lots = random.Random(seed)
        self.witness = Witness()
        self.count = 0

    async def run(self) -> None:
        clock = SystemClock()
        api = ApiServer(MemoryStore(), ApiServerOptions(), clock, SystemRandomness())
        await api.start()
        self.client = Client(MemoryTransport(api.handle, USER))
        self.clock = VirtualClock(clock.now())
        self.road = Road(MemoryTransport(api.handle, USER), self.lots)
        self.scheduler: asyncio.Task[None] | None = None
        account = {"metadata": {"name": "default", "namespace": "default"}}
        await self.client.create(codec.from_tree(core_v1.ServiceAccount, account))
        for name, value in PRIORITIES.items():
            tree = {"metadata": {"name": name}, "value": value}
            await self.client.create(codec.from_tree(scheduling_v1.PriorityClass, tree))
        kinds: tuple[type[Any], ...] = (core_v1.Pod, core_v1.Node, core_v1.Event)
        watching = [asyncio.get_running_loop().create_task(self._watch(kind)) for kind in kinds]
        try:
            for number in range(NODES):
                await self._node(number)
            self._restart()
            for _ in range(STEPS):
                await self._step()
                await self.clock.advance(self.lots.choice((0, 0, 0.3, 2, 12)))
                assert not self.witness.broken
            self.road.calm = True
            for _ in range(8):
                await self.clock.advance(120)
            assert not self.witness.broken
            await self._nobody_waits_in_vain()
            assert max(self.road.bound.values()) == 1
        finally:
            for task in (*watching, self.scheduler):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            await api.close()

    async def _watch(self, kind: type[Any]) -> None:
        async with self.client.watch(kind, "", send_initial_events=True) as events:
            async for event in events:
                if event.type != "BOOKMARK":
                    self.witness.hears(event.type, kind.__name__, codec.to_tree(event.object))

    def _restart(self) -> None:
        """A scheduler that dies leaves what is on its way; the next one knows nothing but what the API says."""
        if self.scheduler is not None:
            self.scheduler.cancel()
        part = Scheduler(Client(self.road), self.clock, SystemRandomness())
        self.scheduler = asyncio.get_running_loop().create_task(part.run())

    async def _step(self) -> None:
        step = self.lots.choice(("pods", "pods", "pods", "go", "go", "taint", "cordon", "restart"))
        if step == "pods":
            for _ in range(self.lots.randint(1, 6)):
                await self._pod()
        elif step == "go":
            names = [pod.metadata.name for pod in (await self.client.list(core_v1.Pod, "default")).items]
            for name in self.lots.sample(names, min(3, len(names))):
                await self._delete(name)
        elif step == "restart":
            self._restart()
        else:
            taint = [{"key": "busy", "effect": "NoSchedule"}] if self.lots.random() < 0.5 else None
            change = {"taints": taint} if step == "taint" else {"unschedulable": self.lots.random() < 0.3}
            await self.client.patch(core_v1.Node, f"node-{self.lots.randrange(NODES)}", patch={"spec": change})

    async def _delete(self, name: str) -> None:
        try:
            await self.client.delete(core_v1.Pod, name, "default", grace_period_seconds=0)
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    async def _node(self, number: int) -> None:
        name = f"node-{number}"
        tree = {"metadata": {"name": name, "labels": {HOST: name, ZONE: "ab"[number % 2]}}}
        await self.client.create(codec.from_tree(core_v1.Node, tree))
        offered = {"cpu": "4", "memory": str(8 << 30), "pods": "110"}
        patch = {"status": {"allocatable": offered, "capacity": offered}}
        await self.client.patch(core_v1.Node, name, patch=patch, subresource="status")
        await self.client.patch(core_v1.Node, name, patch={"spec": {"taints": None}})

    async def _pod(self) -> None:
        lots, self.count = self.lots, self.count + 1
        requests = {"cpu": lots.choice(("100m", "500m", "1", "2")), "memory": str(lots.choice((1, 2)) << 30)}
        container = {"name": "main", "image": "web", "resources": {"requests": requests}}
        spec: Tree = {"containers": [container], "terminationGracePeriodSeconds": 0}
        spec["priorityClassName"] = lots.choice(list(PRIORITIES))
        labels = {"app": lots.choice(("web", "db"))}
        kind = lots.random()
        if kind < 0.25:
            labels["alone"] = lots.choice(("x", "y"))
            selector = {"matchLabels": {"alone": labels["alone"]}}
            term = [{"topologyKey": HOST, "labelSelector": selector}]
            spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
        elif kind < 0.5:
            rule = {"topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
            spec["topologySpreadConstraints"] = [rule | {"labelSelector": {"matchLabels": {"app": labels["app"]}}}]
        elif kind < 0.6:
            spec["nodeSelector"] = {ZONE: lots.choice("ab")}
        metadata = {"name": f"pod-{self.count}", "namespace": "default", "labels": labels}
        await self.client.create(codec.from_tree(core_v1.Pod, {"metadata": metadata, "spec": spec}))

    async def _nobody_waits_in_vain(self) -> None:
        plain = Plain()
        plain.namespaces = {"default": {}}
        plain.nodes = [codec.to_tree(one) for one in (await self.client.list(core_v1.Node)).items]
        pods = [codec.to_tree(one) for one in (await self.client.list(core_v1.Pod, "default")).items]
        plain.placed = [(pod, pod["spec"]["nodeName"]) for pod in pods if pod["spec"].get("nodeName")]
        for pod in pods:
            if not pod["spec"].get("nodeName"):
                fits = [node["metadata"]["name"] for node in plain.nodes if not plain.rejection(pod, node)]
                assert fits == [], pod["metadata"]["name"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(300)
def test_whatever_happens_the_schedulers_promises_hold(seed: int) -> None:
    world = World(seed)
    try:
        asyncio.run(world.run())
    except BaseException as error:
        error.add_note(f"CAROB_SEED={seed}: {world.witness.broken}")
        raise
    # a history in which nothing was at stake proves nothing
    assert sum(world.road.bound.values()) > STEPS / 2

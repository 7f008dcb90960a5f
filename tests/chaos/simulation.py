"""A whole cluster in one task group on virtual time: the real API server, controllers and scheduler; nodes of paper.

Everything that is drawn by lot comes from one seed. The store outlives its servers, as a disk does; a node's containers
outlive the node's agent. `Simulation.advance` is the only thing that moves time.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import coordination_v1, core_v1, meta_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import VirtualClock, rfc3339, rfc3339_micro
from carob.base.ids import SeededRandomness
from carob.base.tasks import TaskGroup
from carob.client.informer import Informer
from carob.client.rest import Client
from carob.client.workqueue import WorkQueue
from carob.controllers.runner import ControllerOptions, Controllers
from carob.scheduler.scheduler import Scheduler
from carob.store.memory import MemoryStore
from carob.transport.memory import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from carob.apiserver.pki import Pki
    from carob.store.types import Store
    from carob.transport.http import Connection, Request, Response, ResponseStream

MASTERS = ("system:masters", "system:authenticated")
RENEW_SECONDS = 10.0


class Road:
    """The way of one client to whatever server is there; while there is none, every call fails as a socket would."""

    def __init__(self, simulation: Simulation, user: str) -> None:
        self._simulation = simulation
        self._user = UserInfo(user, MASTERS)
        self._inner: MemoryTransport | None = None

    def _there(self) -> MemoryTransport:
        return self._to(self._simulation.api)

    def _to(self, api: ApiServer | None) -> MemoryTransport:
        if api is None:
            raise ConnectionError("no server is there")
        if self._inner is None:
            self._inner = MemoryTransport(api.handle, self._user)
        return self._inner

    async def send(self, request: Request) -> Response:
        return await self._there().send(request)

    async def stream(self, request: Request) -> ResponseStream:
        return await self._there().stream(request)

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        return await self._there().upgrade(request)

    async def close(self) -> None:
        """Cut what is open; the next call finds the server of then."""
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.close()


class PaperNode:
    """A kubelet whose containers are names in a dict. `running` outlives `stop`, as containers outlive their agent."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.name = name
        self.running: dict[str, str] = {}
        """`namespace/name` of what runs, by uid."""
        self.slowness = 1.0
        self._simulation = simulation
        self._client = simulation.client(f"system:node:{name}")
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        if self._task is None:
            self._task = self._simulation.spawn(self._run(), self.name)

    async def stop(self) -> None:
        """As if the machine were cut off: its containers go on, nobody hears of them."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        clock = self._simulation.clock
        selector = f"spec.nodeName={self.name}"
        self._pods = Informer(self._client, core_v1.Pod, clock, field_selector=selector)
        self._queue = WorkQueue(clock)
        self._pods.subscribe(lambda key, old, new: self._queue.add(key))
        async with TaskGroup() as group:
            group.spawn(self._pods.run(), "pods")
            group.spawn(self._renew(), "lease")
            await self._pods.wait_synced()
            for place in set(self.running.values()):
                self._queue.add(place)
            await self._queue.work(self._sync, 16, self.name)

    async def _renew(self) -> None:
        clock = self._simulation.clock
        while True:
            with suppress(ApiError, ConnectionError):
                await self._report()
            await clock.sleep(RENEW_SECONDS)

    async def _report(self) -> None:
        now = self._simulation.clock.now()
        conditions = [{"type": "Ready", "status": "True", "lastHeartbeatTime": rfc3339(now)}]
        room = {"cpu": "8", "memory": "16Gi", "pods": "110"}
        status = {"conditions": conditions, "capacity": room, "allocatable": room}
        await self._client.patch(core_v1.Node, self.name, patch={"status": status}, subresource="status")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": rfc3339_micro(now)}
        await self._client.patch(coordination_v1.Lease, self.name, "kube-node-lease", patch={"spec": spec})

    async def _sync(self, key: str) -> None:
        pod = self._pods.get(key)
        for uid, place in list(self.running.items()):
            if place == key and (pod is None or pod.metadata.uid != uid):
                del self.running[uid]
        if pod is None:
            return
        uid, ended = pod.metadata.uid, pod.status.phase in ("Succeeded", "Failed")
        if pod.metadata.deletion_timestamp:
            await self._pause(0.1, 2)
            self.running.pop(uid, None)
            with suppress(ApiError):
                await self._client.delete(
                    core_v1.Pod, pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0, uid=uid
                )
        elif ended:
            self.running.pop(uid, None)
        elif uid not in self.running:
            await self._pause(0.1, 3)
            self._begin(uid, key)
            await self._say(pod, "Running", ready=True)
        elif not _ready(pod):
            await self._say(pod, "Running", ready=True)
        elif "batch.kubernetes.io/job-name" in pod.metadata.labels:
            await self._pause(1, 20)
            phase = "Failed" if self._simulation.lots.random() < 0.1 else "Succeeded"
            await self._say(pod, phase, ready=False)

    def _begin(self, uid: str, key: str) -> None:
        self._simulation.begun(uid, key)
        self.running[uid] = key

    async def _say(self, pod: core_v1.Pod, phase: str, *, ready: bool) -> None:
        stamp = rfc3339(self._simulation.clock.now())
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp}
        state: dict[str, Any] = {"running": {"startedAt": stamp}}
        if phase != "Running":
            state = {"terminated": {"exitCode": 0 if phase == "Succeeded" else 1, "finishedAt": stamp}}
        container = {"name": "main", "ready": ready, "restartCount": 0, "image": "x", "imageID": "x", "state": state}
        status = {"phase": phase, "conditions": [condition], "containerStatuses": [container]}
        patch = {"metadata": {"uid": pod.metadata.uid}, "status": status}
        try:
            await self._client.patch(
                core_v1.Pod, pod.metadata.name, pod.metadata.namespace, patch=patch, subresource="status"
            )
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    async def _pause(self, least: float, most: float) -> None:
        await self._simulation.clock.sleep(self._simulation.lots.uniform(least, most) * self.slowness)


class Simulation:
    """The cluster. `seed` decides everything that is drawn by lot."""

    def __init__(self, seed: int, pki: Pki, store: Store | None = None) -> None:
        self.lots = random.Random(seed)
        self.clock = VirtualClock()
        self.api: ApiServer | None = None
        self.nodes: list[PaperNode] = []
        self.store = MemoryStore() if store is None else store
        self.randomness = SeededRandomness(seed)
        self.options = ControllerOptions(pki.ca.certificate, pki.ca.key)
        self._roads: list[Road] = []
        self._parts: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.admin = self.client("admin")
        self.broken: list[str] = []
        """Promises that were not kept."""

    def client(self, user: str) -> Client:
        road = Road(self, user)
        self._roads.append(road)
        return Client(road, user_agent=user)

    def spawn(self, body: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(body, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.broken.append(f"{task.get_name()} ended: {task.exception()!r}")

    async def start_server(self) -> None:
        """The API server on the store that is there, then a scheduler and controllers that know nothing yet."""
        api = ApiServer(self.store, ApiServerOptions(), self.clock, self.randomness)
        await api.start()
        self.api = api
        scheduler = Scheduler(self.client("system:kube-scheduler"), self.clock, self.randomness)
        manager = self.client("system:kube-controller-manager")
        controllers = Controllers(manager, self.clock, self.randomness, self.options)
        self._parts = [self.spawn(scheduler.run(), "scheduler"), self.spawn(controllers.run(), "controllers")]

    async def stop_server(self) -> None:
        """All at once, whatever it is doing; the store stays."""
        api, self.api = self.api, None
        parts, self._parts = self._parts, []
        for task in parts:
            task.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        await self.cut_connections()
        if api is not None:
            await api.close()

    async def cut_connections(self) -> None:
        """Every watch ends, unasked."""
        for road in self._roads:
            await road.close()

    async def add_nodes(self, count: int) -> None:
        for number in range(count):
            node = PaperNode(self, f"node-{number}")
            await self.admin.create(core_v1.Node(metadata=_named(node.name)))
            lease = coordination_v1.Lease(metadata=_named(node.name, "kube-node-lease"))
            await self.admin.create(lease)
            node.start()
            self.nodes.append(node)

    def begun(self, uid: str, key: str) -> None:
        """A container has started: judge at once what may never be."""
        for node in self.nodes:
            for other, place in node.running.items():
                if place == key and other != uid:
                    self.broken.append(f"{key} runs twice: {other} on {node.name}, and now {uid}")

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def until(self, holds: Callable[[], Coroutine[Any, Any, bool]], limit_seconds: float) -> bool:
        """Let time pass until it holds; False when it does not within `limit_seconds` of virtual time."""
        passed = 0.0
        while not await holds():
            if passed >= limit_seconds:
                return False
            await self.advance(5)
            passed += 5
        return True

    async def close(self) -> None:
        for node in self.nodes:
            await node.stop()
        await self.stop_server()


def _ready(pod: core_v1.Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def _named(name: str, namespace: str = "") -> meta_v1.ObjectMeta:
    return meta_v1.ObjectMeta(name=name, namespace=namespace)

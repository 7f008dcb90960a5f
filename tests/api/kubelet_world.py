"""A world of one API server and one kubelet, whose runtime keeps its promises in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import coordination_v1, core_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.kubelet.agent import Kubelet
from carob.kubelet.options import KubeletOptions
from carob.runtime.types import ContainerState
from carob.store.memory import MemoryStore
from carob.transport.http import Connection, Request, Response, ResponseStream, Transport
from carob.transport.memory import MemoryTransport
from tests.fakes.mounts import FakeMounts
from tests.fakes.runtime import FakeRuntime

NODE = "node-0"
ADMIN = UserInfo("test", ("system:masters", "system:authenticated"))


class Road:
    """A road to the API server that can be cut."""

    def __init__(self, road: Transport) -> None:
        self._road = road
        self.cut = False

    def _check(self) -> None:
        if self.cut:
            raise ConnectionRefusedError(111, "Connection refused")

    async def send(self, request: Request) -> Response:
        self._check()
        return await self._road.send(request)

    async def stream(self, request: Request) -> ResponseStream:
        self._check()
        return await self._road.stream(request)

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._road.close()


class World:
    """One API server, one node."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.folder = folder
        self.client = client
        self.runtime = FakeRuntime()
        self.runtime.add_image("web:latest", Cmd=["serve"])
        self.mounts = FakeMounts()
        self.road = Road(client.transport)
        self.options: dict[str, Any] = {}
        self.kubelet: Kubelet
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the agent, or start it again."""
        self.kubelet = Kubelet(
            Client(self.road),
            self.runtime,
            KubeletOptions(
                node_name=NODE,
                root=str(self.folder / "node"),
                log_root=str(self.folder / "logs"),
                cgroup_root="/carob-test",
                node_ip="10.42.0.1",
                cluster_dns=("10.43.0.10",),
                static_folder=str(self.folder / "manifests"),
                **self.options,
            ),
            SystemClock(),
            SystemRandomness(),
            self.mounts,
        )
        self._task = asyncio.get_running_loop().create_task(self.kubelet.run())

    async def stop(self) -> None:
        """The agent ends; what it runs lives on."""
        assert self._task is not None
        assert not self._task.done(), self._task.exception()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.runtime._subscribers.clear()

    async def pod(self, name: str = "hello-pod", **spec: Any) -> core_v1.Pod:
        container = {"name": "hello-ctr", "image": "web:latest", "imagePullPolicy": "IfNotPresent"}
        tree = {
            "metadata": {"name": name, "namespace": "default", "labels": {"zone": "prod"}},
            "spec": {"nodeName": NODE, "containers": [container]} | spec,
        }
        return await self.client.create(codec.from_tree(core_v1.Pod, tree))

    async def until(self, name: str, holds: Callable[[core_v1.Pod], Any]) -> core_v1.Pod:
        """The Pod, as soon as it is as wanted."""
        last: Any = None
        try:
            async with asyncio.timeout(30):
                watch = self.client.watch(
                    core_v1.Pod, "default", field_selector=f"metadata.name={name}", send_initial_events=True
                )
                async with watch as events:
                    async for event in events:
                        pod = event.object
                        assert not isinstance(pod, ApiError)
                        if event.type != "BOOKMARK":
                            last = pod
                            if event.type != "DELETED" and holds(pod):
                                return pod
        except TimeoutError:
            raise AssertionError(f"not so: {codec.to_tree(last.status) if last else None}") from None
        raise AssertionError("the watch ended")

    async def gone(self, name: str) -> None:
        """Return when the API no longer has the Pod."""
        async with asyncio.timeout(30):
            watch = self.client.watch(
                core_v1.Pod, "default", field_selector=f"metadata.name={name}", send_initial_events=True
            )
            async with watch as events:
                async for event in events:
                    if event.type == "DELETED" or (event.type == "BOOKMARK" and not await self._exists(name)):
                        return

    async def _exists(self, name: str) -> bool:
        try:
            await self.client.get(core_v1.Pod, name, "default")
        except ApiError:
            return False
        return True

    async def events(self, *reasons: str) -> list[core_v1.Event]:
        """The first event of each reason, as soon as all are there."""
        found: dict[str, core_v1.Event] = {}
        try:
            async with asyncio.timeout(30):
                async with self.client.watch(core_v1.Event, "default", send_initial_events=True) as events:
                    async for event in events:
                        if isinstance(event.object, core_v1.Event):
                            found.setdefault(event.object.reason, event.object)
                        if all(reason in found for reason in reasons):
                            return [found[reason] for reason in reasons]
        except TimeoutError:
            raise AssertionError(f"only {sorted(found)}") from None
        raise AssertionError("the watch ended")

    def running(self) -> str:
        """The id of the one container that runs."""
        (status,) = (s for s in self.runtime.containers.values() if s.state is ContainerState.RUNNING)
        return status.id

    async def registered(self) -> tuple[core_v1.Node, coordination_v1.Lease]:
        """The node and its lease, as soon as they are there."""
        for _ in range(500):
            try:
                node = await self.client.get(core_v1.Node, NODE)
                return node, await self.client.get(coordination_v1.Lease, NODE, "kube-node-lease")
            except ApiError:
                await asyncio.sleep(0.01)
        raise AssertionError("the node does not come")

    async def ask(self, path: str, query: str = "") -> tuple[int, str]:
        """A request to the kubelet's server."""
        road = MemoryTransport(self.kubelet.handler, ADMIN)
        try:
            answer = await road.send(Request("GET", path, query))
            return answer.status, answer.body.decode()
        finally:
            await road.close()


def in_world(folder: Path, body: Callable[[World], Awaitable[None]], options: ApiServerOptions | None = None) -> None:
    async def main() -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        api = ApiServer(MemoryStore(), options or ApiServerOptions(), clock, randomness)
        await api.start()
        transport = MemoryTransport(api.handle, ADMIN)
        client = Client(transport)
        account = {"metadata": {"name": "default", "namespace": "default"}, "automountServiceAccountToken": False}
        await client.create(codec.from_tree(core_v1.ServiceAccount, account))
        world = World(folder, client)
        await world.start()
        try:
            await body(world)
        finally:
            await world.stop()
            await transport.close()
            await api.close()

    asyncio.run(main())


async def eventually(holds: Callable[[], Any]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is waited for is outside of the loop
            await asyncio.sleep(0.01)


def text_of(path: str | Path) -> str:
    return Path(path).read_text()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*")]


def write_log(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def ready(pod: core_v1.Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def waiting(reason: str) -> Callable[[core_v1.Pod], bool]:
    def holds(pod: core_v1.Pod) -> bool:
        return any(s.state.waiting and s.state.waiting.reason == reason for s in pod.status.container_statuses)

    return holds


def started_again(times: int) -> Callable[[core_v1.Pod], bool]:
    return lambda pod: ready(pod) and pod.status.container_statuses[0].restart_count == times

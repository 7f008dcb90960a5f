"""One node's agent on virtual time: a real API server, a runtime in memory, and a road between them that can be cut."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack, cast

from carob.api import codec
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import VirtualClock
from carob.base.ids import SeededRandomness
from carob.client.rest import Client
from carob.kubelet.agent import Kubelet
from carob.kubelet.options import KubeletOptions
from carob.runtime.types import ContainerState
from carob.store.memory import MemoryStore
from carob.transport.http import Connection, Request, Response, ResponseStream, Transport
from carob.transport.memory import MemoryTransport
from tests.fakes.mounts import FakeMounts
from tests.fakes.runtime import FakeRuntime

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from carob.runtime.types import Runtime

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
NODE = "node-0"
ADMIN = UserInfo("test", ("system:masters", "system:authenticated"))


class Loop(asyncio.SelectorEventLoop):
    """Knows what threads have to do for it."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: set[asyncio.Future[Any]] = set()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Arguments]], T], *args: *Arguments
    ) -> asyncio.Future[T]:
        job = super().run_in_executor(executor, func, *args)
        self.jobs.add(job)
        job.add_done_callback(self.jobs.discard)
        return job


class JumpingClock(VirtualClock):
    """Virtual time whose wall clock somebody sets. What threads do takes none of it, however busy the machine is."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(time.time())
        self.offset = 0.0
        self._loop = loop

    def now(self) -> float:
        return super().now() + self.offset

    async def _settle(self) -> None:
        await super()._settle()
        while self._loop.jobs:
            await asyncio.wait(tuple(self._loop.jobs))
            await super()._settle()


class Stream:
    """An answer that breaks off when the road is cut."""

    def __init__(self, inner: ResponseStream, cut: asyncio.Event) -> None:
        self._inner = inner
        self._cut = cut
        self.status, self.headers = inner.status, inner.headers

    async def __aenter__(self) -> Stream:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self._inner.__aexit__(*failure)

    async def read(self) -> bytes:
        loop = asyncio.get_running_loop()
        reading, breaking = loop.create_task(self._inner.read()), loop.create_task(self._cut.wait())
        try:
            await asyncio.wait((reading, breaking), return_when=asyncio.FIRST_COMPLETED)
            if self._cut.is_set():
                raise ConnectionResetError("the road is cut")
            return await reading
        finally:
            reading.cancel()
            breaking.cancel()


class Road:
    """The node's way to the server: open, cut (nobody answers any more, and nobody is there), or swallowing requests."""

    def __init__(self, road: Transport, clock: VirtualClock) -> None:
        self._road = road
        self._clock = clock
        self._cut = asyncio.Event()
        self.swallows = False

    def cut(self, *, swallows: bool = False) -> None:
        """Streams break; new requests are refused, or never answered."""
        self.swallows = swallows
        self._cut.set()

    def mend(self) -> None:
        self._cut = asyncio.Event()

    async def _pass(self) -> None:
        if self._cut.is_set():
            if self.swallows:
                # as a socket whose peer is silent: the kernel gives up after a while
                await self._clock.sleep(30)
            raise ConnectionRefusedError(111, "Connection refused")

    async def send(self, request: Request) -> Response:
        await self._pass()
        return await self._road.send(request)

    async def stream(self, request: Request) -> ResponseStream:
        await self._pass()
        return Stream(await self._road.stream(request), self._cut)

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._road.close()


class Witness(FakeRuntime):
    """A runtime that minds when two containers of one name run for the same Pod, or for two Pods of one name.

    Who ignores the signal (`trap`) ends after its grace period by the test's clock.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock.now)
        self._clock = clock
        self._killers: set[asyncio.Task[None]] = set()

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        status = self.containers.get(container_id)
        if status is None or grace_seconds <= 0 or "trap" not in " ".join(self.command(container_id)):
            await super().stop_container(container_id, grace_seconds)
            return
        self._called("stop_container", container_id)
        if status.state is ContainerState.RUNNING:
            killer = asyncio.get_running_loop().create_task(self._kill(container_id, grace_seconds))
            self._killers.add(killer)
            killer.add_done_callback(self._killers.discard)
            await self._ended[container_id].wait()

    async def _kill(self, container_id: str, grace_seconds: float) -> None:
        await self._clock.sleep(grace_seconds)
        if container_id in self.containers:
            self.finish(container_id, 137)

    async def close(self) -> None:
        for killer in tuple(self._killers):
            killer.cancel()
        await super().close()

    async def start_container(self, container_id: str) -> None:
        new = self.containers[container_id]
        pod = self.sandboxes[new.sandbox_id].config
        for other in self.containers.values():
            if other.state is ContainerState.RUNNING and other.name == new.name:
                theirs = self.sandboxes[other.sandbox_id].config
                assert (theirs.namespace, theirs.name) != (pod.namespace, pod.name), f"{pod.name} runs twice"
        await super().start_container(container_id)


class Leash:
    """What an agent holds of a part that outlives it: cut, no call of that agent is answered any more."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self._cut = False

    def cut(self) -> None:
        """The agent has been killed: what it still does on its way out reaches nobody."""
        self._cut = True

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            if self._cut:
                await asyncio.Event().wait()
            answer = await found(*arguments, **named)
            if self._cut:
                await asyncio.Event().wait()
            return answer

        return call


class FullMounts(FakeMounts):
    """Mounts on a disk that may be full."""

    full = False

    def mount_tmpfs(self, path: str, *, size_bytes: int = 0, mode: int = 0o755) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        super().mount_tmpfs(path, size_bytes=size_bytes, mode=mode)


class World:
    """One node and its server. `start` and `stop` are the agent's; what it runs lives on."""

    def __init__(self, folder: Path, new_api: Callable[[], Awaitable[ApiServer]], clock: JumpingClock) -> None:
        self.folder = folder
        self.clock = clock
        self._new_api = new_api
        self._api: ApiServer
        self.client = Client(MemoryTransport(self._handle, ADMIN))
        self.road = Road(MemoryTransport(self._handle, ADMIN), clock)
        self.runtime = Witness(clock)
        self.runtime.add_image("web:latest", Cmd=["serve"])
        self.mounts = FullMounts()
        self.kubelet: Kubelet
        self._leashes: list[Leash] = []
        self._running: asyncio.Task[None] | None = None

    def _handle(self, request: Request) -> Response | Awaitable[Response]:
        return self._api.handle(request)

    async def open(self) -> None:
        """The server begins, and has what Pods need."""
        self._api = await self._new_api()
        account = {"metadata": {"name": "default", "namespace": "default"}, "automountServiceAccountToken": False}
        await self.client.create(codec.from_tree(core_v1.ServiceAccount, account))

    async def close(self) -> None:
        """All ends."""
        await self.stop()
        await self.runtime.close()
        await self._api.close()

    def start(self) -> None:
        """Start the agent, or start it again."""
        options = KubeletOptions(
            node_name=NODE,
            root=str(self.folder / "node"),
            log_root=str(self.folder / "logs"),
            cgroup_root="/carob-test",
            node_ip="10.42.0.1",
            cluster_dns=("10.43.0.10",),
        )
        self._leashes = [Leash(self.road), Leash(self.runtime)]
        road, runtime = self._leashes
        client = Client(cast("Transport", road))
        self.kubelet = Kubelet(client, cast("Runtime", runtime), options, self.clock, SeededRandomness(1), self.mounts)
        self._running = asyncio.get_running_loop().create_task(self.kubelet.run())

    def check(self) -> None:
        """The agent is still at work."""
        assert self._running is not None
        assert not self._running.done(), self._running.exception()

    async def stop(self) -> None:
        """The agent ends."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self.runtime._subscribers.clear()

    async def kill(self) -> None:
        """The agent is killed without warning, in the middle of whatever it does."""
        for leash in self._leashes:
            leash.cut()
        await self.stop()

    async def restart_server(self) -> None:
        """Another server comes in the place of the one that is there, over the same store."""
        self.road.cut()
        await self.clock.advance(0)
        await self._api.close()
        self._api = await self._new_api()
        self.road.mend()

    async def pod(self, name: str, command: str = "serve", **spec: Any) -> core_v1.Pod:
        fields = spec.pop("container", {})
        container = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "command": ["sh", "-c", command]}
        tree = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": NODE, "containers": [container | fields]} | spec,
        }
        return await self.client.create(codec.from_tree(core_v1.Pod, tree))

    async def pods(self) -> Mapping[str, core_v1.Pod]:
        return {pod.metadata.name: pod for pod in (await self.client.list(core_v1.Pod, "default")).items}

    async def pass_time(self, seconds: float) -> None:
        """Time goes by."""
        await self.clock.advance(seconds)

    async def soon(self, holds: Callable[[Mapping[str, core_v1.Pod]], Any], within_seconds: float = 60.0) -> float:
        """How long it takes until the API's Pods are so."""
        begun = self.clock.monotonic()
        while not holds(await self.pods()):
            gone_by = self.clock.monotonic() - begun
            found = {name: codec.to_tree(pod.status) for name, pod in (await self.pods()).items()}
            assert gone_by < within_seconds, f"not so after {gone_by:g} s: {found}"
            await self.clock.advance(0)
            if holds(await self.pods()):
                break
            await self.clock.advance(0.1)
        return self.clock.monotonic() - begun

    def running(self, pod: core_v1.Pod) -> list[str]:
        """Ids of the Pod's containers that run."""
        uid = pod.metadata.uid
        return [
            status.id
            for status in self.runtime.containers.values()
            if status.state is ContainerState.RUNNING and self.runtime.sandboxes[status.sandbox_id].config.uid == uid
        ]

    def starts(self, pod: core_v1.Pod) -> int:
        """How often a container of the Pod has begun."""
        attempts = [
            status.attempt
            for status in self.runtime.containers.values()
            if self.runtime.sandboxes[status.sandbox_id].config.uid == pod.metadata.uid
        ]
        return max(attempts, default=-1) + 1


def in_world(folder: Path, body: Callable[[World], Awaitable[None]]) -> None:
    """Run the body against a node that has begun."""

    async def main(loop: Loop) -> None:
        clock = JumpingClock(loop)
        pki = ensure_pki(folder / "pki", PkiOptions(), clock.now())
        options = ApiServerOptions(service_account_key_pem=pki.service_account_key.read_bytes())
        # of several servers in turn: none may give an id that another one has given
        store, randomness = MemoryStore(), SeededRandomness(2)

        async def new_api() -> ApiServer:
            api = ApiServer(store, options, clock, randomness)
            await api.start()
            return api

        world = World(folder, new_api, clock)
        await world.open()
        world.start()
        try:
            await body(world)
            world.check()
        finally:
            await world.close()

    loop = Loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main(loop))

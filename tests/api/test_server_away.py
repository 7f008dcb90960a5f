"""A node whose API server is away for an hour, and whose clock jumps: what should run runs, nothing runs twice, and the API
has it right within a second of the return. Everything is on virtual time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import coordination_v1, core_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import VirtualClock, parse_rfc3339
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

NODE = "node-0"
ADMIN = UserInfo("test", ("system:masters", "system:authenticated"))
HOUR = 3600.0
STEP_SECONDS = 5.0


class JumpingClock(VirtualClock):
    """Virtual time whose wall clock somebody sets."""

    def __init__(self) -> None:
        super().__init__(time.time())
        self.offset = 0.0

    def now(self) -> float:
        return super().now() + self.offset


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
    """A runtime that minds when two containers of one name run for the same Pod, or for two Pods of one name."""

    async def start_container(self, container_id: str) -> None:
        new = self.containers[container_id]
        pod = self.sandboxes[new.sandbox_id].config
        for other in self.containers.values():
            if other.state is ContainerState.RUNNING and other.name == new.name:
                theirs = self.sandboxes[other.sandbox_id].config
                assert (theirs.namespace, theirs.name) != (pod.namespace, pod.name), f"{pod.name} runs twice"
        await super().start_container(container_id)


class World:
    def __init__(self, folder: Path, api: ApiServer, clock: JumpingClock) -> None:
        self.folder = folder
        self.clock = clock
        self.client = Client(MemoryTransport(api.handle, ADMIN))
        self.road = Road(MemoryTransport(api.handle, ADMIN), clock)
        self.runtime = Witness(clock.now)
        self.runtime.add_image("web:latest", Cmd=["serve"])
        options = KubeletOptions(
            node_name=NODE,
            root=str(folder / "node"),
            log_root=str(folder / "logs"),
            cgroup_root="/carob-test",
            node_ip="10.42.0.1",
            cluster_dns=("10.43.0.10",),
        )
        self.kubelet = Kubelet(Client(self.road), self.runtime, options, clock, SeededRandomness(1), FakeMounts())

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

    async def pass_time(self, seconds: float, step_seconds: float = STEP_SECONDS) -> None:
        """Time goes by; threads that write volumes get their turn in between."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            await self.clock.advance(min(step_seconds, left))
            await asyncio.sleep(0.0005)

    async def soon(self, holds: Callable[[Mapping[str, core_v1.Pod]], Any], within_seconds: float = 60.0) -> float:
        """How long it takes until the API's Pods are so."""
        begun = self.clock.monotonic()
        while not holds(await self.pods()):
            gone_by = self.clock.monotonic() - begun
            found = {name: codec.to_tree(pod.status) for name, pod in (await self.pods()).items()}
            assert gone_by < within_seconds, f"not so after {gone_by:g} s: {found}"
            # what threads do takes no virtual time
            for _ in range(20):
                await self.clock.advance(0)
                await asyncio.sleep(0.0005)
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
    async def main() -> None:
        clock = JumpingClock()
        pki = ensure_pki(folder / "pki", PkiOptions(), clock.now())
        options = ApiServerOptions(service_account_key_pem=pki.service_account_key.read_bytes())
        api = ApiServer(MemoryStore(), options, clock, SeededRandomness(2))
        await api.start()
        world = World(folder, api, clock)
        account = {"metadata": {"name": "default", "namespace": "default"}, "automountServiceAccountToken": False}
        await world.client.create(codec.from_tree(core_v1.ServiceAccount, account))
        running = asyncio.get_running_loop().create_task(world.kubelet.run())
        try:
            await body(world)
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await api.close()

    asyncio.run(main())


def ready(pod: core_v1.Pod | None) -> bool:
    return pod is not None and any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def restarts(pod: core_v1.Pod) -> int:
    return pod.status.container_statuses[0].restart_count


def token_volume(seconds: int = 3600) -> dict[str, Any]:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds}}
    return {
        "container": {"volumeMounts": [{"name": "t", "mountPath": "/t"}]},
        "volumes": [{"name": "t", "projected": {"sources": [source]}}],
    }


def token_of(world: World, pod: core_v1.Pod) -> str:
    (container,) = world.running(pod)
    return (Path(world.runtime.configs[container].mounts[0].host_path) / "token").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("swallows", [False, True], ids=["refusing", "silent"])
def test_an_hour_without_the_server(tmp_path: Path, swallows: bool) -> None:
    async def body(world: World) -> None:
        probe = {"exec": {"command": ["check"]}, "periodSeconds": 10, "failureThreshold": 2}
        world.runtime.programs["check",] = (0, b"", b"")
        steady = await world.pod("steady", **token_volume())
        probed = await world.pod("probed", container={"livenessProbe": probe})
        crashing = await world.pod("crashing", "once")
        ending = await world.pod("ending", "once", restartPolicy="Never")
        doomed = await world.pod("doomed", terminationGracePeriodSeconds=5)
        replaced = await world.pod("replaced")
        shaken = await world.pod("shaken", **token_volume())
        names = {"steady", "probed", "crashing", "ending", "doomed", "replaced", "shaken"}
        await world.soon(lambda pods: all(ready(pods[name]) for name in names))
        before = {name: world.running(pod) for name, pod in (await world.pods()).items()}
        token = token_of(world, steady)

        world.road.cut(swallows=swallows)
        cut_at = world.clock.monotonic()
        world.runtime.programs["sh", "-c", "once"] = (1, b"", b"")
        world.runtime.finish(before["crashing"][0], 1)
        await world.pass_time(600)
        world.runtime.finish(before["ending"][0], 0)
        world.runtime.programs["check",] = (1, b"no", b"")
        while world.starts(probed) < 2:
            await world.pass_time(1)
        world.runtime.programs["check",] = (0, b"", b"")
        world.runtime.kill_pause(world.runtime.containers[before["shaken"][0]].sandbox_id)
        # what others do meanwhile, where the server is only out of this node's reach
        await world.client.delete(core_v1.Pod, "doomed", "default")
        await world.client.delete(core_v1.Pod, "replaced", "default", grace_period_seconds=0)
        new = await world.pod("replaced")
        late = await world.pod("late")
        await world.pass_time(cut_at + HOUR - world.clock.monotonic())

        # what should run runs, as often as its policy says
        assert world.running(steady) == before["steady"]
        assert world.running(doomed) == before["doomed"]
        assert world.running(replaced) == before["replaced"]
        assert world.running(new) == world.running(late) == []
        # 10, 20, 40, 80, 160 seconds, then every 300
        assert 12 <= world.starts(crashing) <= 18
        assert len(world.running(probed)) == 1
        assert world.starts(probed) == 2
        assert world.starts(ending) == 1
        assert len(world.running(shaken)) == 1
        assert world.running(shaken) != before["shaken"]
        assert (await world.pods())["crashing"].status.container_statuses[0].restart_count == 0

        world.road.mend()
        told = await world.soon(
            lambda pods: (
                restarts(pods["crashing"]) == world.starts(crashing) - 1
                and restarts(pods["probed"]) == 1
                and pods["ending"].status.phase == "Succeeded"
                and ready(pods["steady"])
                and restarts(pods["steady"]) == 0
                and ready(pods["shaken"])
                and restarts(pods["shaken"]) == 1
            )
        )
        assert told <= (31.0 if swallows else 1.1)
        changed = await world.soon(
            lambda pods: (
                pods.keys() == names - {"doomed"} | {"late"}
                and pods["replaced"].metadata.uid == new.metadata.uid
                and ready(pods["replaced"])
                and ready(pods["late"])
            )
        )
        assert told + changed <= (37.0 if swallows else 7.5)  # the grace of 5 seconds in it
        assert world.running(replaced) == world.running(doomed) == []
        # the token has ended meanwhile
        await world.pass_time(1, 0.2)
        assert token_of(world, steady) != token

    in_world(tmp_path, body)


def test_a_clock_that_is_set_restarts_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        probe = {"exec": {"command": ["check"]}, "initialDelaySeconds": 5, "periodSeconds": 10}
        world.runtime.programs["check",] = (0, b"", b"")
        world.runtime.programs["sh", "-c", "crash"] = (1, b"", b"")
        steady = await world.pod("steady", **token_volume())
        probed = await world.pod("probed", container={"livenessProbe": probe, "readinessProbe": probe})
        crashing = await world.pod("crashing", "crash")
        await world.soon(lambda pods: ready(pods["steady"]) and ready(pods["probed"]))
        before = world.running(steady), world.running(probed)

        async def unmoved() -> None:
            pods = await world.pods()
            assert (world.running(steady), world.running(probed)) == before
            assert ready(pods["steady"])
            assert ready(pods["probed"])
            assert (restarts(pods["steady"]), restarts(pods["probed"])) == (0, 0)

        token = token_of(world, steady)
        world.clock.offset += 24 * HOUR
        await world.pass_time(30)
        await unmoved()
        # by the new time the old token has ended
        later = token_of(world, steady)
        assert later != token
        starts = world.starts(crashing)
        world.clock.offset -= 48 * HOUR
        await world.pass_time(200)
        await unmoved()
        assert starts < world.starts(crashing) < 8
        lease = await world.client.get(coordination_v1.Lease, NODE, "kube-node-lease")
        assert lease.spec.renew_time is not None
        assert world.clock.now() - parse_rfc3339(lease.spec.renew_time) < 11
        assert token_of(world, steady) == later

    in_world(tmp_path, body)


def again(times: int) -> Callable[[Mapping[str, core_v1.Pod]], bool]:
    return lambda pods: ready(pods["steady"]) and restarts(pods["steady"]) == times


def test_a_token_is_renewed_in_time_although_its_container_ended_once(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        steady = await world.pod("steady", **token_volume())
        await world.soon(lambda pods: ready(pods["steady"]))
        token = token_of(world, steady)
        for restart in (1, 2):
            # the second time it waits for its back-off
            world.runtime.finish(world.running(steady)[0], 1)
            await world.soon(again(restart))
        await world.pass_time(2900, 30)
        assert token_of(world, steady) != token

    in_world(tmp_path, body)


def test_a_token_is_renewed_in_time_although_the_clock_was_set_back(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        steady = await world.pod("steady", **token_volume())
        await world.soon(lambda pods: ready(pods["steady"]))
        token = token_of(world, steady)
        await world.pass_time(60, 30)
        world.clock.offset -= 600
        await world.pass_time(2880, 30)
        assert token_of(world, steady) == token
        await world.pass_time(600, 30)
        assert token_of(world, steady) != token

    in_world(tmp_path, body)

"""The CRI's socket as any client of it sees it: plain gRPC calls, over the fake runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.host.pressure import Pressure, Stall
from carob.runtime.cri import container_messages as containers
from carob.runtime.cri import image_messages as images
from carob.runtime.cri import runtime_messages as node
from carob.runtime.cri import sandbox_messages as sandboxes
from carob.runtime.cri.channel import Channel
from carob.runtime.cri.codec import Message, encode
from carob.runtime.cri.events import Events, announcing
from carob.runtime.cri.exits import Exits
from carob.runtime.cri.server import CriServer
from carob.runtime.types import ContainerStats, Exited, InterfaceStats, SandboxStats
from carob.transport.client import SocketTransport
from carob.transport.http import Request
from carob.transport.spdy_clients import open_spdy_command
from carob.wire.remotecommand import Streams, exit_code_of
from tests.fakes.runtime import FakeRuntime

IMAGE = "carob.local/busybox:1"
STOPPED, DELETED = containers.STOPPED_EVENT, containers.DELETED_EVENT


class Node:
    """The fake, its socket, a connection to it."""

    def __init__(self, folder: Path) -> None:
        self.fake = FakeRuntime()
        self.image = self.fake.add_image(IMAGE, User="1000:1000")
        self.events = Events()
        self.runtime = announcing(self.fake, self.events)
        self.socket = folder / "cri.sock"
        self.channel = Channel(f"unix:{self.socket}")

    async def run(self, body: Callable[[Node], Awaitable[None]]) -> None:
        server = CriServer(
            self.runtime,
            self.events,
            self.socket,
            SystemClock(),
            SystemRandomness(),
            cgroup_parent="/carob-test/cri",
        )
        await server.listen()
        try:
            await body(self)
        finally:
            await self.channel.close()
            await server.close()
        assert not self.socket.exists()

    async def refusal(self, rpc: str, request: Message | bytes) -> tuple[str, str]:
        """The code and the words of a call that fails."""
        data = request if isinstance(request, bytes) else encode(request)
        async with grpc.aio.insecure_channel(f"unix:{self.socket}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await channel.unary_unary(f"/runtime.v1.RuntimeService/{rpc}")(data, timeout=30)
            return failure.value.code().name, failure.value.details()

    async def sandbox(self, name: str = "web", **labels: str) -> str:
        config = sandboxes.PodSandboxConfig(
            metadata=sandboxes.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"), labels=labels
        )
        made = await self.channel.runtime(
            "RunPodSandbox", sandboxes.RunPodSandboxRequest(config=config), sandboxes.PodSandboxId
        )
        return made.pod_sandbox_id

    async def container(self, sandbox_id: str, *command: str, name: str = "main") -> str:
        config = containers.ContainerConfig(
            metadata=containers.ContainerMetadata(name=name),
            image=images.ImageSpec(image=IMAGE),
            command=list(command),
        )
        request = containers.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config)
        made = await self.channel.runtime("CreateContainer", request, containers.ContainerId)
        return made.container_id

    async def started(self, sandbox_id: str, *command: str) -> str:
        container_id = await self.container(sandbox_id, *command)
        await self.channel.runtime("StartContainer", containers.ContainerId(container_id=container_id), sandboxes.Empty)
        return container_id


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Node], Awaitable[None]]], None]:
    return lambda body: asyncio.run(Node(tmp_path).run(body))


Run = Callable[[Callable[[Node], Awaitable[None]]], None]


def test_only_root_may_open_the_socket_and_the_network_says_how_it_is(run: Run) -> None:
    async def body(node_: Node) -> None:
        assert node_.socket.stat().st_mode & 0o777 == 0o600
        node_.fake.health.network_problem = "no address range"
        status = await node_.channel.runtime("Status", node.StatusRequest(), node.StatusResponse)
        assert status.status is not None
        conditions = {c.type: (c.status, c.message) for c in status.status.conditions}
        assert conditions == {"RuntimeReady": (True, ""), "NetworkReady": (False, "no address range")}
        assert status.info == {}

    run(body)


def test_lists_are_filtered_and_ids_may_be_short(run: Run) -> None:
    async def body(node_: Node) -> None:
        first = await node_.sandbox("first", app="a")
        second = await node_.sandbox("second", app="b")
        wanted = sandboxes.ListPodSandboxRequest(filter=sandboxes.PodSandboxFilter(label_selector={"app": "b"}))
        for rpc in ("ListPodSandbox", "StreamPodSandboxes"):
            if rpc == "ListPodSandbox":
                found = await node_.channel.runtime(rpc, wanted, sandboxes.PodSandboxes)
            else:
                (found,) = [one async for one in node_.channel.stream(rpc, wanted, sandboxes.PodSandboxes)]
            assert [item.id for item in found.items] == [second]
        nothing = sandboxes.ListPodSandboxRequest(filter=sandboxes.PodSandboxFilter(label_selector={"app": "c"}))
        assert [one async for one in node_.channel.stream("StreamPodSandboxes", nothing, sandboxes.PodSandboxes)] == []
        container_id = await node_.started(first, "sleep", "9")
        running = containers.ContainerFilter(
            state=containers.ContainerStateValue(state=containers.CONTAINER_RUNNING), pod_sandbox_id=first
        )
        listed = await node_.channel.runtime(
            "ListContainers", containers.ListContainersRequest(filter=running), containers.Containers
        )
        assert [(c.id, c.image_id) for c in listed.containers] == [(container_id, node_.image.id)]
        told = await node_.channel.runtime(
            "ContainerStatus",
            containers.ContainerStatusRequest(container_id=container_id[:-1]),
            containers.ContainerStatusResponse,
        )
        assert told.status is not None
        assert told.status.id == container_id
        code, words = await node_.refusal(
            "PodSandboxStatus", sandboxes.PodSandboxStatusRequest(pod_sandbox_id="sandbox-")
        )
        assert (code, words) == ("INVALID_ARGUMENT", '"sandbox-" is the beginning of several ids')

    run(body)


def test_what_cannot_be_asked_for_is_refused_with_its_reason(run: Run) -> None:
    async def body(node_: Node) -> None:
        sandbox_id = await node_.sandbox()
        container_id = await node_.container(sandbox_id, "sleep", "9")
        exec_ = containers.ExecRequest(container_id=container_id, cmd=["sh"], tty=True, stdout=True, stderr=True)
        cases: list[tuple[str, Message | bytes, str, str]] = [
            ("RunPodSandbox", sandboxes.RunPodSandboxRequest(), "INVALID_ARGUMENT", "must be given"),
            ("CreateContainer", b"\x0a\x05a", "INVALID_ARGUMENT", "beyond its message"),
            ("ContainerStatus", containers.ContainerStatusRequest(container_id="x"), "NOT_FOUND", 'find container "x"'),
            ("StartContainer", containers.ContainerId(container_id="x"), "NOT_FOUND", 'find container "x"'),
            ("PodSandboxStats", sandboxes.PodSandboxId(), "NOT_FOUND", 'find sandbox ""'),
            ("ContainerStats", containers.ContainerId(container_id=container_id), "NOT_FOUND", "find container"),
            ("Exec", exec_, "INVALID_ARGUMENT", "tty and stderr cannot both be true"),
            ("Exec", containers.ExecRequest(container_id=container_id, cmd=["a"]), "INVALID_ARGUMENT", "one of stdin"),
            ("Attach", containers.AttachRequest(container_id=container_id, stdout=True), "UNKNOWN", "is not running"),
            ("ExecSync", containers.ExecSyncRequest(container_id=container_id, cmd=["a"]), "UNKNOWN", "not running"),
            ("CheckpointContainer", node.CheckpointContainerRequest(), "UNIMPLEMENTED", ""),
        ]
        for rpc, request, code, words in cases:
            found = await node_.refusal(rpc, request)
            assert (rpc, found[0]) == (rpc, code)
            assert words in found[1]
        again = sandboxes.PodSandboxConfig(
            metadata=sandboxes.PodSandboxMetadata(name="web", uid="uid-web", namespace="default")
        )
        code, said = await node_.refusal("RunPodSandbox", sandboxes.RunPodSandboxRequest(config=again))
        assert (code, said) == (
            "UNKNOWN",
            f'failed to reserve sandbox name "web_default_uid-web_0": it is reserved for "{sandbox_id}"',
        )
        # what is gone is no failure where the CRI says so
        for rpc in ("StopContainer", "RemoveContainer"):
            await node_.channel.runtime(rpc, containers.ContainerId(container_id="x"), sandboxes.Empty)
        for rpc in ("StopPodSandbox", "RemovePodSandbox"):
            await node_.channel.runtime(rpc, sandboxes.PodSandboxId(pod_sandbox_id="x"), sandboxes.Empty)

    run(body)


def test_pressure_and_metrics_are_told(run: Run) -> None:
    async def body(node_: Node) -> None:
        sandbox_id = await node_.sandbox()
        container_id = await node_.started(sandbox_id, "sleep", "9")
        pressure = {"memory": Pressure(some=Stall(3_000_000, 1.5, 0.25, 0.0), full=Stall(1_000_000))}
        node_.fake.stats[container_id] = ContainerStats(
            id=container_id, timestamp=1.0, cpu_usage_nanoseconds=2_500_000_000, oom_kills=1, pressure=pressure
        )
        interface = InterfaceStats("eth0", receive_bytes=7, transmit_dropped=2)
        node_.fake.sandbox_counters[sandbox_id] = SandboxStats(id=sandbox_id, timestamp=1.0, interfaces=[interface])
        request = containers.ContainerId(container_id=container_id)
        stats = (await node_.channel.runtime("ContainerStats", request, node.ContainerStatsResponse)).stats
        assert stats is not None
        assert stats.memory is not None
        some, full = node.PsiData(total=3 * 10**9, avg10=1.5, avg60=0.25), node.PsiData(total=10**9)
        assert stats.memory.psi == node.PsiStats(full=full, some=some)
        assert stats.io is None

        told = await node_.channel.runtime(
            "ListMetricDescriptors", sandboxes.Empty(), node.ListMetricDescriptorsResponse
        )
        keys = {one.name: one.label_keys for one in told.descriptors}
        (pod,) = (
            await node_.channel.runtime("ListPodSandboxMetrics", sandboxes.Empty(), node.ManyPodSandboxMetrics)
        ).pod_metrics
        assert pod.pod_sandbox_id == sandbox_id
        (inside,) = pod.container_metrics
        assert inside.container_id == container_id
        for metric in (*pod.metrics, *inside.metrics):
            assert len(metric.label_values) == len(keys[metric.name])
        values = {one.name: one.value.value for one in inside.metrics if one.value is not None}
        assert values["container_cpu_usage_seconds_total"] == 2
        assert values["container_oom_events_total"] == 1
        assert values["container_pressure_memory_waiting_seconds_total"] == 3
        network = {m.name: (m.label_values[-1], m.value and m.value.value) for m in pod.metrics if "network" in m.name}
        assert network["container_network_receive_bytes_total"] == ("eth0", 7)
        assert network["container_network_transmit_packets_dropped_total"] == ("eth0", 2)

    run(body)


def test_a_user_may_be_named(run: Run) -> None:
    async def body(node_: Node) -> None:
        sandbox_id = await node_.sandbox()
        numbered, group = sandboxes.Int64Value(value=5), sandboxes.Int64Value(value=7)

        def asking(security: containers.LinuxContainerSecurityContext) -> containers.CreateContainerRequest:
            config = containers.ContainerConfig(
                metadata=containers.ContainerMetadata(name="main"),
                image=images.ImageSpec(image=IMAGE),
                linux=containers.LinuxContainerConfig(security_context=security),
            )
            return containers.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config)

        named = containers.LinuxContainerSecurityContext(run_as_username="web", run_as_group=group)
        made = await node_.channel.runtime("CreateContainer", asking(named), containers.ContainerId)
        security = node_.fake.configs[made.container_id].security
        assert (security.run_as_username, security.run_as_user, security.run_as_group) == ("web", None, 7)
        both = containers.LinuxContainerSecurityContext(run_as_username="web", run_as_user=numbered)
        assert await node_.refusal("CreateContainer", asking(both)) == (
            "INVALID_ARGUMENT",
            "user is specified by number and by name",
        )
        alone = containers.LinuxContainerSecurityContext(run_as_group=group)
        assert (await node_.refusal("CreateContainer", asking(alone)))[1] == "user group is specified without user"

    run(body)


def test_a_sandbox_without_a_group_gets_one_below_the_clusters(run: Run) -> None:
    async def body(node_: Node) -> None:
        sandbox_id = await node_.sandbox("web")
        assert node_.fake.sandboxes[sandbox_id].config.cgroup_parent == "/carob-test/cri/poduid-web"

    run(body)


def test_a_url_for_exec_works_once(run: Run) -> None:
    async def body(node_: Node) -> None:
        container_id = await node_.started(await node_.sandbox(), "sleep", "9")
        request = containers.ExecRequest(
            container_id=container_id, cmd=["sh", "-c", "echo hello; exit 3"], stdout=True, stderr=True
        )
        url = (await node_.channel.runtime("Exec", request, sandboxes.StreamUrl)).url
        host, _, path = url.removeprefix("http://").partition("/")
        assert host.startswith("127.0.0.1:")
        transport = SocketTransport(f"http://{host}")
        command = await open_spdy_command(transport, f"/{path}", "", Streams(stdout=True, stderr=True))
        assert await command.read() == (1, b"hello\n")
        assert await command.read() is None
        assert exit_code_of(command.status) == 3
        command.close()
        assert (await transport.send(Request("GET", f"/{path}"))).status == 404
        await transport.close()

    run(body)


def test_who_listens_hears_what_others_did(run: Run) -> None:
    async def body(node_: Node) -> None:
        heard: list[tuple[int, str]] = []

        async def listen() -> None:
            stream = node_.channel.stream("GetContainerEvents", sandboxes.Empty(), containers.ContainerEventResponse)
            async for event in stream:
                heard.append((event.container_event_type, event.container_id))
                if event.container_event_type == DELETED and event.container_id.startswith("sandbox"):
                    return

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(30):
            while not node_.events.listeners:  # noqa: ASYNC110 - the call's arrival has no event
                await asyncio.sleep(0.01)
            sandbox_id = await node_.sandbox()
            container_id = await node_.started(sandbox_id, "sleep", "9")
            # not by the socket: as the kubelet does it
            await node_.runtime.stop_container(container_id, 0)
            await node_.runtime.remove_sandbox(sandbox_id)
            await listening
        assert heard == [
            (containers.CREATED_EVENT, sandbox_id),
            (containers.STARTED_EVENT, sandbox_id),
            (containers.CREATED_EVENT, container_id),
            (containers.STARTED_EVENT, container_id),
            (STOPPED, container_id),
            (STOPPED, sandbox_id),
            (DELETED, container_id),
            (DELETED, sandbox_id),
        ]

    run(body)


def test_what_somebody_else_removes_has_ended(run: Run) -> None:
    async def body(node_: Node) -> None:
        told: asyncio.Queue[Exited] = asyncio.Queue()
        sandbox_id = await node_.sandbox()
        # one that never began is removed without having been stopped
        container_id = await node_.container(sandbox_id, "sleep", "9")
        exits = Exits(node_.channel, {}, told.put_nowait)
        exits.container(container_id, sandbox_id)
        listening = asyncio.create_task(exits._listen())
        async with asyncio.timeout(30):
            while not node_.events.listeners:  # noqa: ASYNC110 - the call's arrival has no event
                await asyncio.sleep(0.01)
            await node_.runtime.remove_container(container_id)
            assert await told.get() == Exited(sandbox_id, container_id)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    run(body)


def test_a_listener_that_does_not_read_is_told_so_and_costs_no_more() -> None:
    async def body() -> None:
        events = Events()
        queue = events.listen()
        for _ in range(1001):
            events.tell(STOPPED, "s", "c")
        assert events.listeners == 0
        seen = [queue.get_nowait() for _ in range(queue.qsize())]
        assert (len(seen), seen[-1]) == (1001, None)

    asyncio.run(body())


def test_images_are_listed_removed_and_missing_without_a_failure(run: Run) -> None:
    async def body(node_: Node) -> None:
        every = await node_.channel.image("ListImages", images.ListImagesRequest(), images.Images)
        assert [(i.id, i.repo_tags, i.uid and i.uid.value, i.username) for i in every.images] == [
            (node_.image.id, [IMAGE], 1000, "")
        ]
        named = images.ImageSpec(image=IMAGE)
        await node_.channel.image("RemoveImage", images.RemoveImageRequest(image=named), sandboxes.Empty)
        await node_.channel.image("RemoveImage", images.RemoveImageRequest(image=named), sandboxes.Empty)
        gone: Any = await node_.channel.image(
            "ImageStatus", images.ImageStatusRequest(image=named), images.ImageStatusResponse
        )
        assert gone.image is None

    run(body)

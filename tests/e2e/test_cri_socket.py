"""A node's own runtime as a CRI client sees it: what crictl does, call by call, on a real cluster's socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from clusters import WEB_IMAGE, Cluster, start
from machine import look
from test_node import manifest

from carob.runtime.cri import container_messages as containers
from carob.runtime.cri import image_messages as images
from carob.runtime.cri import runtime_messages as node
from carob.runtime.cri import sandbox_messages as sandboxes
from carob.runtime.cri.channel import Channel
from carob.runtime.cri.streams import open_command, open_port
from carob.runtime.types import RuntimeFailure
from carob.wire.remotecommand import Streams

pytestmark = [pytest.mark.root, pytest.mark.slow]

Body = Callable[[Channel], Awaitable[None]]


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "cri.sock"


@pytest.fixture(scope="module")
def cluster(socket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose node serves the CRI; a sandbox that a client left there goes with it."""
    before = look()
    made = start(f"crs-{os.getpid() % 10000}", tmp_path_factory.mktemp("cluster"), "--cri-socket", str(socket))
    try:
        yield made
    finally:
        made.carob("down", timeout=120).check()
    marks = (made.name, str(made.data_dir))
    assert [line for line in before.difference(look()) if any(mark in line for mark in marks)] == []
    assert not socket.exists()


def talk(socket: Path, body: Body) -> None:
    async def main() -> None:
        channel = Channel(f"unix:{socket}")
        try:
            await body(channel)
        finally:
            await channel.close()

    asyncio.run(main())


async def run_pod(channel: Channel, name: str, logs: Path) -> str:
    config = sandboxes.PodSandboxConfig(
        metadata=sandboxes.PodSandboxMetadata(name=name, uid=f"{name}-uid", namespace="default"),
        log_directory=str(logs),
        labels={"by": "client"},
    )
    request = sandboxes.RunPodSandboxRequest(config=config)
    return (await channel.runtime("RunPodSandbox", request, sandboxes.PodSandboxId)).pod_sandbox_id


async def run_container(channel: Channel, sandbox_id: str, *command: str) -> str:
    config = containers.ContainerConfig(
        metadata=containers.ContainerMetadata(name="main"),
        image=images.ImageSpec(image=WEB_IMAGE),
        command=list(command),
        log_path="main.log",
    )
    request = containers.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config)
    made = await channel.runtime("CreateContainer", request, containers.ContainerId)
    await channel.runtime("StartContainer", made, sandboxes.Empty)
    return made.container_id


def test_the_clusters_pods_are_seen_with_what_they_use(cluster: Cluster, socket: Path) -> None:
    cluster.carob("apply", "-f", "-", stdin=manifest("seen")).check()
    cluster.wait_ready("seen")

    async def body(channel: Channel) -> None:
        labels = {"io.kubernetes.pod.name": "seen"}
        wanted = containers.ListContainersRequest(filter=containers.ContainerFilter(label_selector=labels))
        (found,) = (await channel.runtime("ListContainers", wanted, containers.Containers)).containers
        assert found.metadata is not None
        assert (found.metadata.name, found.state) == ("c0", containers.CONTAINER_RUNNING)
        stats = await channel.runtime(
            "ContainerStats", containers.ContainerId(container_id=found.id[:13]), node.ContainerStatsResponse
        )
        assert stats.stats is not None
        assert stats.stats.memory is not None
        assert stats.stats.memory.working_set_bytes is not None
        assert stats.stats.memory.working_set_bytes.value > 0
        pod = await channel.runtime(
            "PodSandboxStats", sandboxes.PodSandboxId(pod_sandbox_id=found.pod_sandbox_id), node.PodSandboxStatsResponse
        )
        assert pod.stats is not None
        assert pod.stats.linux is not None
        assert pod.stats.linux.process is not None
        assert pod.stats.linux.process.process_count is not None
        assert pod.stats.linux.process.process_count.value >= 1
        # the image is in use
        with pytest.raises(RuntimeFailure, match="in use by container"):
            await channel.image(
                "RemoveImage", images.RemoveImageRequest(image=images.ImageSpec(image=WEB_IMAGE)), sandboxes.Empty
            )

    talk(socket, body)
    cluster.carob("delete", "pod", "seen").check()


def test_a_client_runs_a_pod_of_its_own(cluster: Cluster, socket: Path, tmp_path: Path) -> None:
    async def body(channel: Channel) -> None:
        sandbox_id = await run_pod(channel, "own", tmp_path)
        container_id = await run_container(channel, sandbox_id, "sh", "-c", "echo begun; exec web")
        short = container_id[:13]
        done = await channel.runtime(
            "ExecSync",
            containers.ExecSyncRequest(container_id=short, cmd=["sh", "-c", "hostname; echo no >&2; exit 4"]),
            containers.ExecSyncResponse,
        )
        assert (done.exit_code, done.stdout, done.stderr) == (4, b"own\n", b"no\n")

        request = containers.ExecRequest(container_id=short, cmd=["sh"], stdin=True, stdout=True, stderr=True)
        url = (await channel.runtime("Exec", request, sandboxes.StreamUrl)).url
        command = await open_command(url, Streams(stdin=True, stdout=True, stderr=True))
        await command.write(b"echo from the shell\nexit 6\n")
        await command.close_stdin()
        said = b""
        while (piece := await command.read()) is not None:
            said += piece[1]
        assert (said, await command.wait()) == (b"from the shell\n", 6)
        await command.close()

        forward = sandboxes.PortForwardRequest(pod_sandbox_id=sandbox_id, port=[8080])
        port = await open_port((await channel.runtime("PortForward", forward, sandboxes.StreamUrl)).url, 8080)
        await port.write(b"GET / HTTP/1.0\r\n\r\n")
        page = b""
        while data := await port.read():
            page += data
        assert b"Hello from a Pod" in page
        await port.close()

        assert " stdout F begun\n" in (tmp_path / "main.log").read_text()
        (tmp_path / "main.log").rename(tmp_path / "old.log")
        named = containers.ContainerId(container_id=short)
        await channel.runtime("ReopenContainerLog", named, sandboxes.Empty)
        changed = containers.UpdateContainerResourcesRequest(
            container_id=short, linux=sandboxes.LinuxContainerResources(memory_limit_in_bytes=64 << 20)
        )
        await channel.runtime("UpdateContainerResources", changed, sandboxes.Empty)
        told = await channel.runtime(
            "ContainerStatus", containers.ContainerStatusRequest(container_id=short), containers.ContainerStatusResponse
        )
        assert told.status is not None
        assert told.status.resources is not None
        assert told.status.resources.linux is not None
        assert told.status.resources.linux.memory_limit_in_bytes == 64 << 20

        await channel.runtime(
            "StopContainer", containers.StopContainerRequest(container_id=short, timeout=1), sandboxes.Empty
        )
        await channel.runtime("RemoveContainer", named, sandboxes.Empty)
        await channel.runtime("StopPodSandbox", sandboxes.PodSandboxId(pod_sandbox_id=sandbox_id), sandboxes.Empty)
        await channel.runtime("RemovePodSandbox", sandboxes.PodSandboxId(pod_sandbox_id=sandbox_id), sandboxes.Empty)
        mine = sandboxes.ListPodSandboxRequest(filter=sandboxes.PodSandboxFilter(label_selector={"by": "client"}))
        assert (await channel.runtime("ListPodSandbox", mine, sandboxes.PodSandboxes)).items == []

    talk(socket, body)


def test_what_a_client_leaves_goes_with_the_cluster(cluster: Cluster, socket: Path, tmp_path: Path) -> None:
    """The fixture looks at the machine afterwards."""

    async def body(channel: Channel) -> None:
        await run_container(channel, await run_pod(channel, "left", tmp_path), "sleep", "3600")

    talk(socket, body)
    # nothing of it is a Pod of the cluster
    assert "left" not in cluster.carob("get", "pods", "-A").check().out

"""The kubelet is killed, the API server away, the machine booted anew: what runs, runs on, and nothing twice."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.runtime.types import ContainerState, SandboxState
from tests.api.kubelet_world import NODE, World, eventually, in_world, ready


def test_a_restarted_agent_finds_its_pods(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod("stays")
        await world.pod("goes")
        await world.until("stays", ready)
        await world.until("goes", ready)
        before = await world.client.get(core_v1.Pod, "stays", "default")
        await world.stop()
        await world.client.delete(core_v1.Pod, "goes", "default", grace_period_seconds=0)
        await world.start()
        await eventually(lambda: len(world.runtime.sandboxes) == 1)
        after = await world.client.get(core_v1.Pod, "stays", "default")
        assert after.status == before.status
        assert world.runtime.containers[world.running()].attempt == 0
        world.runtime.finish(world.running(), 1)
        await world.until("stays", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)

    in_world(tmp_path, body)


def test_logs_that_a_killed_agent_left_of_a_pod_go(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        pod = await world.pod()
        await world.until("hello-pod", ready)
        await world.stop()
        left = tmp_path / "logs/default_gone_1234-5678/c"
        kept = tmp_path / f"logs/default_hello-pod_{pod.metadata.uid}/hello-ctr"
        for folder in (left, kept):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "0.log").write_text("words")
        (tmp_path / "logs/a_folder_of_somebody_else").mkdir()
        await world.start()
        await eventually(lambda: not left.parent.exists())
        assert (kept / "0.log").exists()
        assert (tmp_path / "logs/a_folder_of_somebody_else").exists()

    in_world(tmp_path, body)


def test_a_pod_whose_pause_process_dies_gets_a_new_sandbox(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        before = await world.pod()
        await world.until("hello-pod", ready)
        (sandbox,) = world.runtime.sandboxes
        world.runtime.kill_pause(sandbox)
        pod = await world.until("hello-pod", lambda p: ready(p) and p.status.pod_ip == "10.42.0.3")
        assert [ip.ip for ip in pod.status.pod_ips] == ["10.42.0.3"]
        assert pod.status.container_statuses[0].restart_count == 1
        assert pod.metadata.uid == before.metadata.uid
        await world.events("SandboxChanged")

    in_world(tmp_path, body)


def test_a_container_that_ended_while_the_agent_was_away(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(restartPolicy="Never")
        await world.until("hello-pod", ready)
        container_id = world.running()
        await world.stop()
        world.runtime.finish(container_id, 5)
        await world.start()
        pod = await world.until("hello-pod", lambda p: p.status.phase == "Failed")
        terminated = pod.status.container_statuses[0].state.terminated
        assert terminated is not None
        assert terminated.exit_code == 5

    in_world(tmp_path, body)


def test_an_agent_that_begins_without_the_api_ends_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod("lasting")
        await world.pod("crashing")
        await world.until("lasting", ready)
        pod = await world.until("crashing", ready)
        before = {status.id for status in world.runtime.containers.values()}
        (crashing,) = [
            status.id
            for status in world.runtime.containers.values()
            if world.runtime.sandboxes[status.sandbox_id].config.uid == pod.metadata.uid
        ]
        await world.stop()
        world.road.cut = True
        world.runtime.calls.clear()
        world.options = {"api_patience_seconds": 0.05}
        await world.start()
        await eventually(lambda: ("start", "") in world.runtime.calls)
        world.runtime.finish(crashing, 1)
        await asyncio.sleep(0.2)
        verbs = {verb for verb, _ in world.runtime.calls}
        assert not verbs & {"stop_container", "remove_container", "stop_sandbox", "remove_sandbox"}
        world.road.cut = False
        await world.until("crashing", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)
        lasting = await world.until("lasting", ready)
        assert lasting.status.container_statuses[0].restart_count == 0
        assert before < {status.id for status in world.runtime.containers.values()}

    in_world(tmp_path, body)


def test_after_a_reboot_pods_run_again_with_what_their_volumes_held(tmp_path: Path) -> None:
    def mounted(world: World, container_id: str, path: str) -> Path:
        return next(Path(m.host_path) for m in world.runtime.configs[container_id].mounts if m.container_path == path)

    async def body(world: World) -> None:
        config = {"metadata": {"name": "conf", "namespace": "default"}, "data": {"a": "one"}}
        await world.client.create(codec.from_tree(core_v1.ConfigMap, config))
        paths = {"disk": "/disk", "memory": "/memory", "conf": "/conf"}
        container = {
            "name": "c",
            "image": "web:latest",
            "imagePullPolicy": "Never",
            "volumeMounts": [{"name": name, "mountPath": path} for name, path in paths.items()],
        }
        volumes = [
            {"name": "disk", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "conf", "configMap": {"name": "conf"}},
        ]
        first = await world.pod("hello-pod", containers=[container], volumes=volumes)
        await world.pod("once", restartPolicy="Never")
        await world.until("hello-pod", ready)
        await world.until("once", ready)
        (before,) = [c.id for c in world.runtime.containers.values() if c.name == "c"]
        (mounted(world, before, "/disk") / "kept").write_text("1")
        folder = mounted(world, before, "/conf")
        await world.stop()
        # the power goes: no process lives, and what was in memory is gone
        shutil.rmtree(world.folder / "node" / "memory")
        world.mounts.points.clear()
        for sandbox in world.runtime.sandboxes.values():
            sandbox.state = SandboxState.NOT_READY
        for status in list(world.runtime.containers.values()):
            world.runtime.finish(status.id, 137, "ContainerStatusUnknown")

        await world.start()
        pod = await world.until("hello-pod", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)
        assert pod.metadata.uid == first.metadata.uid
        ended = pod.status.container_statuses[0].last_state.terminated
        assert ended is not None
        assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")
        (after,) = [c.id for c in world.runtime.containers.values() if c.state is ContainerState.RUNNING]
        assert (mounted(world, after, "/disk") / "kept").read_text() == "1"
        assert mounted(world, after, "/conf") == folder
        assert (folder / "a").read_text() == "one"
        assert str(mounted(world, after, "/memory")) in world.mounts.points
        failed = await world.until("once", lambda p: p.status.phase == "Failed")
        assert failed.status.container_statuses[0].restart_count == 0
        (sandbox,) = [s for s in world.runtime.sandboxes.values() if s.state is SandboxState.READY]
        assert pod.status.pod_ip == sandbox.ips[0]

    in_world(tmp_path, body)


@pytest.mark.slow
def test_what_happened_while_the_api_was_away_is_told_when_it_returns(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        world.road.cut = True
        world.runtime.finish(world.running(), 1)
        await eventually(lambda: len(world.runtime.containers) == 2)
        await asyncio.sleep(0.5)
        assert (await world.client.get(core_v1.Pod, "hello-pod", "default")).status.container_statuses[0].ready
        world.road.cut = False
        async with asyncio.timeout(1.2):
            await world.until("hello-pod", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)

    in_world(tmp_path, body)


def test_a_node_that_was_deleted_comes_back(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        node = world.kubelet.node
        await eventually(lambda: node.node is not None)
        await world.client.delete(core_v1.Node, NODE)
        await eventually(lambda: node.node is None)
        await node._tell_status()
        assert (await world.client.get(core_v1.Node, NODE)).status.capacity["pods"] == "110"

    in_world(tmp_path, body)


def test_a_pod_deleted_while_the_agent_was_away_goes(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        await world.stop()
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.start()
        await world.gone("hello-pod")

    in_world(tmp_path, body)

"""A Pod's way on its node, from its first container to its end, against a real API server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from carob.api.types import core_v1
from carob.runtime.types import ContainerState, RuntimeFailure
from tests.api.kubelet_world import NODE, World, eventually, in_world, names_in, ready, waiting


def test_no_container_begins_before_the_pods_policies_hold(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        asked, opened = asyncio.Event(), asyncio.Event()
        met: list[tuple[str, Sequence[str]]] = []

        async def opens(pod: core_v1.Pod, addresses: Sequence[str]) -> None:
            met.append((pod.metadata.name, tuple(addresses)))
            asked.set()
            await opened.wait()

        world.kubelet.gate.opened_by(opens)
        await world.pod()
        async with asyncio.timeout(30):
            await asked.wait()
        (sandbox,) = world.runtime.sandboxes.values()
        assert met == [("hello-pod", tuple(sandbox.ips))]
        assert not world.runtime.containers
        opened.set()
        await world.until("hello-pod", ready)
        assert len(met) == 1

    in_world(tmp_path, body)


def test_a_pod_becomes_ready_and_its_status_says_everything(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        pod = await world.until("hello-pod", ready)
        status = pod.status
        assert (status.phase, status.pod_ip, status.host_ip) == ("Running", "10.42.0.2", "10.42.0.1")
        assert [ip.ip for ip in status.pod_ips] == ["10.42.0.2"]
        assert {c.type: c.status for c in status.conditions} == {
            "PodReadyToStartContainers": "True",
            "Initialized": "True",
            "Ready": "True",
            "ContainersReady": "True",
            "PodScheduled": "True",
        }
        (container,) = status.container_statuses
        assert container.container_id == f"carob://{world.running()}"
        assert (container.ready, container.started, container.restart_count) == (True, True, 0)
        assert container.image == "web:latest"
        assert status.observed_generation == pod.metadata.generation
        assert status.start_time is not None
        assert status.qos_class == "BestEffort"

    in_world(tmp_path, body)


def test_events_tell_the_way_of_a_container(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        pulled, created, started = await world.events("Pulled", "Created", "Started")
        assert pulled.message == (
            'Container image "web:latest" already present on machine and can be accessed by the pod'
        )
        assert (created.message, started.message) == ("Container created", "Container started")
        assert started.involved_object.field_path == "spec.containers{hello-ctr}"
        assert started.source.component == "kubelet"
        assert started.source.host == NODE

    in_world(tmp_path, body)


def test_deletion_stops_the_process_and_then_the_pod_is_gone(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        pod = await world.pod()
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        (killing,) = await world.events("Killing")
        assert killing.message == "Stopping container hello-ctr"
        files = world.folder / "node" / "pods"
        await eventually(lambda: not world.runtime.sandboxes and pod.metadata.uid not in os.listdir(files))
        assert world.runtime.containers == {}

    in_world(tmp_path, body)


def test_a_container_that_ends_is_started_again_and_then_backs_off(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        world.runtime.finish(world.running(), 1)
        await world.until("hello-pod", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)
        world.runtime.finish(world.running(), 1)
        pod = await world.until("hello-pod", waiting("CrashLoopBackOff"))
        (status,) = pod.status.container_statuses
        assert status.state.waiting is not None
        assert status.state.waiting.message == (
            f"back-off 10s restarting failed container=hello-ctr pod=hello-pod_default({pod.metadata.uid})"
        )
        assert status.last_state.terminated is not None
        assert (status.last_state.terminated.exit_code, status.last_state.terminated.reason) == (1, "Error")
        assert pod.status.phase == "Running"
        (event,) = await world.events("BackOff")
        assert event.message.startswith("Back-off restarting failed container hello-ctr in pod hello-pod_default(")

    in_world(tmp_path, body)


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (3, "Failed", "Error")])
def test_a_pod_that_never_restarts_ends(tmp_path: Path, code: int, phase: str, reason: str) -> None:
    async def body(world: World) -> None:
        container = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "args": ["sh", f"exit {code}"]}
        await world.pod(restartPolicy="Never", containers=[container])
        pod = await world.until("hello-pod", lambda p: p.status.phase == phase)
        terminated = pod.status.container_statuses[0].state.terminated
        assert terminated is not None
        assert (terminated.exit_code, terminated.reason) == (code, reason)
        condition = next(c for c in pod.status.conditions if c.type == "Ready")
        assert (condition.status, condition.reason) == (
            "False",
            "PodCompleted" if code == 0 else "PodFailed",
        )
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")

    in_world(tmp_path, body)


@pytest.mark.slow
def test_an_image_that_is_nowhere(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=[{"name": "c", "image": "nowhere:1"}])
        await world.until("hello-pod", waiting("ErrImagePull"))
        pod = await world.until("hello-pod", waiting("ImagePullBackOff"))
        state = pod.status.container_statuses[0].state.waiting
        assert state is not None
        assert state.message.startswith('Back-off pulling image "nowhere:1": ErrImagePull: failed to pull')
        assert pod.status.phase == "Pending"
        pulling, failed = await world.events("Pulling", "Failed")
        assert pulling.message == 'Pulling image "nowhere:1"'
        assert failed.message.startswith('Failed to pull image "nowhere:1": ')

    in_world(tmp_path, body)


def test_an_image_name_that_is_none(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=[{"name": "c", "image": "Nowhere:1"}])
        pod = await world.until("hello-pod", waiting("InvalidImageName"))
        state = pod.status.container_statuses[0].state.waiting
        assert state is not None
        assert state.message == (
            'Failed to apply default image tag "Nowhere:1": couldn\'t parse image name "Nowhere:1": '
            "invalid reference format: repository name (library/Nowhere) must be lowercase"
        )

    in_world(tmp_path, body)


def test_init_containers_run_one_after_another(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        done = {"image": "web:latest", "imagePullPolicy": "Never", "args": ["sh", "exit 0"]}
        await world.pod(initContainers=[{"name": "a", **done}, {"name": "b", **done}])
        pod = await world.until("hello-pod", ready)
        order = [what for verb, what in world.runtime.calls if verb == "create_container"]
        assert order == ["a", "b", "hello-ctr"]
        assert all(s.ready for s in pod.status.init_container_statuses)

    in_world(tmp_path, body)


def test_a_container_cannot_be_made(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.fail_next("create_container", RuntimeFailure("no space left", "CreateContainerError"))
        await world.pod()
        pod = await world.until("hello-pod", waiting("CreateContainerError"))
        state = pod.status.container_statuses[0].state.waiting
        assert state is not None
        assert state.message == "no space left"
        (failed,) = await world.events("Failed")
        assert failed.message == "Error: no space left"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(
            containers=[{"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "command": ["nope"]}]
        )
        pod = await world.until("hello-pod", waiting("RunContainerError"))
        status = pod.status.container_statuses[0]
        assert status.state.waiting is not None
        assert 'exec: "nope": executable file not found in $PATH' in status.state.waiting.message
        assert status.last_state.terminated is not None
        assert (status.last_state.terminated.exit_code, status.last_state.terminated.reason) == (128, "StartError")
        pod = await world.until("hello-pod", waiting("CrashLoopBackOff"))
        assert pod.status.container_statuses[0].restart_count == 1

    in_world(tmp_path, body)


def test_a_forced_deletion_leaves_nothing_on_the_node(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=0)
        await eventually(lambda: not world.runtime.sandboxes and not world.kubelet._records)

    in_world(tmp_path, body)


def test_a_pod_is_deleted_while_its_image_is_pulled(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        async def never(name: str, auth: Any = None, progress: Any = None) -> Any:
            await asyncio.get_running_loop().create_future()

        world.runtime.pull_image = never  # type: ignore[method-assign]
        await world.pod(containers=[{"name": "c", "image": "far:1"}])
        await world.events("Pulling")
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        await eventually(lambda: not world.runtime.sandboxes)

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_sandbox_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.fail_next("run_sandbox", RuntimeFailure("no address left"))
        await world.pod()
        (failed,) = await world.events("FailedCreatePodSandBox")
        assert failed.message == "Failed to create pod sandbox: no address left"
        await world.until("hello-pod", ready)

    in_world(tmp_path, body)


def test_a_user_namespace_is_refused_and_not_forgotten(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(hostUsers=False)
        (failed,) = await world.events("FailedCreatePodSandBox")
        assert failed.message == "Failed to create pod sandbox: runtime does not support user namespaces"

    in_world(tmp_path, body)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["stop_container", "stop_sandbox", "remove_sandbox"])
def test_a_step_of_the_end_that_fails_is_tried_again(tmp_path: Path, verb: str) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        world.runtime.fail_next(verb, RuntimeFailure("device busy"))
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        await eventually(lambda: not world.runtime.sandboxes and not world.kubelet._records)

    in_world(tmp_path, body)


def test_many_pods_come_and_go_and_nothing_is_left(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        async def one(name: str) -> None:
            await world.pod(name)
            await world.until(name, ready)
            await world.client.delete(core_v1.Pod, name, "default")
            await world.gone(name)

        await asyncio.gather(*(one(f"p{number}") for number in range(12)))
        await eventually(lambda: not world.kubelet._records and not world.runtime.sandboxes)
        assert world.kubelet._statuses._entries == {}
        assert names_in(world.folder / "node" / "memory") == names_in(world.folder / "logs") == []

    in_world(tmp_path, body)


def test_a_sidecar_runs_beside_and_ends_last(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        shared = {"image": "web:latest", "imagePullPolicy": "Never"}
        side = {"name": "side", "restartPolicy": "Always", **shared}
        await world.pod(initContainers=[side])
        pod = await world.until("hello-pod", ready)
        assert pod.status.init_container_statuses[0].started
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        stopped = [what for verb, what in world.runtime.calls if verb == "stop_container"]
        created = [what for verb, what in world.runtime.calls if verb == "create_container"]
        assert created == ["side", "hello-ctr"]
        assert len(stopped) == 2
        # container-2 is the sidecar: it was made first and goes last
        assert stopped == sorted(stopped, reverse=True)

    in_world(tmp_path, body)


def test_a_failed_liveness_probe_restarts_the_container(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.programs[("check",)] = (1, b"", b"not well")
        probe = {"exec": {"command": ["check"]}, "failureThreshold": 1}
        made = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "livenessProbe": probe}
        await world.pod(containers=[made])
        await world.until("hello-pod", lambda p: any(s.restart_count == 1 for s in p.status.container_statuses))
        unhealthy, killing = await world.events("Unhealthy", "Killing")
        assert unhealthy.message == "Liveness probe failed: not well"
        assert killing.message == "Container c failed liveness probe, will be restarted"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_pod_may_be_active_only_so_long(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(activeDeadlineSeconds=1)
        pod = await world.until("hello-pod", lambda p: p.status.phase == "Failed")
        assert pod.status.reason == "DeadlineExceeded"
        assert pod.status.message == "Pod was active on the node longer than the specified deadline"
        await eventually(lambda: not any(s.state is ContainerState.RUNNING for s in world.runtime.containers.values()))

    in_world(tmp_path, body)


def test_a_new_pod_of_the_same_name_is_another_pod(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=0)
        new = await world.pod()
        pod = await world.until("hello-pod", ready)
        assert pod.metadata.uid == new.metadata.uid
        await eventually(lambda: {s.config.uid for s in world.runtime.sandboxes.values()} == {new.metadata.uid})

    in_world(tmp_path, body)

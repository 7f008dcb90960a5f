"""Hooks and grace periods, as the kubelet keeps them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.runtime.types import ContainerState, RuntimeFailure
from tests.api.kubelet_world import World, eventually, in_world, ready, started_again, waiting


def test_an_ended_container_that_cannot_be_removed_costs_the_running_one_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.programs["check",] = (0, b"", b"")
        await world.pod(containers=hooked(postStart={"exec": {"command": ["check"]}}))
        await world.until("hello-pod", ready)
        record = next(iter(world.kubelet._records.values()))
        for attempt in (1, 2):
            world.runtime.finish(world.running(), 1)
            record.crashes.clear()
            world.runtime.fail_next("remove_container", RuntimeFailure("busy"))
            pod = await world.until("hello-pod", started_again(attempt))
            assert pod.status.container_statuses[0].state.running is not None
        assert not world.runtime._failures["remove_container"][1:], "it was tried"

    in_world(tmp_path, body)


def hooked(**lifecycle: Any) -> list[dict[str, Any]]:
    made = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "lifecycle": lifecycle}
    return [made]


def test_a_post_start_hook_comes_before_running(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(postStart={"exec": {"command": ["true"]}}))
        await world.until("hello-pod", ready)
        assert ("exec_sync", world.running()) in world.runtime.calls

    in_world(tmp_path, body)


def test_a_post_start_hook_that_fails_ends_the_container(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(postStart={"exec": {"command": ["sh", "echo no; exit 1"]}}))
        pod = await world.until("hello-pod", waiting("PostStartHookError"))
        failed, killing = await world.events("FailedPostStartHook", "Killing")
        assert failed.message == "PostStartHook failed"
        state = pod.status.container_statuses[0].state
        assert state is not None
        assert state.waiting is not None
        named = f'Container "c" in Pod "hello-pod_default({pod.metadata.uid})"'
        assert state.waiting.message.startswith(
            f"Exec lifecycle hook ([sh echo no; exit 1]) for {named} failed - error: "
        )
        assert killing.message == "FailedPostStartHook"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_container_whose_hook_failed_is_ended_again_when_that_fails(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.fail_next("stop_container", RuntimeFailure("no answer"))
        await world.pod(containers=hooked(postStart={"exec": {"command": ["false"]}}))
        await world.events("FailedKillPod")
        await world.until("hello-pod", lambda p: p.status.container_statuses[0].last_state.terminated is not None)
        assert not [s for s in world.runtime.containers.values() if s.state is ContainerState.RUNNING]

    in_world(tmp_path, body)


def test_a_pre_stop_hook_comes_before_the_signal(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(preStop={"exec": {"command": ["true"]}}))
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        verbs = [verb for verb, _ in world.runtime.calls]
        assert verbs.index("exec_sync") < verbs.index("stop_container")

    in_world(tmp_path, body)


def test_a_container_whose_hook_failed_never_counts_as_running(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        pod = await world.pod(containers=hooked(postStart={"exec": {"command": ["sh", "echo no; exit 1"]}}))
        since = pod.metadata.resource_version
        await world.until("hello-pod", waiting("PostStartHookError"))
        async with (
            asyncio.timeout(30),
            world.client.watch(core_v1.Pod, "default", resource_version=since) as watch,
        ):
            async for event in watch:
                assert isinstance(event.object, core_v1.Pod)
                assert all(s.state.running is None for s in event.object.status.container_statuses)
                if any(s.last_state.terminated for s in event.object.status.container_statuses):
                    break

    in_world(tmp_path, body)


def test_why_it_cannot_start_is_shown_while_it_is_tried_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        key = {"configMapKeyRef": {"name": "late", "key": "a"}}
        env = [{"name": "A", "valueFrom": key}]
        made = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "env": env}
        await world.pod(containers=[made])
        pod = await world.until("hello-pod", waiting("CreateContainerConfigError"))
        late = {"metadata": {"name": "late", "namespace": "default"}, "data": {"a": "1"}}
        await world.client.create(codec.from_tree(core_v1.ConfigMap, late))
        seen: list[str] = []
        async with (
            asyncio.timeout(15),
            world.client.watch(core_v1.Pod, "default", resource_version=pod.metadata.resource_version) as watch,
        ):
            async for event in watch:
                assert isinstance(event.object, core_v1.Pod)
                state = event.object.status.container_statuses[0].state
                if state.running is not None:
                    break
                seen.append(state.waiting.reason if state.waiting else "")
        assert "ContainerCreating" not in seen

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_pre_stop_hook_has_no_more_than_the_grace_period(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(preStop={"sleep": {"seconds": 60}}), terminationGracePeriodSeconds=60)
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=1)
        await world.gone("hello-pod")
        (failed,) = await world.events("FailedPreStopHook")
        assert failed.type == "Warning"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_shorter_grace_period_ends_what_ignores_the_signal(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        stubborn = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "command": ["trap"]}
        await world.pod(containers=[stubborn])
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await eventually(lambda: any(verb == "stop_container" for verb, _ in world.runtime.calls))
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=1)
        await world.gone("hello-pod")

    in_world(tmp_path, body)

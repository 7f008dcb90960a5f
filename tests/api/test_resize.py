"""In-place resize of a Pod's containers, seen through the API, with a runtime without containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.runtime.types import ContainerState, RuntimeFailure
from tests.api.kubelet_world import World, in_world, ready


async def start(world: World, **fields: Any) -> core_v1.Pod:
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
    main = {"name": "hello-ctr", "image": "web:latest", "imagePullPolicy": "IfNotPresent", "resources": resources}
    await world.pod(containers=[main | fields])
    return await world.until("hello-pod", ready)


async def change(world: World, requests: dict[str, str], limits: dict[str, str] | None = None) -> None:
    resources = {"requests": requests, **({"limits": limits} if limits else {})}
    patch = {"spec": {"containers": [{"name": "hello-ctr", "resources": resources}]}}
    await world.client.patch(
        core_v1.Pod, "hello-pod", "default", patch=patch, patch_type="strategic", subresource="resize"
    )


def told(pod: core_v1.Pod) -> tuple[str, str, str]:
    """CPU asked, given and allowed."""
    (entry,) = pod.status.container_statuses
    assert entry.resources is not None
    return entry.allocated_resources["cpu"], entry.resources.requests["cpu"], entry.resources.limits["cpu"]


def condition(pod: core_v1.Pod, kind: str) -> core_v1.PodCondition | None:
    return next((c for c in pod.status.conditions if c.type == kind), None)


def test_a_container_is_resized_while_it_runs(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        before = await start(world)
        await change(world, {"cpu": "150m"}, {"cpu": "300m"})
        begun, done = await world.events("ResizeStarted", "ResizeCompleted")
        sizes = (
            '{"containers":[{"name":"hello-ctr","resources":{"limits":{"cpu":"300m","memory":"128Mi"},'
            '"requests":{"cpu":"150m","memory":"64Mi"}}}],"generation":2}'
        )
        assert (begun.type, begun.message) == ("Normal", f"Pod resize started: {sizes}")
        assert (done.type, done.message) == ("Normal", f"Pod resize completed: {sizes}")
        after = await world.until("hello-pod", lambda pod: told(pod) == ("150m", "150m", "300m"))
        assert after.status.container_statuses[0].restart_count == 0
        assert after.status.container_statuses[0].container_id == before.status.container_statuses[0].container_id
        (container,) = world.runtime.containers.values()
        assert (container.resources.cpu_quota, container.resources.cpu_shares) == (30_000, 153)
        assert [name for name, _ in world.runtime.calls if name == "update_sandbox_resources"]
        assert condition(after, "PodResizePending") is None
        # what the agent has done it finds again
        await world.stop()
        await world.start()
        await change(world, {"cpu": "160m"})
        await world.until("hello-pod", lambda pod: told(pod) == ("160m", "160m", "300m"))

    in_world(tmp_path, body)


def test_what_can_never_fit_is_told_and_taken_back(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await start(world)
        await change(world, {"cpu": "999"}, {"cpu": "999"})
        pod = await world.until("hello-pod", lambda pod: condition(pod, "PodResizePending"))
        pending = condition(pod, "PodResizePending")
        assert pending is not None
        assert (pending.status, pending.reason) == ("True", "Infeasible")
        assert pending.message.startswith("Node didn't have enough capacity: cpu, requested: 999000, capacity: ")
        assert told(pod) == ("100m", "100m", "200m")
        (refused,) = await world.events("ResizeInfeasible")
        assert refused.type == "Warning"
        assert refused.message.startswith('Pod resize Infeasible: {"containers":[')
        assert refused.message.endswith(f'"generation":2,"error":"{pending.message}"}}')
        await change(world, {"cpu": "100m"}, {"cpu": "200m"})
        await world.until("hello-pod", lambda pod: condition(pod, "PodResizePending") is None)

    in_world(tmp_path, body)


def test_a_container_that_wants_it_is_restarted(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await start(world, resizePolicy=[{"resourceName": "memory", "restartPolicy": "RestartContainer"}])
        await change(world, {"memory": "100Mi"})
        pod = await world.until(
            "hello-pod", lambda pod: pod.status.container_statuses[0].restart_count == 1 and ready(pod)
        )
        (entry,) = pod.status.container_statuses
        assert entry.resources is not None
        assert entry.resources.requests["memory"] == "100Mi"
        (event, *_) = await world.events("Killing")
        assert event.message == "Container hello-ctr resize requires restart"
        running = [c for c in world.runtime.containers.values() if c.state is ContainerState.RUNNING]
        assert len(running) == 1

    in_world(tmp_path, body)


def test_a_failed_resize_is_told_and_tried_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await start(world)
        world.runtime.fail_next("update_resources", RuntimeFailure("no room"))
        await change(world, {"cpu": "150m"})
        pod = await world.until(
            "hello-pod",
            lambda pod: (c := condition(pod, "PodResizeInProgress")) is not None and c.reason == "Error",
        )
        assert told(pod) == ("150m", "100m", "200m")
        (failed,) = await world.events("ResizeError")
        assert failed.type == "Warning"
        assert failed.message.endswith(',"generation":2,"error":"no room"}')

    in_world(tmp_path, body)


def test_a_pod_is_resized_as_a_whole(tmp_path: Path) -> None:
    def whole(pod: core_v1.Pod) -> tuple[str, str, str] | None:
        if pod.status.resources is None:
            return None
        return (
            pod.status.allocated_resources["cpu"],
            pod.status.resources.requests["cpu"],
            pod.status.resources.limits["cpu"],
        )

    async def resize(world: World, cpu: str, limit: str) -> None:
        patch = {"spec": {"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": limit}}}}
        await world.client.patch(
            core_v1.Pod, "hello-pod", "default", patch=patch, patch_type="strategic", subresource="resize"
        )

    async def body(world: World) -> None:
        amounts = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
        main = {"name": "hello-ctr", "image": "web:latest", "imagePullPolicy": "IfNotPresent"}
        await world.pod(containers=[main], resources=amounts)
        await world.until("hello-pod", lambda pod: ready(pod) and whole(pod) == ("100m", "100m", "200m"))
        await resize(world, "150m", "300m")
        await world.until("hello-pod", lambda pod: whole(pod) == ("150m", "150m", "300m"))
        (sandbox,) = world.runtime.sandboxes.values()
        assert sandbox.config.resources.cpu_quota == 30_000
        await world.stop()
        await world.start()
        await resize(world, "160m", "300m")
        await world.until("hello-pod", lambda pod: whole(pod) == ("160m", "160m", "300m"))
        await resize(world, "999", "999")
        pod = await world.until("hello-pod", lambda pod: condition(pod, "PodResizePending"))
        assert whole(pod) == ("160m", "160m", "300m")
        patch = {"spec": {"resources": {"limits": {"memory": None}}}}
        with pytest.raises(ApiError, match="resource limits cannot be removed"):
            await world.client.patch(
                core_v1.Pod, "hello-pod", "default", patch=patch, patch_type="strategic", subresource="resize"
            )

    in_world(tmp_path, body)

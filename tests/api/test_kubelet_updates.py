"""A running Pod's spec is changed where upstream allows it, seen through a whole kubelet with a runtime in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from carob.api.types import core_v1
from carob.runtime.types import ContainerState
from tests.api.kubelet_world import World, in_world, ready, waiting

if TYPE_CHECKING:
    from pathlib import Path


def container(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "web:latest", "imagePullPolicy": "IfNotPresent"} | more


async def give_image(world: World, image: str, name: str = "c", place: str = "containers") -> None:
    patch = {"spec": {place: [{"name": name, "image": image}]}}
    await world.client.patch(core_v1.Pod, "hello-pod", "default", patch=patch, patch_type="strategic")


@pytest.mark.parametrize("policy", ["Always", "Never"])
def test_another_image_makes_another_container(tmp_path: Path, policy: str) -> None:
    """Source: kubelet `computePodActions`: whatever the restart policy says."""

    async def body(world: World) -> None:
        world.runtime.add_image("web:2", Cmd=["serve"])
        await world.pod(containers=[container(), container("other")], restartPolicy=policy)
        before = await world.until("hello-pod", ready)
        phases: set[str] = set()

        def changed(pod: core_v1.Pod) -> bool:
            phases.add(pod.status.phase)
            (status,) = [one for one in pod.status.container_statuses if one.name == "c"]
            return ready(pod) and status.restart_count == 1

        await give_image(world, "web:2")
        after = await world.until("hello-pod", changed)
        assert phases == {"Running"}
        ids = {one.name: one.container_id for one in before.status.container_statuses}
        found = {one.name: one for one in after.status.container_statuses}
        assert found["c"].image == "web:2"
        assert found["c"].last_state.terminated is not None
        assert found["other"].container_id == ids["other"], "the others run on"
        (killed,) = await world.events("Killing")
        assert killed.message == "Container c definition changed, will be restarted"

    in_world(tmp_path, body)


def test_another_image_of_a_sidecar(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.add_image("web:2", Cmd=["serve"])
        await world.pod(containers=[container()], initContainers=[container("side", restartPolicy="Always")])
        await world.until("hello-pod", ready)
        await give_image(world, "web:2", "side", "initContainers")
        after = await world.until("hello-pod", lambda pod: pod.status.init_container_statuses[0].restart_count == 1)
        assert after.status.container_statuses[0].restart_count == 0

    in_world(tmp_path, body)


def test_an_image_that_can_be_had_does_not_wait_for_one_that_cannot(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=[container(image="nowhere/nothing:v1")])
        await world.until("hello-pod", waiting("ImagePullBackOff"))
        (record,) = world.kubelet._records.values()
        record.failures["c"].retry_at += 3600
        await give_image(world, "web:latest")
        await world.until("hello-pod", ready)

    in_world(tmp_path, body)


def test_a_pod_goes_on_while_a_rule_starts_its_init_container_again(tmp_path: Path) -> None:
    """Source: KEP-5307: the Pod has not failed, although it never restarts what has no rule."""

    async def body(world: World) -> None:
        rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
        init = container("i", restartPolicy="Never", restartPolicyRules=rules)
        await world.pod(containers=[container()], initContainers=[init], restartPolicy="Never")

        def runs(pod: core_v1.Pod) -> bool:
            return any(one.state.running for one in pod.status.init_container_statuses)

        await world.until("hello-pod", runs)
        (first,) = [s.id for s in world.runtime.containers.values() if s.state is ContainerState.RUNNING]
        world.runtime.finish(first, 42)
        again = await world.until(
            "hello-pod",
            lambda pod: pod.status.init_container_statuses[0].restart_count == 1 or pod.status.phase == "Failed",
        )
        assert again.status.phase == "Pending"
        world.runtime.finish(world.running(), 0)
        await world.until("hello-pod", ready)

    in_world(tmp_path, body)


def test_a_readiness_gate_opens_and_shuts(tmp_path: Path) -> None:
    """Source: test/e2e/common/node/pods.go (should support pod readiness gates)."""

    async def body(world: World) -> None:
        await world.pod(containers=[container()], readinessGates=[{"conditionType": "example.com/gate"}])

        def shut(pod: core_v1.Pod) -> bool:
            return any(c.type == "Ready" and c.reason == "ReadinessGatesNotReady" for c in pod.status.conditions)

        async def say(value: str) -> None:
            patch = {"status": {"conditions": [{"type": "example.com/gate", "status": value}]}}
            await world.client.patch(
                core_v1.Pod, "hello-pod", "default", patch=patch, patch_type="strategic", subresource="status"
            )

        await world.until("hello-pod", shut)
        for _ in range(2):
            await say("True")
            await world.until("hello-pod", ready)
            await say("False")
            pod = await world.until("hello-pod", shut)
            gate = [c.status for c in pod.status.conditions if c.type == "example.com/gate"]
            assert gate == ["False"], "the kubelet does not write what is not its own"

    in_world(tmp_path, body)

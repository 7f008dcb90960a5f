"""A container whose end makes its Pod begin anew, through a whole kubelet with a runtime in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from carob.api.types import core_v1
from carob.runtime.types import ContainerState
from tests.api.kubelet_world import World, eventually, in_world, ready

RULES = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}}]


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "web:latest", "imagePullPolicy": "Never"} | more


def running(world: World) -> dict[str, str]:
    containers = world.runtime.containers.values()
    return {c.name: c.id for c in containers if c.state is ContainerState.RUNNING}


def counts(pod: core_v1.Pod) -> dict[str, int]:
    statuses = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    return {status.name: status.restart_count for status in statuses}


def test_all_containers_begin_anew_in_their_sandbox(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.registered()
        await world.pod(
            restartPolicy="Never",
            terminationGracePeriodSeconds=1,
            initContainers=[container("prep", command=["true"]), container("side", restartPolicy="Always")],
            containers=[
                container("web"),
                container("watcher", restartPolicy="Never", restartPolicyRules=RULES),
            ],
        )
        await world.until("hello-pod", ready)
        (sandbox,) = world.runtime.sandboxes
        before = running(world)
        world.runtime.finish(before["watcher"], 88)
        again = await world.until("hello-pod", lambda p: counts(p).get("web") == 1 and ready(p))
        assert counts(again) == {"prep": 1, "side": 1, "web": 1, "watcher": 1}
        (condition,) = (c for c in again.status.conditions if c.type == "AllContainersRestarting")
        assert condition.status == "False"
        assert list(world.runtime.sandboxes) == [sandbox]
        after = running(world)
        assert not set(after.values()) & set(before.values())
        # another agent finds only what counts
        await world.stop()
        await world.start()
        await world.until("hello-pod", ready)
        assert running(world) == after
        # any other end of the watcher ends it alone
        world.runtime.finish(after["watcher"], 3)
        await eventually(lambda: set(running(world)) == {"side", "web"})

    in_world(tmp_path, body)

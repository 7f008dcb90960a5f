"""What the Node says of its container runtime: ready or why not, and what the runtime can.

Source: kubelet `runtimeState`, `updateRuntimeUp`; the messages are upstream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from carob.api.types import core_v1
from carob.runtime.types import RuntimeHandler, RuntimeStatus
from tests.api.kubelet_world import NODE, World, in_world

NETWORK = "NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized"


async def until(world: World, holds: Callable[[core_v1.NodeCondition], bool]) -> core_v1.Node:
    """The Node, as soon as its Ready is as wanted."""
    async with asyncio.timeout(30):
        watch = world.client.watch(core_v1.Node, field_selector=f"metadata.name={NODE}", send_initial_events=True)
        async with watch as events:
            async for event in events:
                node = event.object
                if isinstance(node, core_v1.Node) and event.type != "BOOKMARK":
                    (ready,) = [c for c in node.status.conditions if c.type == "Ready"]
                    if holds(ready):
                        return node
    raise AssertionError("the watch ended")


def test_a_node_is_as_ready_as_its_runtime(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.stop()
        world.options["status_check_seconds"] = 0.05
        well = RuntimeStatus(handlers=[RuntimeHandler(""), RuntimeHandler("fast", recursive_readonly_mounts=True)])
        world.runtime.health = RuntimeStatus(network_problem=NETWORK)
        await world.start()
        node = await until(world, lambda ready: ready.status == "False" and "network" in ready.message)
        (message,) = [c.message for c in node.status.conditions if c.type == "Ready"]
        assert message == f"container runtime network not ready: {NETWORK}"
        world.runtime.health.runtime_problem = "RuntimeReady=false reason:r message:m"
        await until(
            world,
            lambda ready: (
                ready.message == "[container runtime not ready: RuntimeReady=false reason:r message:m, "
                f"container runtime network not ready: {NETWORK}]"
            ),
        )
        world.runtime.health = well
        node = await until(world, lambda ready: ready.status == "True")
        can = {
            h.name: h.features is not None and h.features.recursive_read_only_mounts
            for h in node.status.runtime_handlers
        }
        assert can == {"": False, "fast": True}
        world.runtime.silent = True
        node = await until(world, lambda ready: ready.message == "container runtime is down")
        # what was known stays known
        assert node.status.node_info.container_runtime_version == "fake://0"
        assert [handler.name for handler in node.status.runtime_handlers] == ["", "fast"]
        world.runtime.silent = False
        await until(world, lambda ready: ready.status == "True")

    in_world(tmp_path, body)

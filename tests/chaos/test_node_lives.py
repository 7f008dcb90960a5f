"""Whatever is done to a node's Pods, runtime, agent and road, it comes to what was declared, and leaves nothing behind.

Each seed is a history of its own on virtual time; a failure names it, and `CAROB_SEED=n` plays it again;
`CAROB_SEEDS=500` plays so many, from `CAROB_FIRST_SEED` on.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.runtime.types import ContainerState, RuntimeFailure, SandboxState
from tests.fakes.node_world import World, in_world

pytestmark = pytest.mark.slow

STEPS = 120
MOST_PODS = 8
# the longest back-off, twice
CALM_SECONDS = 700
_COUNT = int(os.environ.get("CAROB_SEEDS", "2"))
_FIRST = int(os.environ.get("CAROB_FIRST_SEED", "1"))
SEEDS = [int(os.environ["CAROB_SEED"])] if "CAROB_SEED" in os.environ else range(_FIRST, _FIRST + _COUNT)
FAILING_VERBS = (
    "run_sandbox",
    "create_container",
    "start_container",
    "stop_container",
    "remove_container",
    "stop_sandbox",
    "remove_sandbox",
    "exec_sync",
)
CHECK = {"exec": {"command": ["check"]}}
WELL, ILL = (0, b"", b""), (1, b"", b"")

Event = Callable[[World, random.Random], Awaitable[None]]


def init(name: str, command: str, **fields: Any) -> dict[str, Any]:
    made = {"name": name, "image": "web:latest", "imagePullPolicy": "Never", "command": ["sh", "-c", command]}
    return made | fields


async def create(world: World, chance: random.Random) -> None:
    """A Pod of any kind, now and then under a name that another has or had."""
    pods = await world.pods()
    if len(pods) >= MOST_PODS:
        return
    spec: dict[str, Any] = {
        "restartPolicy": chance.choice(["Always", "OnFailure", "Never"]),
        "terminationGracePeriodSeconds": chance.choice([0, 1, 5, 30]),
        "initContainers": [],
    }
    fields: dict[str, Any] = {}
    if chance.random() < 0.5:
        fields["resources"] = {"requests": {"cpu": "10m", "memory": "1Mi"}}
    for probe, share in (("livenessProbe", 0.3), ("startupProbe", 0.1), ("readinessProbe", 0.1)):
        if chance.random() < share:
            fields[probe] = CHECK | {"periodSeconds": 5}
    hooks = {hook: CHECK for hook in ("postStart", "preStop") if chance.random() < 0.2}
    if hooks:
        fields["lifecycle"] = hooks
    if chance.random() < 0.3:
        spec["initContainers"].append(init("i", chance.choice(["exit 0", "exit 1"])))
    if chance.random() < 0.3:
        spec["initContainers"].append(init("s", "serve", restartPolicy="Always"))
    if chance.random() < 0.3:
        token = {"serviceAccountToken": {"path": "t"}}
        spec["volumes"] = [{"name": "v", "emptyDir": {}}, {"name": "t", "projected": {"sources": [token]}}]
        fields["volumeMounts"] = [{"name": name, "mountPath": f"/{name}"} for name in "vt"]
    name = chance.choice(["same", f"p{chance.randrange(10**6)}"])
    if name not in pods:
        command = chance.choice(["serve", "serve", "exit 0", "exit 1", "serve trap"])
        await world.pod(name, command, container=fields, **spec)


async def delete(world: World, chance: random.Random) -> None:
    pods = sorted(await world.pods())
    if pods:
        await gone(world, chance.choice(pods), chance.choice([None, 0, 1, 10]))


async def gone(world: World, name: str, grace_seconds: int | None = None) -> None:
    try:
        await world.client.delete(core_v1.Pod, name, "default", grace_period_seconds=grace_seconds)
    except ApiError as error:
        # the node may be faster
        if error.reason != "NotFound":
            raise


async def finish(world: World, chance: random.Random) -> None:
    running = [c.id for c in world.runtime.containers.values() if c.state is ContainerState.RUNNING]
    if running:
        world.runtime.finish(chance.choice(running), chance.choice([0, 1, 137]))


async def kill_monitor(world: World, chance: random.Random) -> None:
    """Nobody can say any more how its container ended, which is ended for that."""
    running = [c.id for c in world.runtime.containers.values() if c.state is ContainerState.RUNNING]
    if running:
        world.runtime.finish(chance.choice(running), 137, "ContainerStatusUnknown")


async def kill_pause(world: World, chance: random.Random) -> None:
    standing = [s.id for s in world.runtime.sandboxes.values() if s.state is SandboxState.READY]
    if standing:
        world.runtime.kill_pause(chance.choice(standing))


async def fail(world: World, chance: random.Random) -> None:
    world.runtime.fail_next(chance.choice(FAILING_VERBS), RuntimeFailure("injected"))


async def change_health(world: World, chance: random.Random) -> None:
    world.runtime.programs["check",] = chance.choice([WELL, ILL])


async def cut(world: World, chance: random.Random) -> None:
    world.road.cut(swallows=chance.random() < 0.3)


async def mend(world: World, chance: random.Random) -> None:
    world.road.mend()


async def set_clock(world: World, chance: random.Random) -> None:
    world.clock.offset += chance.choice([-7200, -60, 60, 7200])


async def resize(world: World, chance: random.Random) -> None:
    """More or less processor time for a Pod, or more than there is."""
    pods = await world.pods()
    if not pods:
        return
    cpu = chance.choice(["50m", "100m", "9000"])
    patch = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}
    name = chance.choice(sorted(pods))
    try:
        await world.client.patch(
            core_v1.Pod, name, "default", patch=patch, patch_type="strategic", subresource="resize"
        )
    except ApiError as error:
        # it is gone, or would be of another class of service
        if error.code not in (404, 422):
            raise


async def restart_agent(world: World, chance: random.Random) -> None:
    world.check()
    await world.stop()
    world.start()


async def kill_agent(world: World, chance: random.Random) -> None:
    """In the middle of whatever it does; another may come later only."""
    world.check()
    await world.kill()
    await world.pass_time(chance.choice([0, 0, 1, 60]))
    world.start()


async def restart_server(world: World, chance: random.Random) -> None:
    await world.restart_server()


async def fill_disk(world: World, chance: random.Random) -> None:
    world.mounts.full = True


async def free_disk(world: World, chance: random.Random) -> None:
    world.mounts.full = False


EVENTS: tuple[tuple[int, Event], ...] = (
    (22, create),
    (14, delete),
    (10, finish),
    (6, kill_pause),
    (12, fail),
    (4, cut),
    (6, mend),
    (4, restart_agent),
    (6, kill_agent),
    (3, restart_server),
    (5, kill_monitor),
    (2, fill_disk),
    (3, free_disk),
    (4, set_clock),
    (8, resize),
    (22, change_health),
)


class Counts:
    """Restart counts as the API tells them: they never become smaller, whatever happens to agents and containers."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    async def look(self, world: World) -> None:
        for name, pod in (await world.pods()).items():
            for status in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
                key = (pod.metadata.uid, status.name)
                before = self._seen.get(key, 0)
                assert status.restart_count >= before, (name, status.name, before, status.restart_count)
                self._seen[key] = status.restart_count


async def settled(world: World) -> None:
    """What should run runs, and the API says so."""
    for name, pod in (await world.pods()).items():
        status = codec.to_tree(pod.status)
        assert pod.metadata.deletion_timestamp is None, (name, status)
        running = world.running(pod)
        if pod.status.phase in ("Succeeded", "Failed"):
            assert not running, (name, status)
            continue
        every = [*pod.status.init_container_statuses, *pod.status.container_statuses]
        assert sum(one.state.running is not None for one in every) == len(running), (name, status)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_keeps_its_promises(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    weights = [weight for weight, _ in EVENTS]

    async def body(world: World) -> None:
        world.runtime.programs["check",] = WELL
        counts = Counts()
        await world.pass_time(1)
        for _ in range(STEPS):
            ((_, event),) = chance.choices(EVENTS, weights)
            await event(world, chance)
            await world.pass_time(chance.choice([0, 0, 0.1, 0.5, 2, 15]))
            world.check()
            await counts.look(world)
        world.road.mend()
        world.mounts.full = False
        world.runtime.programs["check",] = WELL
        world.runtime.forgive()
        await world.pass_time(CALM_SECONDS)
        await settled(world)
        for name in await world.pods():
            await gone(world, name)
        await world.pass_time(120)
        assert await world.pods() == {}
        assert (world.runtime.sandboxes, world.runtime.containers) == ({}, {})
        for folder in ("node/pods", "logs"):
            assert list((tmp_path / folder).glob("*")) == []

    in_world(tmp_path, body)

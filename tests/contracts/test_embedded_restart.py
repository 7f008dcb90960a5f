"""Agents in processes of their own, killed without warning; and the end of a cluster without any agent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from carob.host.real import RealHost
from carob.runtime.embedded.cleanup import remove_everything
from carob.runtime.embedded.records import ContainerRecord, Records
from carob.runtime.types import ContainerState, Runtime, SandboxState
from tests.contracts.runtime_worlds import CLUSTER, RealWorld, container, sandbox, traces
from tests.contracts.test_runtime import SLEEP, started

pytestmark = [pytest.mark.root, pytest.mark.slow]

AGENT = """
import asyncio, json, sys
from pathlib import Path
from carob.host.real import RealHost
from carob.runtime.embedded import mount_namespace
from tests.contracts import runtime_worlds as worlds

worlds.CLUSTER = sys.argv[2]

async def main():
    world = worlds.RealWorld.again(Path(sys.argv[1]))
    mount_namespace.enter(RealHost(), world.places)
    agent = world.runtime()
    await agent.start()
    made = await agent.run_sandbox(worlds.sandbox(world))
    script = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.05; done"
    names = {"writer": ["sh", "-c", script], "short": ["sh", "-c", "sleep 1; exit 11"]}
    ids = {}
    for name, command in names.items():
        ids[name] = await agent.create_container(made.id, worlds.container(*command, name=name, log_path=name + ".log"))
        await agent.start_container(ids[name])
    print(json.dumps({"sandbox": made.id, **ids}), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RealWorld]:
    made = RealWorld(tmp_path)
    try:
        yield made
    finally:
        made.clear()
    assert traces(tmp_path) == []


def killed_agent(folder: Path) -> dict[str, str]:
    """Ids of what an agent made before it was killed with SIGKILL."""
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(folder), CLUSTER], stdout=subprocess.PIPE, cwd=root, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        ids: dict[str, str] = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
    return ids


def test_containers_outlive_a_killed_agent_and_the_next_one_knows_them(world: RealWorld) -> None:
    ids = killed_agent(world.logs.parent)
    assert not [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "rootfs" in line and CLUSTER in line
    ]

    async def second(runtime: Runtime) -> None:
        assert (await runtime.sandbox_status(ids["sandbox"])).state is SandboxState.READY
        writer = await runtime.container_status(ids["writer"])
        assert writer.state is ContainerState.RUNNING
        before = os.path.getsize(writer.log_path)  # noqa: ASYNC240
        async with asyncio.timeout(20):
            while os.path.getsize(writer.log_path) == before:  # noqa: ASYNC240, ASYNC110 - outside of this loop
                await asyncio.sleep(0.02)
            while (await runtime.container_status(ids["short"])).state is not ContainerState.EXITED:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await runtime.container_status(ids["short"])).exit_code == 11
        code, out, _ = await runtime.exec_sync(ids["writer"], ["hostname"], 20)
        assert (code, out.strip()) == (0, (await runtime.sandbox_status(ids["sandbox"])).config.hostname.encode())
        another = await runtime.create_container(ids["sandbox"], container(*SLEEP, name="another"))
        await runtime.start_container(another)
        await runtime.remove_sandbox(ids["sandbox"])
        assert await runtime.list_containers() == []

    world.run(second)


def test_a_cluster_whose_agent_was_killed_is_removed_by_name(world: RealWorld) -> None:
    killed_agent(world.logs.parent)
    assert traces(world.logs.parent) != []
    left = remove_everything(RealHost(), CLUSTER, world.places.state_dir, world.places.run_dir)
    assert left == []
    assert traces(world.logs.parent) == []
    assert not Path(world.places.run_dir).exists()
    assert remove_everything(RealHost(), CLUSTER, world.places.state_dir, world.places.run_dir) == []


def test_a_cluster_is_removed_when_even_its_monitors_were_killed(world: RealWorld) -> None:
    killed_agent(world.logs.parent)
    for record in Records(RealHost(), world.places.container_records, ContainerRecord).load():
        assert record.monitor is not None
        os.kill(record.monitor[0], signal.SIGKILL)
    assert remove_everything(RealHost(), CLUSTER, world.places.state_dir, world.places.run_dir) == []
    assert traces(world.logs.parent) == []


def test_state_that_was_kept_is_found_again_as_ended(world: RealWorld) -> None:
    """`carob down --keep-data`, then `carob up`."""
    ids = killed_agent(world.logs.parent)
    remove_everything(RealHost(), CLUSTER, world.places.state_dir, world.places.run_dir)

    async def body(runtime: Runtime) -> None:
        assert (await runtime.sandbox_status(ids["sandbox"])).state is SandboxState.NOT_READY
        states = {c.id: (c.state, c.reason) for c in await runtime.list_containers()}
        assert states[ids["writer"]] == (ContainerState.EXITED, "ContainerStatusUnknown")
        await runtime.remove_sandbox(ids["sandbox"])
        sandbox_id, _ = await started(runtime, world, *SLEEP)
        await runtime.remove_sandbox(sandbox_id)
        assert await runtime.list_sandboxes() == []

    world.run(body)


def test_an_agent_that_goes_does_not_wait_for_containers_that_take_their_time(world: RealWorld) -> None:
    deaf = ("sh", "-c", "trap '' TERM; while true; do sleep 1000; done")
    made: list[str] = []

    async def first(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *deaf)
        stopping = asyncio.create_task(runtime.stop_container(container_id, 100_000))
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait([stopping])
        async with asyncio.timeout(60):
            await runtime.close()
        made.extend((sandbox_id, container_id))

    async def second(runtime: Runtime) -> None:
        sandbox_id, container_id = made
        assert (await runtime.container_status(container_id)).state is ContainerState.RUNNING
        async with asyncio.timeout(60):
            await runtime.stop_container(container_id, 0)
        await runtime.remove_sandbox(sandbox_id)

    world.run(first, second)


def test_two_clusters_do_not_touch_each_other(world: RealWorld, tmp_path: Path) -> None:
    other = RealWorld(tmp_path / "other")

    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(other, cgroup_parent="/carob-elsewhere/kubepods/podx"))
        container_id = await runtime.create_container(made.id, container(*SLEEP))
        await runtime.start_container(container_id)
        killed_agent(world.logs.parent)
        remove_everything(RealHost(), CLUSTER, world.places.state_dir, world.places.run_dir)
        assert (await runtime.exec_sync(container_id, ["true"], 20))[0] == 0
        await runtime.remove_sandbox(made.id)

    try:
        other.run(body)
    finally:
        left = remove_everything(RealHost(), "elsewhere", other.places.state_dir, other.places.run_dir)
    assert left == []

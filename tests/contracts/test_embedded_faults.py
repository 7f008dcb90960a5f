"""A failure at any step leaves nothing behind: every call to the host fails once, in turn.

And what was half done when the agent was killed is cleared away by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carob.host.cgroup import Cgroups
from carob.host.real import RealHost
from carob.host.recording import faulty
from carob.host.types import Host
from carob.runtime.embedded.records import ContainerRecord, Phase, Records, SandboxRecord, boot_id
from carob.runtime.embedded.runtime import EmbeddedRuntime
from carob.runtime.types import ContainerState, Mount, Runtime, RuntimeFailure, UserNamespace
from tests.contracts.runtime_worlds import IMAGE, RealWorld, container, open_world, sandbox, traces
from tests.contracts.test_runtime import SLEEP, started

pytestmark = [pytest.mark.root, pytest.mark.slow]
_MOST_CALLS = 120
IMAGE_VOLUME = Mount(container_path="/image", host_path="", image=IMAGE)
# these take back what a failed call leaves: that they fail too is another test
_CLEANING = ("umount", "rmtree", "unlink", "rmdir")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RealWorld]:
    """A cluster of the test's own: a failure must not spoil the next one."""
    made = RealWorld(tmp_path)
    try:
        yield made
    finally:
        made.clear()
    assert traces(tmp_path) == []


class Trap:
    """Says which calls may fail, once it is armed."""

    def __init__(self, matches: Callable[[str], bool]) -> None:
        self._matches = matches
        self.armed = False

    def __call__(self, verb: str, arguments: tuple[object, ...]) -> bool:
        del arguments
        if threading.current_thread().name.startswith("carob-later"):
            # at a time of its own: counted, it would hide another call from the walk
            return False
        return self.armed and self._matches(verb)


def left(world: RealWorld) -> list[str]:
    """Files and mounts that belong to a sandbox or container."""
    places = world.places
    folders = [*places.in_memory(), places.writable_layers]
    folders += [places.sandbox_records, places.container_records]
    found = [f"{folder}/{name}" for folder in folders for name in os.listdir(folder)]
    mounts = Path("/proc/thread-self/mountinfo").read_text().splitlines()
    found += [
        line
        for line in mounts
        if any(part in line for part in ("/rootfs ", "/ns/", "/volumes/")) or ("/shm " in line and "/dev" not in line)
    ]
    return [line for line in found if str(world.logs.parent) in line]


async def alone(world: RealWorld, host: Host) -> EmbeddedRuntime:
    world.host = host
    agent = world.runtime()
    await agent.start()
    return agent


async def each_call_fails_once(world: RealWorld, ready: bool, users: UserNamespace | None = None) -> list[str]:
    """Make a Pod again and again with the nth call failing, until none fails; the calls that failed.

    `ready`: fail only in making the container, in a sandbox that stands. `users`: in a user namespace of its own.
    """
    failed: list[str] = []
    good = RealHost()
    # the groups above the Pods' stay: once they are there, every round makes the same calls
    agent = await alone(world, good)
    await agent.remove_sandbox((await agent.run_sandbox(sandbox(world, users=users))).id)
    await agent.close()
    for nth in range(1, _MOST_CALLS):
        trap = Trap(lambda verb: verb not in _CLEANING)
        host, plan = faulty(good, nth, trap)
        agent = await alone(world, host)
        failure: RuntimeFailure | None = None
        made = None
        try:
            trap.armed = not ready
            made = await agent.run_sandbox(sandbox(world, users=users))
            trap.armed = True
            container_id = await agent.create_container(made.id, container(*SLEEP, mounts=[IMAGE_VOLUME]))
            await agent.start_container(container_id)
        except RuntimeFailure as error:
            failure = error
        trap.armed = False
        if failure is not None:
            assert plan.failed, failure
            assert failure.cleanup == (), plan.failed
            assert made is None or await agent.list_containers() == [] or "start" in str(failure)
            failed.append(plan.failed)
        if made is not None:
            await agent.remove_sandbox(made.id)
        await agent.close()
        assert left(world) == [], f"after {plan.failed}"
        assert world.network.attached == set()
        if not plan.failed:
            return failed
    raise AssertionError("calls without end")


@pytest.mark.parametrize("ready", [False, True], ids=["sandbox", "container"])
def test_a_failure_at_any_step_leaves_nothing(world: RealWorld, ready: bool) -> None:
    failed: list[str] = []

    async def body(runtime: Runtime) -> None:
        await runtime.close()
        failed.extend(await each_call_fails_once(world, ready))

    world.run(body)
    made = {call.partition("(")[0] for call in failed}
    assert made >= ({"mkdir", "write", "unshare", "spawn", "mount", "create"} if not ready else {"mount", "spawn"}), (
        failed
    )


@pytest.mark.parametrize("ready", [False, True], ids=["sandbox", "container"])
def test_a_failure_with_users_of_its_own_leaves_nothing(ready: bool) -> None:
    failed: list[str] = []
    with open_world() as world:

        async def body(runtime: Runtime) -> None:
            await runtime.close()
            failed.extend(await each_call_fails_once(world, ready, UserNamespace(655_360)))

        world.run(body)
    assert any("mount_idmapped" in call for call in failed), "\n".join(failed)


def test_a_failed_removal_can_be_repeated(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        await runtime.close()
        for verb in ("rmtree", "umount", "rmdir"):
            trap = Trap(verb.__eq__)
            host, plan = faulty(RealHost(), 1, trap)
            agent = await alone(world, host)
            sandbox_id, _ = await started(agent, world, *SLEEP)
            trap.armed = True
            with pytest.raises(RuntimeFailure):
                await agent.remove_sandbox(sandbox_id)
            assert plan.failed
            await agent.remove_sandbox(sandbox_id)
            assert left(world) == []
            await agent.close()

    world.run(body)


def test_a_failure_at_any_step_of_the_end_is_made_good_by_the_next_try(world: RealWorld) -> None:
    failed: list[str] = []

    async def body(runtime: Runtime) -> None:
        await runtime.close()
        for nth in range(1, _MOST_CALLS):
            # what a thread of the pool begins with is no step of the end
            trap = Trap(lambda verb: verb != "unshare")
            host, plan = faulty(RealHost(), nth, trap)
            agent = await alone(world, host)
            made = await agent.run_sandbox(sandbox(world))
            one = await agent.create_container(made.id, container(*SLEEP, mounts=[IMAGE_VOLUME]))
            await agent.start_container(one)
            trap.armed = True
            # some steps can do without: what they were for is found again later
            with contextlib.suppress(RuntimeFailure):
                await agent.remove_sandbox(made.id)
            trap.armed = False
            await agent.remove_sandbox(made.id)
            assert left(world) == [], plan.failed
            assert world.network.attached == set()
            await agent.close()
            if not plan.failed:
                return
            failed.append(plan.failed)
        raise AssertionError("calls without end")

    world.run(body)
    verbs = {call.partition("(")[0] for call in failed}
    assert verbs >= {"umount", "overwrite", "rmtree", "rmdir"}, failed


def test_what_a_killed_agent_left_half_done_is_cleared(world: RealWorld) -> None:
    """Records say making or removing; files and mounts without a record are nobody's."""
    ids: list[str] = []
    pauses: list[int] = []

    async def first(runtime: Runtime) -> None:
        for _ in range(3):
            ids.extend(await started(runtime, world, *SLEEP))

    async def spoil(runtime: Runtime) -> None:
        await runtime.close()
        host, places = RealHost(), world.places
        sandboxes = Records(host, places.sandbox_records, SandboxRecord)
        containers = Records(host, places.container_records, ContainerRecord)
        found = {r.id: r for r in sandboxes.load()}
        pause = found[ids[0]].pause
        assert pause is not None
        pauses.append(pause[0])
        # as if the agent had been killed before the pause process was moved to its group
        Cgroups(host).attach("", pause[0])
        found[ids[0]].phase, found[ids[0]].pause, found[ids[0]].network = Phase.MAKING, None, False
        sandboxes.save(found[ids[0]])
        held = {r.id: r for r in containers.load()}
        making = held[ids[3]]
        making.phase, making.process, making.monitor = Phase.MAKING, None, None
        containers.save(making)
        containers.delete(ids[5])
        host.mkdir(f"{places.containers}/orphan/rootfs")
        host.mkdir(f"{places.writable_layers}/orphan/upper")
        host.mkdir(f"{places.sandboxes}/orphan/ns")
        host.create(f"{places.exits}/orphan", b"0")

    async def second(runtime: Runtime) -> None:
        assert RealHost().identity(pauses[0]) is None
        assert {s.id for s in await runtime.list_sandboxes()} == {ids[2], ids[4]}
        assert await runtime.list_containers() == []
        for sandbox_id in (ids[2], ids[4]):
            container_id = await runtime.create_container(sandbox_id, container(*SLEEP))
            await runtime.start_container(container_id)
            await runtime.remove_sandbox(sandbox_id)
        assert left(world) == []

    world.run(first, spoil, second)


def test_after_the_machine_was_started_anew_everything_has_ended(world: RealWorld) -> None:
    ids: list[str] = []

    async def first(runtime: Runtime) -> None:
        ids.extend(await started(runtime, world, *SLEEP))
        await runtime.stop_container(ids[1], 0)

    async def reboot(runtime: Runtime) -> None:
        await runtime.close()
        host = RealHost()
        containers = Records(host, world.places.container_records, ContainerRecord)
        record = containers.load()[0]
        assert record.boot_id == boot_id(host)
        # as if the power had been cut while it ran: its numbers belong to other processes now, here to this very one
        myself = host.identity(os.getpid())
        assert myself is not None
        pair = (myself.pid, myself.start_ticks)
        record.phase, record.process, record.monitor = Phase.RUNNING, pair, pair
        record.boot_id = "an earlier one"
        containers.save(record)
        host.unlink(f"{world.places.exits}/{record.id}")

    async def second(runtime: Runtime) -> None:
        status = await runtime.container_status(ids[1])
        assert (status.state, status.exit_code) == (ContainerState.EXITED, 137)
        assert status.reason == "ContainerStatusUnknown"
        await runtime.remove_sandbox(ids[0])

    world.run(first, reboot, second)


def test_a_full_disk_refuses_new_pods_and_keeps_the_old(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        await runtime.close()
        full = [False]
        host, _ = faulty(RealHost(), 1, lambda verb, _: full[0] and verb in ("create", "overwrite"))
        agent = await alone(world, host)
        sandbox_id, container_id = await started(agent, world, *SLEEP)
        full[0] = True
        with pytest.raises(RuntimeFailure, match="recorded"):
            await agent.run_sandbox(sandbox(world))
        full[0] = False
        assert (await agent.exec_sync(container_id, ["true"], 20))[0] == 0
        await agent.remove_sandbox(sandbox_id)
        assert left(world) == []
        await agent.close()

    world.run(body)


def test_nothing_waits_for_ever(world: RealWorld) -> None:
    """Closing an agent while Pods come and go completes what was begun."""

    async def body(runtime: Runtime) -> None:
        tasks = [asyncio.create_task(started(runtime, world, *SLEEP)) for _ in range(4)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(30):
            await runtime.close()

    async def second(runtime: Runtime) -> None:
        for status in await runtime.list_sandboxes():
            await runtime.remove_sandbox(status.id)
        assert left(world) == []

    world.run(body, second)

"""The promises of `carob.runtime.types.Runtime`, tried on every implementation.

What needs a kernel (processes, logs, namespaces) is in tests/unit/runtime with the embedded runtime alone.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from carob.runtime.types import (
    ContainerState,
    ContainerStatus,
    Exited,
    NotFound,
    Process,
    Resources,
    Runtime,
    RuntimeFailure,
    SandboxState,
)
from tests.contracts.runtime_worlds import World, container, sandbox

SLEEP = ("sleep", "1000")
STUBBORN = ("sh", "-c", "trap '' TERM; while true; do sleep 1; done")


class Ends:
    """Hears of every end and lets a test wait for the one it expects."""

    def __init__(self, runtime: Runtime) -> None:
        self.heard: list[Exited] = []
        self._more = asyncio.Event()
        runtime.subscribe(self._exited)

    def _exited(self, exited: Exited) -> None:
        self.heard.append(exited)
        self._more.set()

    async def of(self, sandbox_id: str, container_id: str) -> None:
        async with asyncio.timeout(20):
            while Exited(sandbox_id, container_id) not in self.heard:
                self._more.clear()
                await self._more.wait()


async def started(runtime: Runtime, world: World, *command: str, **changes: object) -> tuple[str, str]:
    """A sandbox with one started container: their ids."""
    made = await runtime.run_sandbox(sandbox(world))
    container_id = await runtime.create_container(made.id, container(*command, **changes))
    await runtime.start_container(container_id)
    return made.id, container_id


async def output(process: Process) -> tuple[bytes, bytes]:
    """All of both streams."""
    streams = {1: b"", 2: b""}
    async with asyncio.timeout(20):
        while (piece := await process.read()) is not None:
            streams[piece[0]] += piece[1]
    return streams[1], streams[2]


def test_a_runtime_that_is_well_says_so(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        status = await runtime.status()
        assert (status.runtime_problem, status.network_problem) == ("", "")
        name, version = await runtime.version()
        assert name
        assert version

    world.run(body)


def test_a_sandbox_is_ready_listed_and_gone_after_remove(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        config = sandbox(world)
        made = await runtime.run_sandbox(config)
        assert made.state is SandboxState.READY
        assert made.config == config
        assert made.ips
        assert made.pause_pid > 0
        assert await runtime.sandbox_status(made.id) == made
        assert made.id in [s.id for s in await runtime.list_sandboxes()]
        await runtime.stop_sandbox(made.id)
        assert (await runtime.sandbox_status(made.id)).state is SandboxState.NOT_READY
        await runtime.remove_sandbox(made.id)
        with pytest.raises(NotFound):
            await runtime.sandbox_status(made.id)
        assert await runtime.list_sandboxes() == []

    world.run(body)


def test_stopping_and_removing_what_is_gone_succeeds(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        for _ in range(2):
            await runtime.stop_container(container_id, 0)
        for _ in range(2):
            await runtime.remove_container(container_id)
        for _ in range(2):
            await runtime.stop_sandbox(sandbox_id)
        for _ in range(2):
            await runtime.remove_sandbox(sandbox_id)
        await runtime.stop_container("no-such", 1)
        await runtime.remove_container("no-such")

    world.run(body)


def test_a_container_goes_from_created_to_running_to_exited(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        made = await runtime.run_sandbox(sandbox(world))
        config = container("sh", "-c", "exit 3", attempt=2, labels={"a": "b"})
        container_id = await runtime.create_container(made.id, config)
        status = await runtime.container_status(container_id)
        assert (status.state, status.name, status.attempt) == (ContainerState.CREATED, "main", 2)
        assert status.labels == {"a": "b"}
        assert status.log_path == f"{made.config.log_directory}/main/0.log"
        await runtime.start_container(container_id)
        await ends.of(made.id, container_id)
        status = await runtime.container_status(container_id)
        assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 3, "Error")
        assert status.created_at <= status.started_at <= status.finished_at + 0.1
        await runtime.remove_sandbox(made.id)
        assert await runtime.list_containers() == []

    world.run(body)


def test_exit_code_zero_is_completed(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        sandbox_id, container_id = await started(runtime, world, "true")
        await ends.of(sandbox_id, container_id)
        status = await runtime.container_status(container_id)
        assert (status.exit_code, status.reason) == (0, "Completed")
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_an_exit_is_told_once(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        ends = Ends(runtime)
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        await runtime.stop_container(container_id, 0)
        await runtime.remove_sandbox(sandbox_id)
        assert ends.heard == [Exited(sandbox_id, container_id), Exited(sandbox_id, "")]

    world.run(body)


def test_a_command_that_does_not_exist_is_told_at_start(world: World) -> None:
    """What upstream shows as lastState: StartError, 128."""

    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world))
        container_id = await runtime.create_container(made.id, container("nope"))
        with pytest.raises(RuntimeFailure, match="executable file not found in \\$PATH") as failure:
            await runtime.start_container(container_id)
        assert failure.value.reason == "RunContainerError"
        status = await runtime.container_status(container_id)
        assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 128, "StartError")
        assert "executable file not found" in status.message
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_starting_twice_fails(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        with pytest.raises(RuntimeFailure):
            await runtime.start_container(container_id)
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_creating_needs_a_ready_sandbox_and_an_image(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        with pytest.raises(NotFound):
            await runtime.create_container("no-such", container(*SLEEP))
        made = await runtime.run_sandbox(sandbox(world))
        with pytest.raises(RuntimeFailure, match="not found") as failure:
            await runtime.create_container(made.id, container(*SLEEP, image="other:1"))
        assert failure.value.reason == "CreateContainerError"
        await runtime.stop_sandbox(made.id)
        with pytest.raises(RuntimeFailure, match="not ready"):
            await runtime.create_container(made.id, container(*SLEEP))
        assert await runtime.list_containers() == []
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_the_grace_period_ends_in_a_kill(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *STUBBORN)
        before = asyncio.get_running_loop().time()
        await runtime.stop_container(container_id, 0.2)
        assert asyncio.get_running_loop().time() - before >= 0.19
        assert (await runtime.container_status(container_id)).exit_code == 137
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_second_stop_with_less_grace_shortens_the_first(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *STUBBORN)
        async with asyncio.timeout(20):
            first = asyncio.create_task(runtime.stop_container(container_id, 600))
            await asyncio.sleep(0)
            await runtime.stop_container(container_id, 0.05)
            await first
        assert (await runtime.container_status(container_id)).exit_code == 137
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_stopping_what_has_not_begun_ends_it(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world))
        container_id = await runtime.create_container(made.id, container(*SLEEP))
        async with asyncio.timeout(20):
            await runtime.stop_container(container_id, 30)
        assert (await runtime.container_status(container_id)).state is ContainerState.EXITED
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_stopping_a_sandbox_ends_its_containers(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, first = await started(runtime, world, *SLEEP)
        second = await runtime.create_container(
            sandbox_id, container(*STUBBORN, name="second", log_path="second/0.log")
        )
        await runtime.start_container(second)
        await runtime.stop_sandbox(sandbox_id)
        states = {c.id: c.state for c in await runtime.list_containers()}
        assert states == {first: ContainerState.EXITED, second: ContainerState.EXITED}
        await runtime.remove_sandbox(sandbox_id)
        assert await runtime.list_containers() == []

    world.run(body)


def test_exec_has_output_and_exit_code(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        command = ["sh", "-c", "echo out; echo err >&2; exit 4"]
        assert await runtime.exec_sync(container_id, command, 20) == (4, b"out\n", b"err\n")
        process = await runtime.exec(container_id, command, stdin=False, tty=False)
        assert await output(process) == (b"out\n", b"err\n")
        assert await process.wait() == 4
        await process.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_exec_input_is_half_closed(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        process = await runtime.exec(container_id, ["cat"], stdin=True, tty=False)
        await process.write(b"one ")
        await process.write(b"two")
        await process.close_stdin()
        await process.close_stdin()
        assert (await output(process))[0] == b"one two"
        assert await process.wait() == 0
        await process.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_exec_of_a_missing_command_ends_with_127_and_words(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        process = await runtime.exec(container_id, ["nope"], stdin=False, tty=False)
        _, said = await output(process)
        assert b'exec: "nope": executable file not found in $PATH' in said
        assert await process.wait() == 127
        await process.close()
        with pytest.raises(RuntimeFailure, match="executable file not found"):
            await runtime.exec_sync(container_id, ["nope"], 20)
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_exec_sync_gives_up_after_its_timeout(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        with pytest.raises(TimeoutError):
            await runtime.exec_sync(container_id, ["sleep", "600"], 0.3)
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_exec_and_attach_need_a_running_container(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world))
        container_id = await runtime.create_container(made.id, container(*SLEEP))
        await runtime.stop_container(container_id, 0)
        with pytest.raises(RuntimeFailure, match="not running"):
            await runtime.exec(container_id, ["true"], stdin=False, tty=False)
        with pytest.raises(RuntimeFailure, match="not running"):
            await runtime.exec_sync(container_id, ["true"])
        with pytest.raises(RuntimeFailure, match="not running"):
            await runtime.attach(container_id)
        with pytest.raises(NotFound):
            await runtime.exec("no-such", ["true"], stdin=False, tty=False)
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_a_port_that_nobody_listens_on_is_a_connection_error(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world))
        with pytest.raises(ConnectionError):
            duplex = await runtime.port_forward(made.id, 9)
            try:
                await duplex.read()
            finally:
                await duplex.close()
        with pytest.raises(NotFound):
            await runtime.port_forward("no-such", 9)
        await runtime.remove_sandbox(made.id)

    world.run(body)


def test_stats_are_of_running_containers_only(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, running = await started(runtime, world, *SLEEP)
        ended = await runtime.create_container(sandbox_id, container(*SLEEP, name="ended"))
        await runtime.stop_container(ended, 0)
        stats = await runtime.container_stats()
        assert [s.id for s in stats] == [running]
        assert stats[0].process_count >= 1
        assert [s.id for s in await runtime.sandbox_stats()] == [sandbox_id]
        await runtime.stop_sandbox(sandbox_id)
        assert await runtime.sandbox_stats() == []
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_resources_change_while_it_runs(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP)
        changed = Resources(cpu_shares=256, memory_limit=64 << 20)
        await runtime.update_resources(container_id, changed)
        assert (await runtime.container_status(container_id)).resources == changed
        with pytest.raises(NotFound):
            await runtime.update_resources("no-such", changed)
        await runtime.update_sandbox_resources(sandbox_id, Resources(cpu_shares=512, memory_limit=128 << 20))
        with pytest.raises(NotFound):
            await runtime.update_sandbox_resources("no-such", changed)
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_a_new_agent_finds_everything_as_it_was(world: World) -> None:
    """What was acknowledged survives the agent."""
    seen: dict[str, ContainerStatus] = {}
    ids: list[str] = []

    async def first(runtime: Runtime) -> None:
        ends = Ends(runtime)
        sandbox_id, running = await started(runtime, world, *SLEEP)
        ended = await runtime.create_container(sandbox_id, container("sh", "-c", "exit 5", name="ended"))
        await runtime.start_container(ended)
        await ends.of(sandbox_id, ended)
        created = await runtime.create_container(sandbox_id, container(*SLEEP, name="created"))
        ids[:] = [sandbox_id, running, ended, created]
        seen.update({c.id: c for c in await runtime.list_containers()})

    async def second(runtime: Runtime) -> None:
        ends = Ends(runtime)
        sandbox_id, running, _, created = ids
        assert {c.id: c for c in await runtime.list_containers()} == seen
        assert (await runtime.sandbox_status(sandbox_id)).state is SandboxState.READY
        assert (await runtime.exec_sync(running, ["true"], 20))[0] == 0
        await runtime.start_container(created)
        await runtime.stop_container(running, 0)
        await ends.of(sandbox_id, running)
        await runtime.remove_sandbox(sandbox_id)
        assert await runtime.list_sandboxes() == []

    world.run(first, second)


def test_many_pods_at_once(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        made = await asyncio.gather(*(started(runtime, world, *SLEEP) for _ in range(8)))
        assert len({sandbox_id for sandbox_id, _ in made}) == 8
        states = [c.state for c in await runtime.list_containers()]
        assert states == [ContainerState.RUNNING] * 8
        await asyncio.gather(*(runtime.remove_sandbox(sandbox_id) for sandbox_id, _ in made))
        assert await runtime.list_sandboxes() == []

    world.run(body)


def test_a_cancelled_caller_leaves_nothing_half_made(world: World) -> None:
    async def body(runtime: Runtime) -> None:
        config = sandbox(world)
        caller = asyncio.create_task(runtime.run_sandbox(config))
        await asyncio.sleep(0)
        caller.cancel()
        with suppress(asyncio.CancelledError):
            await caller
        for status in await _settled(runtime):
            await runtime.remove_sandbox(status)
        assert await runtime.list_sandboxes() == []

    world.run(body)


async def _settled(runtime: Runtime) -> list[str]:
    """Ids of sandboxes once the abandoned call is over (it is known as soon as it is made)."""
    for _ in range(100):
        found = [s.id for s in await runtime.list_sandboxes()]
        if found:
            return found
        await asyncio.sleep(0.01)
    return []


def test_closing_a_stream_ends_its_reader(world: World) -> None:
    """A client that goes away must leave nobody waiting; the command itself goes on."""

    async def body(runtime: Runtime) -> None:
        sandbox_id, container_id = await started(runtime, world, *SLEEP, stdin=True)
        for process in (
            await runtime.exec(container_id, ["sleep", "600"], stdin=True, tty=False),
            await runtime.exec(container_id, ["sleep", "600"], stdin=True, tty=True),
            await runtime.attach(container_id),
        ):
            reading = asyncio.create_task(process.read())
            await asyncio.sleep(0.01)
            await process.close()
            async with asyncio.timeout(20):
                assert await reading is None
            await process.write(b"ignored")
            await process.close_stdin()
            await process.close()
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)

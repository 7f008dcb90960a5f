"""User namespaces of the embedded runtime: root in a Pod is nobody on the machine, and files keep their owners."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from carob.runtime.types import Mount, NamespaceMode, Runtime, RuntimeFailure, SandboxState, UserNamespace
from tests.contracts.runtime_worlds import IMAGE, RealWorld, container, open_world, sandbox
from tests.contracts.test_embedded_runtime import said
from tests.contracts.test_runtime import SLEEP

pytestmark = [pytest.mark.root, pytest.mark.slow]
USERS = UserNamespace(655_360)


@pytest.fixture(scope="module")
def world() -> Iterator[RealWorld]:
    with open_world() as made:
        yield made


async def started(runtime: Runtime, world: RealWorld, **changes: object) -> tuple[str, str]:
    mounts = changes.pop("mounts", [])
    security = changes.pop("run", {})
    made = await runtime.run_sandbox(sandbox(world, users=USERS, **changes))
    assert made.state is SandboxState.READY
    one = await runtime.create_container(made.id, container(*SLEEP, mounts=mounts, **security))  # type: ignore[arg-type]
    await runtime.start_container(one)
    return made.id, one


def test_root_in_the_pod_is_nobody_on_the_machine(world: RealWorld, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "secret").write_text("mine")
    (volume / "secret").chmod(0o600)
    (tmp_path / "file").write_text("hosts")
    mounts = [
        Mount(container_path="/data", host_path=str(volume)),
        Mount(container_path="/etc/one-file", host_path=str(tmp_path / "file"), readonly=True),
        Mount(container_path="/image", host_path="", image=IMAGE),
    ]

    async def body(runtime: Runtime) -> None:
        sandbox_id, one = await started(runtime, world, mounts=mounts)
        assert await said(runtime, one, "id -u; cat /proc/self/uid_map") == "0\n" + f"{0:>10} {655360:>10} {65536:>10}"
        pid = (await runtime.container_status(one)).pid
        assert os.stat(f"/proc/{pid}").st_uid == 655_360
        pause = (await runtime.sandbox_status(sandbox_id)).pause_pid
        assert os.stat(f"/proc/{pause}").st_uid == 655_360
        # files keep their owners on the disk, and root of the Pod is their owner
        assert await said(runtime, one, "cat /data/secret /etc/one-file; echo new >/data/new; ls /image/bin/sh") == (
            "minehosts/image/bin/sh"
        )
        assert (volume / "new").stat().st_uid == 0
        assert (
            await said(runtime, one, "touch /tmp-file /dev/shm/x; ls -ln /bin/busybox | tr -s ' ' | cut -d' ' -f3")
            == "0"
        )
        # namespaces belong to the Pod's users: its root may do there what root does
        owners = {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "uts", "ipc")}
        assert owners == {os.readlink(f"/proc/{pause}/ns/{kind}") for kind in ("net", "uts", "ipc")}
        assert await said(runtime, one, "hostname") != os.uname().nodename
        code, _, _ = await runtime.exec_sync(one, ["sh", "-c", "echo 1 > /proc/sys/kernel/panic"], 20)
        assert code != 0
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_files_that_it_could_not_reach_are_told_before(real_world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        with pytest.raises(RuntimeFailure, match="to be open to others"):
            await runtime.run_sandbox(sandbox(real_world, users=USERS))

    real_world.logs.parent.chmod(0o700)
    real_world.run(body)


def test_processes_are_shared_where_asked(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        sandbox_id, one = await started(runtime, world, pid=NamespaceMode.POD)
        assert "pause" in await said(runtime, one, "cat /proc/1/cmdline")
        await runtime.stop_sandbox(sandbox_id)
        assert (await runtime.sandbox_status(sandbox_id)).state is SandboxState.NOT_READY
        await runtime.remove_sandbox(sandbox_id)

    world.run(body)


def test_an_agent_finds_it_again(world: RealWorld) -> None:
    made: list[str] = []

    async def first(runtime: Runtime) -> None:
        made.extend(await started(runtime, world))

    async def second(runtime: Runtime) -> None:
        assert (await runtime.sandbox_status(made[0])).config.users == USERS
        assert await said(runtime, made[1], "id -u") == "0"
        await runtime.remove_sandbox(made[0])

    world.run(first, second)


def test_a_range_that_the_kernel_refuses_is_told(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        with pytest.raises(RuntimeFailure, match=r"uid_map|Invalid"):
            await runtime.run_sandbox(sandbox(world, users=UserNamespace(2**32 - 10)))
        assert await runtime.list_sandboxes() == []

    world.run(body)

"""The embedded runtime where only cgroup2 is mounted, as on most machines: tried on any machine in a namespace.

Limits are left out: on a machine with v1 hierarchies the controllers are theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from carob.host.cgroup import detect
from carob.host.real import RealHost
from carob.host.types import CLONE_NEWNS, MS_PRIVATE, MS_REC
from carob.runtime.types import ContainerState, Resources, Runtime
from tests.contracts.runtime_worlds import Body, RealWorld, container, in_a_thread, sandbox, traces
from tests.contracts.test_runtime import SLEEP

pytestmark = [pytest.mark.root, pytest.mark.slow]


class Version2World(RealWorld):
    """Leaves the machine's own mounts as they are."""

    def run(self, *bodies: Body) -> None:
        def apart() -> None:
            _mount_version_2()
            RealWorld.run(self, *bodies)

        in_a_thread(apart)


def _mount_version_2() -> None:
    host = RealHost()
    host.unshare(CLONE_NEWNS)
    host.mount("none", "/", flags=MS_REC | MS_PRIVATE)
    for line in reversed(host.read("/proc/thread-self/mountinfo").splitlines()):
        point, kind = line.split()[4], line.partition(" - ")[2].split()[0]
        if point.startswith("/sys/fs/cgroup") or kind.startswith("cgroup"):
            host.umount(point)
    host.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    assert detect(host).mode == "v2", host.read("/proc/thread-self/mountinfo")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RealWorld]:
    made = Version2World(tmp_path)
    try:
        yield made
    finally:
        made.clear()
    assert traces(tmp_path) == []


def test_a_pod_lives_and_ends_on_cgroup2_alone(world: RealWorld) -> None:
    async def body(runtime: Runtime) -> None:
        made = await runtime.run_sandbox(sandbox(world, resources=Resources()))
        first = await runtime.create_container(made.id, container(*SLEEP))
        await runtime.start_container(first)
        parent = Path("/sys/fs/cgroup" + made.config.cgroup_parent)
        assert parent.joinpath("cgroup.procs").read_text() == ""
        assert (await runtime.container_stats())[0].process_count == 1
        code, out, _ = await runtime.exec_sync(
            first, ["sh", "-c", "grep ^0:: /proc/self/cgroup; ls /sys/fs/cgroup"], 20
        )
        assert code == 0
        assert out.startswith(b"0::/\n")
        assert b"cgroup.kill" in out
        await runtime.stop_container(first, 0.1)
        assert (await runtime.container_status(first)).state is ContainerState.EXITED
        await runtime.remove_sandbox(made.id)
        assert not parent.exists()  # noqa: ASYNC240

    world.run(body)

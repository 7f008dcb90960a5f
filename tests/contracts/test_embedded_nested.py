"""The embedded runtime in a container: a control group with processes is the root of all that it sees.

That is how CI runners and docker-in-docker look on cgroup v2. Tried where cgroup2 has the controllers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.runtime_worlds import CLUSTER, RealWorld, traces

GROUPS = Path("/sys/fs/cgroup")
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (GROUPS / "cgroup.controllers").exists(), reason="control groups of this machine are not version 2 alone"
    ),
]

INSIDE = """
import asyncio, json, sys
from pathlib import Path
from carob.host.real import RealHost
from carob.runtime.embedded import mount_namespace
from carob.runtime.embedded.cleanup import remove_everything
from carob.runtime.types import Resources
from tests.contracts import runtime_worlds as worlds

worlds.CLUSTER = sys.argv[2]
root = Path("/sys/fs/cgroup")
world = worlds.RealWorld.again(Path(sys.argv[1]))
told = {}

def text(path):
    return (root / path).read_text().strip()

async def main():
    mount_namespace.enter(RealHost(), world.places)
    agent = world.runtime()
    await agent.start()
    limits = Resources(cpu_shares=512, memory_limit=64 << 20, pids_limit=50)
    made = await agent.run_sandbox(worlds.sandbox(world, resources=limits))
    asked = worlds.container("sleep", "1000", resources=Resources(memory_limit=32 << 20))
    first = await agent.create_container(made.id, asked)
    await agent.start_container(first)
    group = made.config.cgroup_parent.lstrip("/")
    told["limits"] = [text(f"{group}/memory.max"), text(f"{group}/pids.max"), text(f"{group}/{first}/memory.max")]
    told["root"] = text("cgroup.procs")
    told["processes"] = (await agent.container_stats())[0].process_count
    await agent.close()

before = sorted(text("cgroup.procs").split())
asyncio.run(main())
told["left"] = remove_everything(RealHost(), sys.argv[2], world.places.state_dir, world.places.run_dir)
told["same"] = set(before) <= set(text("cgroup.procs").split())
told["groups"] = sorted(one.name for one in root.iterdir() if one.is_dir())
told["controllers"] = text("cgroup.subtree_control")
print(json.dumps(told))
"""
ENTER = """
set -e
echo $$ > "$0/cgroup.procs"
exec unshare --cgroup --mount sh -ec 'umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"' sh "$@"
"""


@pytest.fixture
def container_root() -> Iterator[Path]:
    """A group that has all controllers, as the engine of a container makes it."""
    (GROUPS / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    made = GROUPS / f"carob-test-{os.getpid()}-outer"
    made.mkdir()
    yield made
    made.rmdir()


def test_processes_of_the_root_make_room_for_pods_and_come_back(tmp_path: Path, container_root: Path) -> None:
    RealWorld(tmp_path)
    words = [sys.executable, "-c", INSIDE, str(tmp_path), CLUSTER]
    done = subprocess.run(
        ["sh", "-c", ENTER, str(container_root), *words],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "limits": [str(64 << 20), "50", str(32 << 20)],
        "root": "",
        "processes": 1,
        "left": [],
        "same": True,
        "groups": [],
        "controllers": "",
    }
    assert traces(tmp_path) == [f"cgroup {container_root}"]

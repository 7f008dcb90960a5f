"""kill -9 of agent, server, monitors, pause processes and containers at any moment of Pods' lives; then what is judged.

    python -m tests.soaking.kills [SECONDS [SEED]]

Promises: Pods that shall run run again; what ran once by its policy never ran twice; nothing is left of what has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.cluster import Bench
from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import apps_v1, core_v1
from tests.soaking import traces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.client.rest import Client

NAME = "soak-kills"
REPLICAS = 6
AT_ONCE = 4
KINDS = ("agent", "server", "monitor", "pause", "container")
PATIENCE_SECONDS = 180.0


def main() -> int:
    """0 when every promise was kept."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="carob-soak-") as folder:
        bench = Bench(Path(folder), NAME)
        bench.up()
        try:
            bench.image()
            (Path(folder) / "ran").mkdir()
            wrong = uvloop.run(soak(bench, seconds, random.Random(seed)))
        finally:
            bench.down()
    print("\n".join(wrong) or "every promise was kept")
    return 1 if wrong else 0


async def soak(bench: Bench, seconds: float, chance: random.Random) -> list[str]:
    """What is wrong, a line each."""
    async with bench.client() as client:
        await client.create(_deployment(0))
        await _settle(client, 0)
        before = traces.look(bench)
        await client.patch(apps_v1.Deployment, "runs", "default", patch={"spec": {"replicas": REPLICAS}})
        end = time.monotonic() + seconds
        counts: dict[str, int] = {}
        names: list[str] = []
        workers = [asyncio.create_task(_short_pods(bench, client, end, number, names)) for number in range(AT_ONCE)]
        while time.monotonic() < end:
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            kind = chance.choice(KINDS)
            if await asyncio.to_thread(_kill, bench, kind, chance):
                counts[kind] = counts.get(kind, 0) + 1
        await asyncio.to_thread(bench.up)
        await asyncio.gather(*workers)
        print(f"killed {counts}; {len(names)} short Pods", file=sys.stderr)
        wrong = await _judge(bench, client, names)
        await client.patch(apps_v1.Deployment, "runs", "default", patch={"spec": {"replicas": 0}})
        wrong += await _settle(client, 0)
    return wrong + await asyncio.to_thread(lambda: traces.settled(bench, before, restarted=True))


def _deployment(replicas: int) -> apps_v1.Deployment:
    container = {"name": "c", "image": "carob.local/web:v1"}
    template = {
        "metadata": {"labels": {"app": "runs"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "runs"}}, "template": template}
    return codec.from_tree(apps_v1.Deployment, {"metadata": {"name": "runs", "namespace": "default"}, "spec": spec})


def _short(bench: Bench, name: str) -> core_v1.Pod:
    """It says that it ran, and ends; it must never do so twice."""
    command = ["sh", "-c", f"echo x >>/ran/{name}; sleep 0.2"]
    mounts = [{"name": "ran", "mountPath": "/ran"}]
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "carob.local/web:v1", "command": command, "volumeMounts": mounts}],
        "volumes": [{"name": "ran", "hostPath": {"path": str(bench.folder / "ran")}}],
    }
    return codec.from_tree(core_v1.Pod, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})


async def _short_pods(bench: Bench, client: Client, end: float, number: int, names: list[str]) -> None:
    """One after another: made, ended, removed; while the server is away, it is asked again."""
    count = 0
    while time.monotonic() < end:
        name = f"short-{number}-{count}"
        count += 1
        names.append(name)
        await _live(bench, client, name)


async def _live(bench: Bench, client: Client, name: str) -> None:
    await _patiently(lambda: client.create(_short(bench, name)), "AlreadyExists")
    while not await _ended(client, name):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await _patiently(lambda: client.delete(core_v1.Pod, name, "default"), "NotFound")


async def _ended(client: Client, name: str) -> bool:
    try:
        pod = await client.get(core_v1.Pod, name, "default")
    except (OSError, ApiError):
        return False
    return pod.status.phase in ("Succeeded", "Failed")


async def _patiently(ask: Callable[[], Awaitable[object]], done: str) -> None:
    while True:
        try:
            await ask()
            return
        except OSError:
            await asyncio.sleep(0.1)
        except ApiError as error:
            if error.reason == done:
                return
            await asyncio.sleep(0.1)


def _kill(bench: Bench, kind: str, chance: random.Random) -> bool:
    """Whether there was one; agent and server are started again."""
    if kind in ("agent", "server"):
        pids = [pid for part, pid in bench.pids().items() if (part == "server") == (kind == "server")]
    else:
        pids = sorted(_found(bench, kind))
    if not pids:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(pids), signal.SIGKILL)
    if kind in ("agent", "server"):
        time.sleep(chance.uniform(0, 1.5))
        bench.up()
    return True


def _found(bench: Bench, kind: str) -> list[int]:
    """Processes of the cluster's Pods."""
    run_dir, state_dir = bench.cluster.run_dir, bench.cluster.state_dir
    out = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            group = (entry / "cgroup").read_text()
        except OSError:
            continue
        monitor = words[0].endswith("/conmon") and any(state_dir in word for word in words)
        pause = words[0].startswith(run_dir) and words[0].endswith("/pause")
        inside = f"/carob-{bench.name}/" in group and not pause
        if {"monitor": monitor, "pause": pause, "container": inside}[kind]:
            out.append(int(entry.name))
    return out


async def _settle(client: Client, replicas: int) -> list[str]:
    """Wait until so many Pods are there, all Ready, and no others."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        pods = (await client.list(core_v1.Pod, "default")).items
        ready = [p for p in pods if any(c.type == "Ready" and c.status == "True" for c in p.status.conditions)]
        if len(pods) == len(ready) == replicas:
            return []
        if time.monotonic() > end:
            return [f"{len(ready)} of {len(pods)} Pods are ready, {replicas} shall be"]
        await asyncio.sleep(0.25)


async def _judge(bench: Bench, client: Client, names: list[str]) -> list[str]:
    wrong = await _settle(client, REPLICAS)
    monitors = await asyncio.to_thread(_found, bench, "monitor")
    if len(monitors) != REPLICAS:
        wrong.append(f"{len(monitors)} containers run, {REPLICAS} shall")
    for name in names:
        file = bench.folder / "ran" / name
        times = len(file.read_text().split()) if file.exists() else 0
        if times > 1:
            wrong.append(f"{name} ran {times} times")
    return wrong


if __name__ == "__main__":
    sys.exit(main())

"""How fast the embedded runtime makes and removes whole Pods on this machine, by itself: no API server, no kubelet.

    python bench/runtime.py [--pods 30] [--burst 30] [--rounds 3] [--containers 1]

A Pod is: sandbox (pause process, namespaces, control group), one container of busybox with limits and the default
seccomp filter, started. Baseline of the same run: `crun run` of the same root with nothing around it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from carob.host.real import RealHost
from carob.runtime.embedded import mount_namespace
from carob.runtime.embedded.cleanup import remove_everything
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.runtime import EmbeddedRuntime
from carob.runtime.types import Resources, SecurityContext
from tests.contracts import runtime_worlds as worlds

LIMITS = Resources(cpu_shares=102, cpu_quota=50_000, memory_limit=64 << 20, pids_limit=256)


def percentile(values: list[float], share: float) -> float:
    """In the values' own unit."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def describe(title: str, seconds: list[float]) -> None:
    """One line: p50, p90, max in milliseconds."""
    p50, p90 = statistics.median(seconds) * 1e3, percentile(seconds, 0.9) * 1e3
    print(f"{title:34} p50 {p50:7.1f} ms   p90 {p90:7.1f} ms   max {max(seconds) * 1e3:7.1f} ms   n={len(seconds)}")


class Bench:
    """One cluster below a folder, and the clock around its verbs."""

    def __init__(self, folder: Path, containers: int) -> None:
        self.world = worlds.RealWorld(folder)
        self.containers = containers
        self.steps: dict[str, list[float]] = {}

    async def timed(self, step: str, verb: Awaitable[object]) -> object:
        before = time.perf_counter()
        result = await verb
        self.steps.setdefault(step, []).append(time.perf_counter() - before)
        return result

    async def pod(self, agent: EmbeddedRuntime) -> str:
        before = time.perf_counter()
        made = await agent.run_sandbox(worlds.sandbox(self.world))
        self.steps.setdefault("  run_sandbox", []).append(time.perf_counter() - before)
        for number in range(self.containers):
            config = worlds.container(
                "sleep",
                "1000",
                name=f"c{number}",
                resources=LIMITS,
                security=SecurityContext(),
                log_path=f"c{number}/0.log",
            )
            middle = time.perf_counter()
            container_id = await agent.create_container(made.id, config)
            later = time.perf_counter()
            await agent.start_container(container_id)
            self.steps.setdefault("  create_container", []).append(later - middle)
            self.steps.setdefault("  start_container", []).append(time.perf_counter() - later)
        self.steps.setdefault("pod", []).append(time.perf_counter() - before)
        return made.id

    async def run(self, pods: int, burst: int, rounds: int) -> None:
        agent = self.world.runtime()
        await agent.start()
        for _ in range(3):
            await agent.remove_sandbox(await self.pod(agent))
        self.steps.clear()
        for _ in range(pods):
            sandbox_id = await self.pod(agent)
            await self.timed("  stop_sandbox", agent.stop_sandbox(sandbox_id))
            await self.timed("  remove_sandbox", agent.remove_sandbox(sandbox_id))
        for step, seconds in self.steps.items():
            describe(f"one after the other: {step}" if step == "pod" else step, seconds)
        rates, removals = [], []
        for _ in range(rounds):
            self.steps.clear()
            before = time.perf_counter()
            ids = await asyncio.gather(*(self.pod(agent) for _ in range(burst)))
            rates.append(burst / (time.perf_counter() - before))
            describe(f"{burst} at once: pod", self.steps["pod"])
            before = time.perf_counter()
            await asyncio.gather(*(agent.remove_sandbox(sandbox_id) for sandbox_id in ids))
            removals.append(burst / (time.perf_counter() - before))
        if rates:
            print(
                f"{burst} at once: {statistics.median(rates):.1f} pods/s made, {statistics.median(removals):.1f} removed"
            )
        await agent.close()


def baseline(folder: Path, image: Path, count: int) -> None:
    """`crun run` of the same root, with its own namespaces and no filter: what the bare tool costs."""
    bundle = folder / "bundle"
    bundle.mkdir()
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["root"] = {"path": str(image)}
    spec["process"].update(args=["true"], terminal=False)
    spec["process"].pop("rlimits", None)
    (bundle / "config.json").write_text(json.dumps(spec))
    taken = []
    for number in range(count):
        before = time.perf_counter()
        command = ["crun", f"--root={folder}/crun", "--cgroup-manager=disabled", "run", "-b", str(bundle), f"b{number}"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - before)
    describe("baseline: crun run true", taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=30)
    parser.add_argument("--burst", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--containers", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="carob-bench-"))
    places = Places(str(folder / "state"), str(folder / "run"))
    runner: Callable[[], None]

    def work() -> None:
        bench = Bench(folder, options.containers)
        mount_namespace.enter(RealHost(), places)
        if options.containers == 1:
            baseline(folder, folder / "image", 10)
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(bench.run(options.pods, options.burst, options.rounds))

    runner = work
    try:
        worlds.in_a_thread(runner)
    finally:
        left = remove_everything(RealHost(), worlds.CLUSTER, places.state_dir, places.run_dir)
        shutil.rmtree(folder, ignore_errors=True)
        print("\n".join(left), end="")
        print(f"load average {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()

"""Measure this machine: medians of several runs, as a table, as JSON and as a picture."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.baselines import measure_machine, measure_wire
from bench.cluster import Bench, cpu_seconds, memory_bytes, time_pods
from bench.controllers import measure_controllers
from bench.network import measure_apart, measure_change
from bench.node import measure_node
from bench.report import table, write_json, write_picture
from bench.steps import measure_steps

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 1e6
PARTS = ("up", "base", "idle", "pods", "node", "api", "network", "scale", "controllers")


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"  … {text}", file=sys.stderr, flush=True)


def measure_up(bench: Bench, values: dict[str, float], runs: int) -> None:
    """Warm starts: the second and later ones of a fresh cluster."""
    bench.up()
    bench.down()
    times = []
    for _ in range(runs):
        times.append(bench.up())
        bench.down()
    values["up_seconds"] = statistics.median(times)


def measure_base(bench: Bench, values: dict[str, float], runs: int) -> None:
    """The machine without carob."""
    measure_machine(values, bench.folder)
    measure_wire(bench, values, runs)


def measure_idle(bench: Bench, values: dict[str, float], seconds: float) -> None:
    """Memory and CPU of a cluster that nobody asks anything."""
    time.sleep(3)
    pids = bench.pids().values()
    values["idle_pss_mb"] = sum(memory_bytes(p, "Pss") for p in pids) / MB
    values["idle_rss_mb"] = sum(memory_bytes(p, "Rss") for p in pids) / MB
    before = sum(map(cpu_seconds, pids))
    time.sleep(seconds)
    values["idle_cpu_percent"] = 100 * (sum(map(cpu_seconds, pids)) - before) / seconds


def measure_pods(bench: Bench, values: dict[str, float], runs: int) -> None:
    """Real Pods: one after another, then 30 at once."""
    bench.image()
    uvloop.run(time_pods(bench, [f"warm-{i}" for i in range(3)], at_once=False))
    starts, ends, _ = uvloop.run(time_pods(bench, [f"one-{i}" for i in range(10 * runs)], at_once=False))
    values["ready_p50_ms"] = 1000 * statistics.median(starts)
    values["ready_p99_ms"] = 1000 * sorted(starts)[int(0.99 * len(starts))]
    values["gone_p50_ms"] = 1000 * statistics.median(ends)
    bursts = [uvloop.run(time_pods(bench, [f"burst-{r}-{i}" for i in range(30)], at_once=True)) for r in range(runs)]
    values["burst_seconds"] = statistics.median(whole for _, _, whole in bursts)
    each = sorted(start for starts, _, _ in bursts for start in starts)
    values["burst_p50_ms"] = 1000 * statistics.median(each)
    values["burst_p99_ms"] = 1000 * each[int(0.99 * len(each))]


def measure_api(bench: Bench, values: dict[str, float], runs: int) -> None:
    """Requests a second, and watches; Pods that no scheduler takes."""
    created = 0
    for clients in (1, 8, 32):
        rates = []
        for _ in range(runs):
            count = 1000 if clients == 1 else 3000
            rates.append(bench.load(verb="create", clients=clients, count=count, first=created)["per_second"])
            created += count
        values[f"creates_{clients}"] = statistics.median(rates)
    for clients in (1, 8, 32):
        rates = [
            bench.load(verb="get", clients=clients, count=3000 if clients == 1 else 12000, known=1000)["per_second"]
            for _ in range(runs)
        ]
        values[f"gets_{clients}"] = statistics.median(rates)
    fan = [
        bench.load(verb="watch", watchers=100, clients=8, count=1500, first=900_000 + 1500 * r, namespace="kube-public")
        for r in range(runs)
    ]
    values["fanout"] = statistics.median(f["per_second"] for f in fan)
    one = bench.load(verb="watch", watchers=1, clients=1, count=1000, first=990_000, namespace="kube-node-lease")
    values["event_p50_ms"] = one["latency_p50_ms"]


def measure_scale(bench: Bench, values: dict[str, float], runs: int) -> None:
    """Lists and memory of a fresh cluster with 5,000, then 30,000 Pods."""
    bench.down()
    bench.up()
    for key, first, until in (("list_5k_ms", 0, 5_000), ("list_30k_ms", 5_000, 30_000)):
        bench.load(verb="create", clients=16, count=until - first, first=first)
        lists = [bench.load(verb="list", clients=1, count=3)["p50_ms"] for _ in range(runs)]
        values[key] = statistics.median(lists)
    values["memory_30k_mb"] = memory_bytes(bench.pids()["server"], "Pss") / MB


def measure_network(bench: Bench, values: dict[str, float], runs: int) -> None:
    """Services, Pods on the wire and names; then how soon a change of the API works; then minikube's five steps."""
    measure_apart(values)
    measure_change(bench, values)
    measure_steps(bench, values, runs)


def main() -> int:
    """Run what was asked for; the exit code tells whether every bar was met (0) or not (2)."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the values there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write an SVG there")
    parser.add_argument("--runs", type=int, default=3, help="how many runs the medians are of (default: 3)")
    parser.add_argument("--idle-seconds", type=float, default=20.0, help="how long to look at an idle cluster")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of: {','.join(PARTS)} (default: all)")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="carob-bench-") as folder:
        # two runs at once must not take each other down
        bench = Bench(Path(folder), f"bench-{os.getpid()}")
        parts: dict[str, Callable[[], None]] = {
            "base": lambda: measure_base(bench, values, arguments.runs),
            "idle": lambda: measure_idle(bench, values, arguments.idle_seconds),
            "pods": lambda: measure_pods(bench, values, arguments.runs),
            "node": lambda: measure_node(bench, values, arguments.runs),
            "api": lambda: measure_api(bench, values, arguments.runs),
            "network": lambda: measure_network(bench, values, arguments.runs),
            "scale": lambda: measure_scale(bench, values, arguments.runs),
        }
        try:
            if "up" in wanted:
                say("up and down")
                measure_up(bench, values, 2 * arguments.runs - 1)
            bench.up()
            for name, part in parts.items():
                if name in wanted:
                    say(name)
                    part()
        finally:
            bench.down()
        if "controllers" in wanted:
            say("controllers")
            measure_controllers(Path(folder), values, arguments.idle_seconds)
    print(table(values))
    if arguments.json:
        write_json(values, arguments.json)
    if arguments.picture:
        write_picture(values, arguments.picture)
    return 0 if "missed" not in table(values) else 2


if __name__ == "__main__":
    sys.exit(main())

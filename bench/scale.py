"""The scale run: 150,000 Pods on 5,000 simulated nodes, created, scheduled, Running; and how the API behaves there.

`python -m bench.scheduling --scale` prints what it took, in time, processor time and memory, and what creates, LISTs, GETs
and watches cost when everything is there. Needs no root, some 3 GB of memory, and about ten minutes.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench.cluster import Bench, cpu_seconds, memory_bytes
from bench.load import Client, Watcher, request
from bench.workloads import encoded, pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scheduling import Load

PODS = "/api/v1/namespaces/default/pods"
APPS = 300
CLIENTS = 16
LIMIT_SECONDS = 3600.0
PREFIX = b"scale"


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"  … {text}", file=sys.stderr, flush=True)


class Running(Watcher):
    """Names of the Pods that a watch has shown; a watch that ends is begun anew."""

    def __init__(self, load: Load, query: str, wanted: int, prefix: bytes = PREFIX) -> None:
        super().__init__(request("GET", f"{PODS}?watch=true&resourceVersion=0&{query}"))
        self._load = load
        self._wanted = wanted
        self._needle = b'"name":"' + prefix + b"-"
        self._rest = b""
        self.names: set[bytes] = set()
        self.begun = 0
        self.closed = False
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self) -> None:
        """Begin, or begin anew."""
        self.begun += 1
        self._rest = b""
        await self._load.connect(lambda: self)

    def data_received(self, data: bytes) -> None:
        """The names in whole lines; a name may be cut between two pieces."""
        if not self.started.done():
            self.started.set_result(None)
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        for piece in whole.split(self._needle)[1:]:
            self.names.add(piece[:6])
        if len(self.names) >= self._wanted and not self.all.done():
            self.last = time.perf_counter()
            self.all.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Too slow, perhaps."""
        if not self.closed and not self.all.done():
            self._load.spawn(self.connect())


def trees(first: int, count: int) -> Iterator[bytes]:
    """Requests that create Pods of many applications, made one by one: all of them would not fit."""
    for number in range(first, first + count):
        tree = pod(number, PREFIX.decode(), labels={"app": f"app-{number % APPS}"})
        yield request("POST", PODS, encoded(tree))


async def latencies(load: Load, requests: list[bytes], clients: int = 1) -> tuple[list[float], int]:
    """Milliseconds each, sorted, and how many bytes came."""
    waiting = iter(requests)
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in range(clients)]
    asking = [Client(lambda: next(waiting, None), future) for future in done]
    for one in asking:
        await load.connect(partial(_itself, one))
    await asyncio.gather(*done)
    return sorted(1e3 * x for one in asking for x in one.latencies), sum(one.bytes for one in asking)


def _itself(client: Client) -> Client:
    return client


async def measure(bench: Bench, load: Load, nodes: int, pods: int) -> dict[str, Any]:
    """All figures, by what they mean."""
    server = bench.pids()["server"]
    found: dict[str, Any] = {"memory_before_mb": memory_bytes(server, "Pss") / 1e6}
    running = Running(load, "fieldSelector=status.phase%3DRunning", pods)
    placed = Running(load, "fieldSelector=spec.nodeName%21%3D", pods)
    for one in (running, placed):
        await one.connect()
        await one.started
    spent, started = cpu_seconds(server), time.perf_counter()
    progress = load.spawn(_progress(placed, running, started))
    created = await latencies(load, trees(0, pods), CLIENTS)  # type: ignore[arg-type]
    found["creates_a_second"] = pods / (time.perf_counter() - started)
    found["create_p50_ms"], found["create_p99_ms"] = created[0][pods // 2], created[0][int(pods * 0.99)]
    async with asyncio.timeout(LIMIT_SECONDS):
        await placed.all
        found["placed_seconds"] = placed.last - started
        await running.all
    found["running_seconds"] = running.last - started
    progress.cancel()
    found["running_a_second"] = pods / found["running_seconds"]
    found["running_a_server_cpu_second"] = pods / (cpu_seconds(server) - spent)
    found["watches_begun_anew"] = running.begun + placed.begun - 2
    for one in (running, placed):
        one.closed = True
        one.transport.close()
    found["memory_mb"] = memory_bytes(server, "Pss") / 1e6
    found["memory_kb_a_pod"] = (found["memory_mb"] - found["memory_before_mb"]) * 1e3 / pods
    say("reading")
    whole, size = await latencies(load, [request("GET", "/api/v1/pods")] * 3)
    found["list_all_ms"], found["list_all_mb"] = statistics.median(whole), size / 3e6
    paged, _ = await latencies(load, [request("GET", f"{PODS}?limit=500")] * 50)
    found["list_500_p50_ms"] = statistics.median(paged)
    chosen, _ = await latencies(load, [request("GET", f"{PODS}?labelSelector=app%3Dapp-1")] * 10)
    found["list_by_label_ms"] = statistics.median(chosen)
    of_node, _ = await latencies(load, [request("GET", f"{PODS}?fieldSelector=spec.nodeName%3Dsimulated-7")] * 10)
    found["list_by_node_ms"] = statistics.median(of_node)
    gets, _ = await latencies(load, [request("GET", f"{PODS}/{PREFIX.decode()}-{n:06d}") for n in range(2000)])
    found["get_p50_ms"], found["get_p99_ms"] = gets[1000], gets[1980]
    say("creating and watching")
    more = Running(load, "fieldSelector=status.phase%3DRunning", pods + 200)
    await more.connect()
    async with asyncio.timeout(LIMIT_SECONDS):
        while len(more.names) < pods:  # noqa: ASYNC110 - a measurement, not a test
            await asyncio.sleep(0.05)
        late, _ = await latencies(load, list(trees(pods, 200)))
        await more.all
    found["late_create_p50_ms"], found["late_create_p99_ms"] = late[100], late[198]
    more.closed = True
    return found


async def _progress(placed: Running, running: Running, started: float) -> None:
    while True:
        await asyncio.sleep(15)
        seconds = time.perf_counter() - started
        say(f"{seconds:5.0f} s: {len(placed.names):,} have a node, {len(running.names):,} are Running")


def run(make_load: Any, nodes: int, pods: int) -> None:
    """The whole of it, on a cluster of its own."""
    with tempfile.TemporaryDirectory(prefix="carob-bench-") as folder:
        bench = Bench(Path(folder), f"bench-{os.getpid()}")
        try:
            started = time.perf_counter()
            bench.up("--nodes", "0", "--simulated-nodes", str(nodes), "--wait", "600s")
            say(f"{nodes:,} nodes after {time.perf_counter() - started:.1f} s")

            async def main() -> dict[str, Any]:
                return await measure(bench, make_load(bench), nodes, pods)

            for name, value in uvloop.run(main()).items():
                print(f"{name:28} {value:12,.2f}", flush=True)
        finally:
            bench.down()

"""Pods a second from their creation to their binding, on simulated nodes, through the API with commits on disk.

`python -m bench.scheduling --nodes 1000 --pods 5000 basic anti-affinity` prints a line a workload. The Pods are created
by this process while the scheduler works, as upstream's scheduler_perf does; they never start, so that nothing but
creating and scheduling is measured. Needs no root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.cluster import Bench, cpu_seconds, memory_bytes
from bench.load import Client, Watcher, context, request
from bench.workloads import SERVICES, WORKLOADS, Tree, Workload, encoded, service

NAMESPACE = "default"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CLIENTS = 16
LIMIT_SECONDS = 300.0


class Load:
    """Creates Pods and waits until they have nodes."""

    def __init__(self, bench: Bench) -> None:
        pki = bench.cluster.pki_dir
        files = {"ca": pki / "ca.crt", "certificate": pki / "admin.crt", "key": pki / "admin.key"}
        self._tls = context({name: str(file) for name, file in files.items()})
        self._port = bench.cluster.api_port

    async def create(self, trees: list[Tree], path: str = PODS) -> None:
        """All of them, by some clients at once."""
        requests = iter([request("POST", path, encoded(tree)) for tree in trees])
        loop = asyncio.get_running_loop()
        done = [loop.create_future() for _ in range(CLIENTS)]
        clients = [Client(lambda: next(requests, None), future) for future in done]
        for client in clients:
            await loop.create_connection(partial(_itself, client), "127.0.0.1", self._port, ssl=self._tls)
        await asyncio.gather(*done)
        failures = sum(client.failures for client in clients)
        if failures:
            raise SystemExit(f"{failures} creates failed")

    async def until_placed(self, trees: list[Tree]) -> float:
        """Create them; the seconds from the first create until every one is seen with a node."""
        prefix = trees[0]["metadata"]["name"].partition("-")[0]
        watch = request("GET", f"{PODS}?watch=true&resourceVersion=0&fieldSelector=spec.nodeName%21%3D")
        loop = asyncio.get_running_loop()
        placed = Placed(watch, prefix.encode(), len(trees))
        await loop.create_connection(lambda: placed, "127.0.0.1", self._port, ssl=self._tls)
        await placed.started
        started = time.perf_counter()
        await self.create(trees)
        async with asyncio.timeout(LIMIT_SECONDS):
            await placed.all
        placed.transport.close()
        return placed.last - started


def _itself(client: Client) -> Client:
    return client


class Placed(Watcher):
    """Counts Pods of one prefix that appear among those that have a node."""

    def __init__(self, watch: bytes, prefix: bytes, wanted: int) -> None:
        super().__init__(watch)
        self._needle = b'"name":"' + prefix + b"-"
        self._wanted = wanted
        self._names: set[bytes] = set()
        self._rest = b""
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """The names in whole lines; a name may be cut between two pieces."""
        if not self.started.done():
            self.started.set_result(None)
        data = self._rest + data
        whole, _, self._rest = data.rpartition(b"\n")
        for piece in whole.split(self._needle)[1:]:
            self._names.add(piece[:6])
        if len(self._names) >= self._wanted and not self.all.done():
            self.last = time.perf_counter()
            self.all.set_result(None)


class Rates(NamedTuple):
    """Pods a second of wall time, and of the server's processor time: the second hardly depends on who else works."""

    rate: float
    rate_by_cpu: float


async def measure(bench: Bench, workload: Workload, nodes: int, pods: int) -> Rates:
    """Everything that must be there before, then the Pods that are timed."""
    load = Load(bench)
    for name, value in workload.priorities.items():
        tree = {"metadata": {"name": name}, "value": value}
        await load.create([tree], "/apis/scheduling.k8s.io/v1/priorityclasses")
    if workload.services:
        await load.create([service(n) for n in range(SERVICES)], f"/api/v1/namespaces/{NAMESPACE}/services")
    if workload.before is not None:
        await load.until_placed([workload.before(n) for n in range(4 * nodes)])
    if workload.backlog is not None:
        await load.create([workload.backlog(n) for n in range(pods)])
    count = min(pods, workload.most_each_node * nodes) if workload.most_each_node else pods
    server = bench.pids()["server"]
    before = cpu_seconds(server)
    seconds = await load.until_placed([workload.make(n) for n in range(count)])
    return Rates(count / seconds, count / (cpu_seconds(server) - before))


def main() -> None:
    """Run the workloads that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.scheduling", description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=f"some of {', '.join(WORKLOADS)}")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=5000)
    arguments = parser.parse_args()
    for name in arguments.workloads:
        workload = WORKLOADS[name]
        with tempfile.TemporaryDirectory(prefix="carob-bench-") as folder:
            bench = Bench(Path(folder), f"bench-{os.getpid()}")
            flags = ("--nodes", "0", "--simulated-nodes", str(arguments.nodes), "--simulated-start", "24h")
            try:
                bench.up(*flags, "--simulated-capacity", f"cpu={workload.cpu}", "--wait", "300s")
                server = bench.pids()["server"]
                found = uvloop.run(measure(bench, workload, arguments.nodes, arguments.pods))
                memory = memory_bytes(server, "Pss") / 1e6
                print(
                    f"{name:24} {arguments.nodes:6,} nodes {found.rate:8,.0f} Pods/s "
                    f"{found.rate_by_cpu:8,.0f} Pods/server CPU s {memory:6,.0f} MB",
                    flush=True,
                )
            finally:
                bench.down()


if __name__ == "__main__":
    main()

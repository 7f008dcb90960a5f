"""Pods a second from their creation to their binding, on simulated nodes, through the API with commits on disk.

`python -m bench.scheduling` prints a line for each workload and size of the cluster (some 45 minutes);
`python -m bench.scheduling --nodes 500 1000 --pods 5000 basic anti-affinity` some of them. The Pods are created by this
process while the scheduler works, as upstream's scheduler_perf does; they never start, so that nothing but creating and
scheduling is measured. Needs no root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from bench import scale
from bench.cluster import Bench, cpu_seconds, memory_bytes
from bench.load import Client, context, request
from bench.workloads import (
    RESOURCES,
    SERVICES,
    WORKLOADS,
    Tree,
    Workload,
    claim_template,
    device_class,
    encoded,
    pod,
    service,
    slice_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NAMESPACE = "default"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CLIENTS = 16
LIMIT_SECONDS = 300.0
CHURN_SECONDS = 0.2
SCALE_NODES, SCALE_PODS = 5000, 150_000
SIZES = {500: 2500, 1000: 5000, 5000: 10_000}
"""How many Pods are timed where there are so many nodes."""
BACKLOG = 5000
SETTLED_SECONDS = 60.0


class Load:
    """Creates Pods and waits until they have nodes."""

    def __init__(self, bench: Bench) -> None:
        pki = bench.cluster.pki_dir
        files = {"ca": pki / "ca.crt", "certificate": pki / "admin.crt", "key": pki / "admin.key"}
        self._tls = context({name: str(file) for name, file in files.items()})
        self._port = bench.cluster.api_port
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """One more connection to the API."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(protocol, "127.0.0.1", self._port, ssl=self._tls)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it beside everything else."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def create(self, trees: list[Tree], path: str = PODS) -> None:
        """All of them, by some clients at once."""
        await self.send([request("POST", path, encoded(tree)) for tree in trees])

    async def send(self, prepared: list[bytes]) -> None:
        """All of them, by some clients at once."""
        requests = iter(prepared)
        loop = asyncio.get_running_loop()
        done = [loop.create_future() for _ in range(min(CLIENTS, len(prepared)))]
        clients = [Client(lambda: next(requests, None), future) for future in done]
        for client in clients:
            await self.connect(partial(_itself, client))
        await asyncio.gather(*done)
        failures = sum(client.failures for client in clients)
        if failures:
            raise SystemExit(f"{failures} requests failed")

    async def until_placed(self, trees: list[Tree]) -> float:
        """Create them; the seconds from the first create until every one is seen with a node."""
        prefix = trees[0]["metadata"]["name"].partition("-")[0]
        placed = scale.Running(self, "fieldSelector=spec.nodeName%21%3D", len(trees), prefix.encode())
        await placed.connect()
        await placed.started
        started = time.perf_counter()
        await self.create(trees)
        async with asyncio.timeout(LIMIT_SECONDS):
            await placed.all
        placed.closed = True
        placed.transport.close()
        return placed.last - started


def _itself(client: Client) -> Client:
    return client


class Rates(NamedTuple):
    """Pods a second of wall time, and of the server's processor time: the second hardly depends on who else works."""

    pods: int
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
    if workload.devices:
        await load.create([device_class()], f"{RESOURCES}/deviceclasses")
        await load.create([claim_template()], f"{RESOURCES}/namespaces/{NAMESPACE}/resourceclaimtemplates")
        await load.create([slice_of(n) for n in range(nodes)], f"{RESOURCES}/resourceslices")
    if workload.before is not None:
        await load.until_placed([workload.before(n) for n in range(4 * nodes)])
    if workload.backlog is not None:
        await load.create([workload.backlog(n) for n in range(BACKLOG)])
    count = min(pods, workload.most_each_node * nodes) if workload.most_each_node else pods
    server = bench.pids()["server"]
    before = cpu_seconds(server)
    churn = load.spawn(_churn(load)) if workload.churns else None
    seconds = await load.until_placed([workload.make(n) for n in range(count)])
    if churn is not None:
        churn.cancel()
    return Rates(count, count / seconds, count / (cpu_seconds(server) - before))


async def _churn(load: Load) -> None:
    """A node, a Pod that fits nowhere and a Service come and go, again and again."""
    kinds = {
        "/api/v1/nodes": {"metadata": {"name": "churn"}},
        PODS: pod(0, "churn", cpu="99", priorityClassName="high"),
        f"/api/v1/namespaces/{NAMESPACE}/services": service(0),
    }
    while True:
        for path, tree in kinds.items():
            await load.create([tree], path)
        await asyncio.sleep(CHURN_SECONDS)
        for path, tree in kinds.items():
            await load.send([request("DELETE", f"{path}/{tree['metadata']['name']}")])


def main() -> None:
    """Run the workloads that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.scheduling", description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=f"some of {', '.join(WORKLOADS)}")
    parser.add_argument("--nodes", type=int, nargs="+", help=f"default: {', '.join(map(str, SIZES))}")
    parser.add_argument("--pods", type=int, help="how many are timed; by default it depends on the number of nodes")
    parser.add_argument("--scale", action="store_true", help="the scale run instead: 5,000 nodes, 150,000 Pods")
    parser.add_argument("--memory", action="store_true", help="what a simulated node costs the server instead")
    arguments = parser.parse_args()
    if arguments.scale:
        scale.run(Load, (arguments.nodes or [SCALE_NODES])[0], arguments.pods or SCALE_PODS)
        return
    if arguments.memory:
        weigh_nodes((arguments.nodes or [SCALE_NODES])[0])
        return
    for name in arguments.workloads:
        for nodes in arguments.nodes or SIZES:
            run(name, nodes, arguments.pods or SIZES.get(nodes, 5 * nodes))


def weigh_nodes(nodes: int) -> None:
    """What each of many nodes costs the server, when every one has renewed its lease for some time."""
    weights = []
    for count in (1, nodes):
        with tempfile.TemporaryDirectory(prefix="carob-bench-") as folder:
            bench = Bench(Path(folder), f"bench-{os.getpid()}")
            try:
                bench.up("--nodes", "0", "--simulated-nodes", str(count), "--wait", "300s")
                time.sleep(SETTLED_SECONDS)
                weights.append(memory_bytes(bench.pids()["server"], "Pss") / 1e3)
            finally:
                bench.down()
    first, all_of_them = weights
    print(f"{nodes:,} nodes: {all_of_them / 1e3:,.0f} MB, {(all_of_them - first) / (nodes - 1):.1f} KB each")


def run(name: str, nodes: int, pods: int) -> None:
    """One workload on a cluster of its own."""
    workload = WORKLOADS[name]
    with tempfile.TemporaryDirectory(prefix="carob-bench-") as folder:
        bench = Bench(Path(folder), f"bench-{os.getpid()}")
        flags = ("--nodes", "0", "--simulated-nodes", str(nodes), "--simulated-start", "24h")
        try:
            bench.up(*flags, "--simulated-capacity", f"cpu={workload.cpu}", "--wait", "300s")
            server = bench.pids()["server"]
            found = uvloop.run(measure(bench, workload, nodes, pods))
            memory = memory_bytes(server, "Pss") / 1e6
            print(
                f"{name:24} {nodes:6,} nodes {found.pods:7,} Pods {found.rate:8,.0f} Pods/s "
                f"{found.rate_by_cpu:8,.0f} Pods/server CPU s {memory:6,.0f} MB",
                flush=True,
            )
        finally:
            bench.down()


if __name__ == "__main__":
    main()

"""How fast controllers bring about what is declared, and what they cost at rest; on simulated nodes.

The nodes report Pods ready at once, so that what is measured is the API server, the scheduler and the controllers, with
every commit on disk. `python -m bench.controllers` prints these figures alone; needs no root.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from bench.cluster import Bench, cpu_seconds, memory_bytes
from bench.report import table
from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import apps_v1, batch_v1, core_v1
from carob.client.rest import Client
from carob.transport.client import SocketTransport
from carob.transport.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Callable

REPLICAS = 1000
JOBS = 1000
MANY = 30_000
DEPLOYMENTS = 300
TOLERATION_SECONDS = 2
T = TypeVar("T")
NODES, CAPACITY = 20, "cpu=5000,memory=9Ti,pods=5000"
LIMIT_SECONDS = 300.0


def client_of(bench: Bench) -> tuple[Client, SocketTransport]:
    """As the cluster's administrator."""
    pki = bench.cluster.pki_dir
    tls = client_context(
        ca_file=str(pki / "ca.crt"), certificate_file=str(pki / "admin.crt"), key_file=str(pki / "admin.key")
    )
    transport = SocketTransport(f"https://127.0.0.1:{bench.cluster.api_port}", tls=tls)
    return Client(transport), transport


def template(app: str, version: str = "v1", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": f"carob.local/web:{version}", "resources": {"requests": {"cpu": "10m"}}}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]} | spec}


def deployment(name: str, replicas: int, **spec: Any) -> apps_v1.Deployment:
    selector = {"matchLabels": {"app": name}}
    tree = {"replicas": replicas, "selector": selector, "template": template(name, **spec)}
    return codec.from_tree(apps_v1.Deployment, {"metadata": {"name": name, "namespace": "default"}, "spec": tree})


def job(number: int) -> batch_v1.Job:
    tree = {"template": template("job", restartPolicy="Never"), "ttlSecondsAfterFinished": 3600}
    return codec.from_tree(
        batch_v1.Job, {"metadata": {"name": f"job-{number:04d}", "namespace": "default"}, "spec": tree}
    )


async def until(client: Client, kind: type[T], holds: Callable[[T], bool], count: int = 1) -> None:
    """Return when `count` objects of the default namespace have been seen for which it holds."""
    met = set()
    async with asyncio.timeout(LIMIT_SECONDS):
        async with client.watch(kind, "default", send_initial_events=True) as events:
            async for event in events:
                if isinstance(event.object, kind) and event.type in ("ADDED", "MODIFIED") and holds(event.object):
                    met.add(event.object.metadata.name)  # type: ignore[attr-defined]
                    if len(met) >= count:
                        return


def complete(name: str, replicas: int) -> Callable[[apps_v1.Deployment], bool]:
    """Whether the Deployment is there in whole, in its present version and in no other."""

    def holds(one: apps_v1.Deployment) -> bool:
        status = one.status
        return (
            one.metadata.name == name
            and status.observed_generation == one.metadata.generation
            and status.updated_replicas == status.replicas == status.available_replicas == replicas
        )

    return holds


def _is_done(one: batch_v1.Job) -> bool:
    return any(c.type == "Complete" and c.status == "True" for c in one.status.conditions)


async def time_workloads(bench: Bench, values: dict[str, float]) -> None:
    """A Deployment until it is available, its rollout, and Jobs."""
    client, transport = client_of(bench)
    seen = asyncio.ensure_future(until(client, apps_v1.Deployment, complete("web", REPLICAS)))
    started = time.perf_counter()
    await client.create(deployment("web", REPLICAS))
    await seen
    values["deployment_seconds"] = time.perf_counter() - started
    patch = {"spec": {"template": template("web", "v2")}}
    started = time.perf_counter()
    await client.patch(apps_v1.Deployment, "web", "default", patch=patch)
    await until(client, apps_v1.Deployment, complete("web", REPLICAS))
    values["rollout_seconds"] = time.perf_counter() - started
    await client.delete(apps_v1.Deployment, "web", "default")
    seen = asyncio.ensure_future(until(client, batch_v1.Job, _is_done, JOBS))
    started = time.perf_counter()
    numbers = iter(range(JOBS))

    async def create() -> None:
        for number in numbers:
            await client.create(job(number))

    await asyncio.gather(*(create() for _ in range(8)))
    await seen
    values["jobs_seconds"] = time.perf_counter() - started
    await transport.close()


async def fill(bench: Bench) -> None:
    """30,000 Pods of 300 Deployments, all available."""
    client, transport = client_of(bench)
    each = MANY // DEPLOYMENTS
    names = {f"many-{n:03d}" for n in range(DEPLOYMENTS)}
    seen = asyncio.ensure_future(
        until(
            client,
            apps_v1.Deployment,
            lambda one: one.metadata.name in names and complete(one.metadata.name, each)(one),
            DEPLOYMENTS,
        )
    )
    for name in sorted(names):
        await client.create(deployment(name, each))
    await seen
    await transport.close()


def measure_rest(bench: Bench, values: dict[str, float], seconds: float) -> None:
    """CPU and memory of the whole server, its controllers among them, while nothing happens."""
    time.sleep(15)
    pid = bench.pids()["server"]
    before = cpu_seconds(pid)
    time.sleep(seconds)
    values["rest_30k_percent"] = 100 * (cpu_seconds(pid) - before) / seconds
    values["rest_30k_mb"] = memory_bytes(pid, "Pss") / 1e6


def measure_restart(bench: Bench, values: dict[str, float]) -> None:
    """Kill the server; from the start of the next one until its controllers have answered a change with a Pod, and until
    that Pod has been scheduled and runs."""
    pid = bench.pids()["server"]
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)
    up = [sys.executable, "-m", "carob", "up", "--name", bench.name, "--data-dir", str(bench.data), "-q"]
    started = time.perf_counter()
    process = subprocess.Popen([*up, *FLAGS], env=bench.environment, stdout=subprocess.DEVNULL)
    try:
        in_step, runs = uvloop.run(_until_in_step(bench))
    finally:
        process.wait()
    values["restart_30k_seconds"] = in_step - started
    values["restart_30k_running_seconds"] = runs - started


async def _until_in_step(bench: Bench) -> tuple[float, float]:
    """When a new replica's Pod had been made, and when it was available."""
    client, transport = client_of(bench)
    name, wanted = "many-000", MANY // DEPLOYMENTS + 1
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                wanted = ((await client.get(apps_v1.Deployment, name, "default")).spec.replicas or 0) + 1
                await client.patch(apps_v1.Deployment, name, "default", patch={"spec": {"replicas": wanted}})
                break
            except (ApiError, OSError):
                # nobody listens yet: no event tells a client when somebody does
                await asyncio.sleep(0.01)
    await until(client, apps_v1.Deployment, lambda one: one.metadata.name == name and one.status.replicas == wanted)
    in_step = time.perf_counter()
    await until(client, apps_v1.Deployment, complete(name, wanted))
    runs = time.perf_counter()
    await transport.close()
    return in_step, runs


async def time_replacement(bench: Bench, values: dict[str, float]) -> None:
    """From the taint of a node that is silent until its Pod runs elsewhere, without the seconds that it tolerates."""
    client, transport = client_of(bench)
    tolerations = [
        {
            "key": "node.kubernetes.io/unreachable",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": TOLERATION_SECONDS,
        }
    ]
    await client.create(deployment("lone", 1, tolerations=tolerations))
    await until(client, apps_v1.Deployment, complete("lone", 1))
    pods = (await client.list(core_v1.Pod, "default", label_selector="app=lone")).items
    (lost,) = {pod.spec.node_name for pod in pods}
    annotations = {"metadata": {"annotations": {"simulated.carob.dev/state": "silent"}}}
    await client.patch(core_v1.Node, lost, patch=annotations)

    async def tainted() -> float:
        async with client.watch(core_v1.Node, send_initial_events=True) as events:
            async for event in events:
                node = event.object
                if not isinstance(node, core_v1.Node) or node.metadata.name != lost:
                    continue
                if any(t.effect == "NoExecute" for t in node.spec.taints):
                    return time.perf_counter()
        raise SystemExit("the watch of nodes ended")

    def elsewhere(pod: core_v1.Pod) -> bool:
        ours = pod.metadata.labels.get("app") == "lone"
        return ours and pod.spec.node_name not in ("", lost) and pod.status.phase == "Running"

    running = asyncio.ensure_future(until(client, core_v1.Pod, elsewhere))
    since = await tainted()
    await running
    values["replacement_seconds"] = time.perf_counter() - since - TOLERATION_SECONDS
    await transport.close()


FLAGS = (
    *("--nodes", "0", "--simulated-nodes", str(NODES), "--simulated-capacity", CAPACITY),
    *("--simulated-start", "0s", "--simulated-job", "0s", "--wait", "300s"),
)


def measure_controllers(folder: Path, values: dict[str, float], idle_seconds: float) -> None:
    """Everything above, on a cluster of its own below `folder`."""
    bench = Bench(folder, f"controllers-{os.getpid()}")
    try:
        bench.up(*FLAGS)
        uvloop.run(time_workloads(bench, values))
        uvloop.run(time_replacement(bench, values))
        bench.down()
        bench.up(*FLAGS)
        uvloop.run(fill(bench))
        measure_rest(bench, values, idle_seconds)
        measure_restart(bench, values)
    finally:
        bench.down()


if __name__ == "__main__":
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="carob-bench-") as folder:
        measure_controllers(Path(folder), figures, 30.0)
    print(table(figures))

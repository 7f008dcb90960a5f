"""The node: Pods as people write them, commands in them, probes, and what a hundred idle ones cost."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

import uvloop

from bench.cluster import cpu_seconds, memory_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from bench.cluster import Bench
    from carob.api.types import core_v1
    from carob.client.rest import Client

IMAGE = "carob.local/web:v1"
PODS = 100
CONTAINERS = 5
SECONDS = 10.0
EXECS = 40
MB = 1e6


def measure_node(bench: Bench, values: dict[str, float], runs: int) -> None:
    """All of it, on the bench's cluster; nothing stays."""
    bench.image()
    uvloop.run(_measure(bench, values, runs))


async def _measure(bench: Bench, values: dict[str, float], runs: int) -> None:
    async with bench.client() as client:
        await _prepare(client)
        starts = [await _one(client, f"full-{number}") for number in range(5 + 100 * runs // 3)][5:]
        values["full_ready_p50_ms"] = 1000 * statistics.median(starts)
        values["full_ready_p99_ms"] = 1000 * sorted(starts)[int(0.99 * len(starts))]
        values["exec_true_p50_ms"] = 1000 * statistics.median(await _execs(client))
        await _idle(bench, client, values)
        await _probes(bench, client, values)


def _pod(name: str, containers: list[dict[str, Any]], **spec: Any) -> core_v1.Pod:
    from carob.api import codec
    from carob.api.types import core_v1

    tree = {
        "metadata": {"name": name, "namespace": "default", "labels": {"bench": "node"}},
        "spec": {"containers": containers, "terminationGracePeriodSeconds": 0, **spec},
    }
    return codec.from_tree(core_v1.Pod, tree)


async def _prepare(client: Client) -> None:
    from carob.api import codec
    from carob.api.types import core_v1

    metadata = {"name": "bench", "namespace": "default"}
    await client.create(codec.from_tree(core_v1.ConfigMap, {"metadata": metadata, "data": {"a": "1", "b": "2"}}))
    await client.create(codec.from_tree(core_v1.Secret, {"metadata": metadata, "stringData": {"c": "3"}}))


def _full(name: str) -> core_v1.Pod:
    """Two containers, and in each a configMap, a secret, and (as everywhere) a token."""
    mounts = [{"name": "config", "mountPath": "/config"}, {"name": "secret", "mountPath": "/secret"}]
    containers = [
        {"name": "web", "image": IMAGE, "volumeMounts": mounts},
        {"name": "beside", "image": IMAGE, "command": ["sleep", "3600"], "volumeMounts": mounts},
    ]
    volumes = [
        {"name": "config", "configMap": {"name": "bench"}},
        {"name": "secret", "secret": {"secretName": "bench"}},
    ]
    return _pod(name, containers, volumes=volumes)


async def _events(client: Client) -> AsyncIterator[tuple[str, core_v1.Pod]]:
    from carob.api.types import core_v1

    watch = client.watch(core_v1.Pod, "default", label_selector="bench=node", send_initial_events=True)
    async with watch as events:
        async for event in events:
            if isinstance(event.object, core_v1.Pod):
                yield event.type, event.object


def _is_ready(pod: core_v1.Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


async def _until(client: Client, pods: Iterable[str], holds: Callable[[str, core_v1.Pod], bool]) -> float:
    """When the last of these Pods was so."""
    left = set(pods)
    async for kind, pod in _events(client):
        if pod.metadata.name in left and holds(kind, pod):
            left.discard(pod.metadata.name)
        if not left:
            return time.perf_counter()
    raise SystemExit(f"the watch ended; {len(left)} Pods are missing")


async def _one(client: Client, name: str) -> float:
    """Seconds from POST to Ready."""
    from carob.api.types import core_v1

    ready = asyncio.create_task(_until(client, [name], lambda _, pod: _is_ready(pod)))
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    await client.create(_full(name))
    took = await ready - started
    gone = asyncio.create_task(_until(client, [name], lambda kind, _: kind == "DELETED"))
    await asyncio.sleep(0.05)
    await client.delete(core_v1.Pod, name, "default")
    await gone
    return took


async def _execs(client: Client) -> list[float]:
    """Seconds from the request for `true` to its exit code, one after another."""
    from carob.api.types import core_v1
    from carob.base.ids import SystemRandomness
    from carob.transport.stream_clients import open_remote_command

    await client.create(_full("exec"))
    await _until(client, ["exec"], lambda _, pod: _is_ready(pod))
    took = []
    for _ in range(EXECS):
        started = time.perf_counter()
        command = await open_remote_command(
            client.transport,
            "/api/v1/namespaces/default/pods/exec/exec",
            "container=web&command=true&stdout=true&stderr=true",
            SystemRandomness(),
        )
        while await command.read() is not None:
            pass
        took.append(time.perf_counter() - started)
        command.close()
    await client.delete(core_v1.Pod, "exec", "default")
    await _until_none(client)
    return took


async def _until_none(client: Client) -> None:
    from carob.api.types import core_v1

    while (await client.list(core_v1.Pod, "default", label_selector="bench=node")).items:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def _clear(client: Client) -> None:
    from carob.api.types import core_v1

    await client.delete_collection(core_v1.Pod, "default", label_selector="bench=node")
    await _until_none(client)


def _monitors(bench: Bench) -> list[int]:
    """The processes that a Pod has beside its own: monitors of its containers, and the pause process."""
    from pathlib import Path

    found = []
    places = (str(bench.data / bench.name), bench.cluster.run_dir)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        beside = words[0].endswith("/conmon") or words[0].endswith("/pause")
        if beside and any(place in word for word in words for place in places):
            found.append(int(entry.name))
    return found


async def _idle(bench: Bench, client: Client, values: dict[str, float]) -> None:
    """What a hundred Pods cost that nobody asks anything, beyond their containers' own processes."""
    own = list(bench.pids().values())
    await asyncio.sleep(3)
    before = sum(memory_bytes(pid, "Pss") for pid in own)
    names = [f"idle-{number}" for number in range(PODS)]
    ready = asyncio.create_task(_until(client, names, lambda _, pod: _is_ready(pod)))
    await asyncio.gather(*(client.create(_full(name)) for name in names))
    await ready
    await asyncio.sleep(5)
    beside = _monitors(bench)
    after = sum(memory_bytes(pid, "Pss") for pid in [*own, *beside])
    values["idle_pod_mb"] = (after - before) / PODS / MB
    used = sum(map(cpu_seconds, [*own, *beside]))
    await asyncio.sleep(SECONDS)
    values["idle_pods_percent"] = 100 * (sum(map(cpu_seconds, [*own, *beside])) - used) / SECONDS
    await _clear(client)


async def _probes(bench: Bench, client: Client, values: dict[str, float]) -> None:
    """An httpGet probe of 500 containers every second: the agent's share of one core."""
    names = [f"probed-{number}" for number in range(PODS)]
    containers = []
    for number in range(CONTAINERS):
        port = 8080 + number
        probe = {"httpGet": {"port": port}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 30}
        command = ["httpd", "-f", "-p", str(port), "-h", "/www"]
        containers.append({"name": f"c{number}", "image": IMAGE, "command": command, "livenessProbe": probe})
    ready = asyncio.create_task(_until(client, names, lambda _, pod: _is_ready(pod)))
    for name in names:
        await client.create(_pod(name, containers))
    await ready
    await asyncio.sleep(5)
    agent = next(pid for part, pid in bench.pids().items() if part != "server")
    used = cpu_seconds(agent)
    await asyncio.sleep(SECONDS)
    values["probes_percent"] = 100 * (cpu_seconds(agent) - used) / SECONDS
    await _clear(client)

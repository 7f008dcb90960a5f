"""Many short Pods, started and removed: nothing is left, memory is flat, no descriptor leaks.

python -m tests.soaking.pods [COUNT]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.cluster import Bench
from carob.api import codec
from carob.api.types import core_v1
from tests.soaking import traces

if TYPE_CHECKING:
    from carob.client.rest import Client

NAME = "soak-pods"
AT_ONCE = 10
WARM = 100
PIECE = 250
MOST_GROWTH_BYTES = 24 << 20
"""Of a process over all Pods: what caches of a bounded size may fill up with, not what a leak would."""
EVENT_BYTES = 16 << 10
"""Of the server for each Pod besides: it keeps what happened to it for an hour, as upstream does."""


def short_pod(name: str) -> core_v1.Pod:
    """It writes a line and ends."""
    container = {
        "name": "c",
        "image": "carob.local/web:v1",
        "command": ["sh", "-c", "echo $NAME; cat /config/* >/dev/null"],
        "env": [{"name": "NAME", "value": name}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "config", "mountPath": "/config"}],
    }
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "config", "configMap": {"name": "soak"}}]
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    return codec.from_tree(core_v1.Pod, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})


async def run_pods(client: Client, names: list[str]) -> None:
    """Each is created, ends well, and is deleted; ten at once."""
    loop = asyncio.get_running_loop()
    ended = {name: loop.create_future() for name in names}
    gone = {name: loop.create_future() for name in names}

    async def follow() -> None:
        async with client.watch(core_v1.Pod, "default", send_initial_events=True) as events:
            async for event in events:
                pod = event.object
                if not isinstance(pod, core_v1.Pod) or pod.metadata.name not in ended:
                    continue
                if pod.status.phase in ("Succeeded", "Failed") and not ended[pod.metadata.name].done():
                    ended[pod.metadata.name].set_result(pod.status.phase)
                if event.type == "DELETED" and not gone[pod.metadata.name].done():
                    gone[pod.metadata.name].set_result(None)

    async def one(name: str) -> None:
        async with slots, asyncio.timeout(180):
            await client.create(short_pod(name))
            phase = await ended[name]
            assert phase == "Succeeded", f"{name} has {phase}"
            await client.delete(core_v1.Pod, name, "default")
            await gone[name]

    slots = asyncio.Semaphore(AT_ONCE)
    follower = loop.create_task(follow())
    await asyncio.gather(*map(one, names))
    follower.cancel()
    await asyncio.wait([follower])


async def soak(bench: Bench, count: int) -> list[str]:
    """What is wrong afterwards, a line each."""
    async with bench.client() as client:
        config = {"metadata": {"name": "soak", "namespace": "default"}, "data": {"key": "value"}}
        await client.create(codec.from_tree(core_v1.ConfigMap, config))
        await run_pods(client, [f"warm-{number}" for number in range(WARM)])
        await asyncio.sleep(5)
        before, was = traces.look(bench), traces.memory(bench)
        started = time.monotonic()
        for first in range(0, count, PIECE):
            await run_pods(client, [f"short-{number}" for number in range(first, min(count, first + PIECE))])
            shown = ", ".join(f"{part} {now >> 10} KiB" for part, now in traces.memory(bench).items())
            print(f"{first + PIECE}: {shown}", file=sys.stderr)
        print(f"{count} Pods in {time.monotonic() - started:.1f} s", file=sys.stderr)
    wrong = traces.settled(bench, before)
    for part, now in traces.memory(bench).items():
        print(f"{part}: {was[part] >> 10} KiB -> {now >> 10} KiB", file=sys.stderr)
        if now - was[part] > MOST_GROWTH_BYTES + (EVENT_BYTES * count if part == "server" else 0):
            wrong.append(f"{part} has grown by {(now - was[part]) >> 10} KiB")
    return wrong


def main() -> int:
    """0 when nothing is left of them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="carob-soak-") as folder:
        bench = Bench(Path(folder), NAME)
        bench.up()
        try:
            bench.image()
            wrong = uvloop.run(soak(bench, count))
        finally:
            bench.down()
    print("\n".join(wrong) or "nothing is left of them")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

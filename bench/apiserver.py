"""The API engine alone, in this process: what a create, a read, a list and a watch event cost in CPU, and in memory.

No sockets, no TLS, no disk: the figures that a change of the engine moves, with little noise. The whole server is
measured by `bench.cluster`. Run: `python -m bench.apiserver [--pods 30000] [--json]`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import uvloop

from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Chunk, Request, Response

ADMIN = UserInfo("bench", ("system:masters", "system:authenticated"))
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JSON = {"content-type": "application/json"}
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
CLIENTS = 32
WATCHERS = 100


class Counter:
    """A peer that counts events, keeps nothing, and says when it has `wanted`."""

    buffered = 0

    def __init__(self, wanted: int) -> None:
        self._missing = wanted
        self.complete = asyncio.Event()

    def write(self, data: bytes | Chunk) -> None:
        self._missing -= (data.payload if isinstance(data, Chunk) else data).count(b"\n")
        if not self._missing:
            self.complete.set()

    async def drain(self) -> None:
        """Everything is taken at once."""

    def close(self) -> None:
        """Nothing to close."""

    abort = close

    def on_close(self, callback: Callable[[], None]) -> None:
        """It never closes."""


def pod(number: int) -> bytes:
    """A small Pod as kubectl sends it."""
    container = {
        "name": "web",
        "image": "registry.example.com/team/web:1.2",
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "env": [{"name": "MODE", "value": "production"}],
    }
    metadata = {"name": f"pod-{number:06}", "labels": {"app": f"app-{number % 50}", "tier": "web"}}
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})


def deployment() -> bytes:
    """A Deployment of the usual size."""
    spec = orjson.loads(pod(0))["spec"]
    container = spec["containers"][0] | {
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5},
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/web"}],
        "env": [{"name": f"NAME_{number}", "value": str(number)} for number in range(10)],
    }
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "volumes": [{"name": "settings", "configMap": {"name": "web"}}]},
    }
    return orjson.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }
    )


def resident_bytes() -> int:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Bench:
    """One server and the figures that were taken of it."""

    def __init__(self, pods: int) -> None:
        self._pods = pods
        self._server = ApiServer(MemoryStore(), ApiServerOptions(), SystemClock(), SystemRandomness())
        self.figures: dict[str, float] = {}

    async def ask(
        self, method: str, path: str, query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Response:
        """One request of the administrator, answered whole."""
        answer = self._server.handle(Request(method, path, query, headers or {}, body, ADMIN))
        response = answer if isinstance(answer, Response) else await answer
        assert response.status < 300, response.body
        for _ in response.segments or ():
            pass
        return response

    async def run(self) -> None:
        """Every measurement."""
        await self._server.start()
        account = b'{"metadata":{"name":"default"}}'
        await self.ask("POST", "/api/v1/namespaces/default/serviceaccounts", body=account, headers=JSON)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        await self._creates()
        await self._reads()
        await self._applies()
        await self._fan_out()
        await self._server.close()

    async def _creates(self) -> None:
        bodies = [pod(number) for number in range(self._pods)]
        before = resident_bytes()

        async def client(first: int) -> None:
            for number in range(first, self._pods, CLIENTS):
                await self.ask("POST", PODS, body=bodies[number], headers=JSON)

        await self._timed("create_cpu_us", self._pods, asyncio.gather(*(client(first) for first in range(CLIENTS))))
        self.figures["bytes_per_pod"] = (resident_bytes() - before) / self._pods

    async def _reads(self) -> None:
        async def gets() -> None:
            for number in range(self._pods):
                await self.ask("GET", f"{PODS}/pod-{number:06}")

        await self._timed("get_cpu_us", self._pods, gets())
        await self._timed("list_ms", 0.001, self.ask("GET", PODS))
        await self._timed("list_page_500_ms", 0.001, self.ask("GET", PODS, "limit=500"))
        await self._timed("list_page_500_table_ms", 0.001, self.ask("GET", PODS, "limit=500", headers=TABLE))
        await self._timed("list_by_label_ms", 0.001, self.ask("GET", PODS, "labelSelector=app%3Dapp-7"))

    async def _applies(self) -> None:
        """Server-side apply of a Deployment that is already so: what a GitOps controller asks all day."""
        headers = {"content-type": "application/apply-patch+yaml"}
        path, body = f"{DEPLOYMENTS}/web", deployment()
        await self.ask("PATCH", path, "fieldManager=bench&force=true", body, headers)

        async def again() -> None:
            for _ in range(1000):
                await self.ask("PATCH", path, "fieldManager=bench&force=true", body, headers)

        await self._timed("apply_unchanged_cpu_us", 1000, again())

    async def _fan_out(self) -> None:
        count = min(self._pods, 3000)
        sinks = [Counter(count) for _ in range(WATCHERS)]
        for sink in sinks:
            response = await self.ask("GET", PODS, f"watch=1&resourceVersion={self._server.engine.reader.revision}")
            assert response.stream is not None
            response.stream(sink)
        headers = {"content-type": "application/merge-patch+json"}

        async def client(first: int) -> None:
            for number in range(first, count, CLIENTS):
                change = b'{"status":{"phase":"Running"}}'
                await self.ask("PATCH", f"{PODS}/pod-{number:06}/status", body=change, headers=headers)

        await self._timed("status_patch_cpu_us", count, asyncio.gather(*(client(first) for first in range(CLIENTS))))
        async with asyncio.timeout(10):
            await asyncio.gather(*(sink.complete.wait() for sink in sinks))
        self.figures["watched_events_per_cpu_second"] = WATCHERS * 1e6 / self.figures["status_patch_cpu_us"]

    async def _timed(self, name: str, count: float, work: object) -> None:
        """Note CPU microseconds an operation."""
        started = time.process_time()
        await work  # type: ignore[misc]
        self.figures[name] = (time.process_time() - started) / count * (1 if name.endswith("_ms") else 1e6)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.pods)
    uvloop.run(bench.run())
    if options.json:
        print(json.dumps(bench.figures))
        return
    for name, value in bench.figures.items():
        print(f"{name:32} {value:12,.1f}")


if __name__ == "__main__":
    main()

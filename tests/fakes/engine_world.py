"""An API engine over a store in memory, on virtual time, asked in the process: no sockets, no authorization."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from carob.api.resources import Resource, ResourceTable
from carob.api.status import ApiError
from carob.api.user import UserInfo
from carob.apiserver import request_info
from carob.apiserver.admission.chain import AdmissionChain
from carob.apiserver.engine import Engine
from carob.apiserver.types import AdmissionPlugin
from carob.base.clock import VirtualClock
from carob.base.ids import SeededRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Chunk, Request, Response

ADMIN = UserInfo("admin", ("system:masters",))
TABLE_ACCEPT = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class FakeSink:
    """A peer that takes everything at once, or nothing (`stalled`)."""

    def __init__(self) -> None:
        self.pieces: list[bytes | Chunk] = []
        self.stalled = False
        self.closed = False
        self.aborted = False
        self._callbacks: list[Callable[[], None]] = []

    def write(self, data: bytes | Chunk) -> None:
        if not self.closed:
            self.pieces.append(data)

    @property
    def buffered(self) -> int:
        if not self.stalled:
            return 0
        return sum(len(p.payload if isinstance(p, Chunk) else p) for p in self.pieces)

    async def drain(self) -> None:
        if self.closed:
            raise ConnectionResetError("the peer has gone")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for callback in self._callbacks:
                callback()

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the peer has read so far."""
        text = b"".join(p.payload if isinstance(p, Chunk) else p for p in self.pieces)
        return [orjson.loads(line) for line in text.splitlines() if line]

    @property
    def seen(self) -> list[tuple[str, str]]:
        """Kind of event and name of the object, in order."""
        return [(e["type"], e["object"].get("metadata", {}).get("name", "")) for e in self.events]


class World:
    """One engine and the means to ask it."""

    def __init__(self, plugins: tuple[AdmissionPlugin, ...] = (), store: MemoryStore | None = None) -> None:
        self.table = ResourceTable()
        self.clock = VirtualClock()
        self.store = store or MemoryStore()
        self.engine = Engine(self.store, self.table, AdmissionChain(plugins), self.clock, SeededRandomness(1))

    def row(self, api_version: str, kind: str) -> Resource:
        found = self.table.by_kind(api_version, kind)
        assert found is not None
        return found

    async def respond(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The engine's answer. Raises: ApiError."""
        path, _, query = target.partition("?")
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("content-type", "application/json")
            body = orjson.dumps(body)
        info = request_info.parse(method, path, query, self.table)
        answer = self.engine.handle(info, Request(method, path, query, sent, body or b""), ADMIN)
        return answer if isinstance(answer, Response) else await answer

    async def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status code and decoded body; errors become their Status."""
        try:
            response = await self.respond(method, target, body, headers)
        except ApiError as error:
            return error.code, error.status()
        raw = response.body or b"".join(response.segments or ())
        if response.length:
            assert len(raw) == response.length
        return response.status, orjson.loads(raw) if response.content_type == "application/json" else raw.decode()

    async def made(self, target: str, body: Any) -> Any:
        """POST that must succeed; the new object."""
        status, answer = await self.ask("POST", target, body)
        assert status == 201, answer
        return answer

    async def patch(self, target: str, change: Any, kind: str = "merge-patch+json") -> tuple[int, Any]:
        return await self.ask("PATCH", target, change, {"content-type": f"application/{kind}"})

    async def watch(self, target: str, headers: Mapping[str, str] | None = None) -> FakeSink:
        """A watch that has begun. Raises: ApiError."""
        response = await self.respond("GET", target, None, headers)
        assert response.stream is not None
        sink = FakeSink()
        response.stream(sink)
        return sink

    async def settle(self) -> None:
        """Let everything run that was scheduled."""
        for _ in range(5):
            await asyncio.sleep(0)


def in_world(body: Callable[[World], Awaitable[None]], *plugins: AdmissionPlugin) -> None:
    """Run a test's body in a started world."""

    async def main() -> None:
        world = World(plugins)
        await world.engine.start()
        try:
            await body(world)
        finally:
            await world.engine.close()
            await world.store.close()

    asyncio.run(main())


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"k": "v"}}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "img"}], **spec},
    }


def deployment(name: str, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "img"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }


MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"

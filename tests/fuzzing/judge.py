"""Sends requests of a seed to a server, over whichever transport, and says what it should not have answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import orjson

from carob.transport.heads import split_target
from carob.transport.http import Request
from tests.fuzzing.requests import Requests, Wanted

if TYPE_CHECKING:
    from carob.transport.http import Transport
    from tests.fuzzing.values import Tree

HANG_SECONDS = 60.0
MAX_ANSWER_BYTES = 64 << 20
# nobody is there to whom the request could be passed on, or the wanted future has not come: not the server's fault
_HONEST = (
    b"no endpoints available",
    b"no preferred addresses found",
    b"Too large resource version",
    b"error trying to reach",
)
_JSON = {"content-type": "application/json"}
NAMESPACE = "fuzz"


class Judge:
    """One server under one stream of requests."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.faults: list[str] = []
        self.codes: Counter[int] = Counter()
        self.slowest = (0.0, "")
        """Seconds, and which request it was; watches, which end when they are to, do not count."""

    async def schemas(self) -> Tree:
        """The component schemas of every OpenAPI v3 document."""
        _, _, index = await self.ask(Wanted("GET", "/openapi/v3", {}, b""))
        found: Tree = {}
        for name in orjson.loads(index)["paths"]:
            _, _, body = await self.ask(Wanted("GET", f"/openapi/v3/{name}", {}, b""))
            found |= orjson.loads(body).get("components", {}).get("schemas", {})
        return found

    async def prepare(self) -> None:
        """A namespace in which Pods can be made."""
        await self.ask(Wanted("POST", "/api/v1/namespaces", _JSON, b'{"metadata":{"name":"fuzz"}}'))
        account = b'{"metadata":{"name":"default"}}'
        await self.ask(Wanted("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", _JSON, account))

    async def run(self, requests: Requests, count: int) -> None:
        """Send so many requests, one after the other."""
        for _ in range(count):
            await self.judge(requests)

    async def judge(self, requests: Requests) -> None:
        """Send the next request and judge the answer."""
        wanted = requests.next()
        began = time.monotonic()
        try:
            async with asyncio.timeout(HANG_SECONDS):
                status, media, body = await self.ask(wanted)
        except TimeoutError:
            self._blame(wanted, f"no answer in {HANG_SECONDS:.0f} s")
            return
        except ConnectionError as error:
            self._blame(wanted, f"no answer: {error}")
            return
        self.codes[status] += 1
        took = time.monotonic() - began
        if took > self.slowest[0] and "watch" not in wanted.target:
            self.slowest = (took, f"{wanted.method} {wanted.target} ({len(wanted.body)} bytes): {status}")
        # a HEAD has no words
        honest = any(words in body for words in _HONEST) or (status == 503 and wanted.method == "HEAD")
        if status >= 500 and not honest:
            self._blame(wanted, f"{status} after {took:.2f} s: {body[:500]!r}")
        packed = body.startswith(b"\x1f\x8b")
        if media == "application/json" and body and not packed and "watch" not in wanted.target:
            try:
                requests.learn(wanted, status, orjson.loads(body))
            except orjson.JSONDecodeError as error:
                self._blame(wanted, f"the answer is no JSON: {error}")

    async def ask(self, wanted: Wanted) -> tuple[int, str, bytes]:
        """Status, media type and body; a stream is read until its end."""
        path, query = split_target(wanted.target)
        request = Request(wanted.method, path, query, wanted.headers, wanted.body, raw_target=wanted.target)
        async with await self._transport.stream(request) as answer:
            pieces, size = [], 0
            while (piece := await answer.read()) and size < MAX_ANSWER_BYTES:
                pieces.append(piece)
                size += len(piece)
            return answer.status, answer.headers.get("content-type", "").partition(";")[0], b"".join(pieces)

    def _blame(self, wanted: Wanted, why: str) -> None:
        self.faults.append(f"{wanted.method} {wanted.target} {wanted.headers}\n  {wanted.body[:2000]!r}\n  {why}")

"""A cheap load generator: raw HTTP/1.1 over TLS, requests made beforehand, answers only counted.

It shares the machine's cores with the server, so every microsecond of its own is a microsecond less for what is
measured. Runs in a process of its own: `python -m bench.load` reads one JSON job from stdin and prints one JSON answer.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
import uvloop


class Client(asyncio.Protocol):
    """One kept-alive connection that sends the next request when the answer to the last one is complete."""

    def __init__(self, next_request: Callable[[], bytes | None], done: asyncio.Future[None]) -> None:
        self._next = next_request
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self.latencies: list[float] = []
        self.failures = 0
        self.bytes = 0
        self._started = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self.failures += 1
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.latencies.append(time.perf_counter() - self._started)
        if self._parser.get_status_code() >= 300:
            self.failures += 1
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def _send(self) -> None:
        request = self._next()
        if request is None:
            self._done.set_result(None)
            self._transport.close()
            return
        self._started = time.perf_counter()
        self._transport.write(request)


class Watcher(asyncio.Protocol):
    """A watch that counts events and notes when each one came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.events = 0
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.times: list[tuple[float, bytes]] = []
        self.keep_times = False
        self.last = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.started.done():
            self.started.set_result(None)
        found = data.count(b'{"type":"ADDED"')
        if found:
            self.events += found
            self.last = now
            if self.keep_times:
                self.times.append((now, data))


def _itself(client: Client) -> Client:
    return client


def context(job: dict[str, Any]) -> ssl.SSLContext:
    """TLS as the job's files say."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(job["ca"])
    tls.load_cert_chain(job["certificate"], job["key"])
    return tls


def request(method: str, path: str, body: bytes = b"", accept: str = "application/json") -> bytes:
    """The bytes of one request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\nUser-Agent: bench\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def pod(name: str) -> bytes:
    """A Pod of about 1.2 KB once defaulted, that no scheduler takes."""
    tree = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "tier": "web"}},
        "spec": {
            "schedulerName": "bench",
            "containers": [
                {
                    "name": "c",
                    "image": "carob.local/web:v1",
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"containerPort": 8080}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }
            ],
        },
    }
    return json.dumps(tree).encode()


async def run_requests(job: dict[str, Any]) -> dict[str, Any]:
    """`clients` connections share `count` requests: creates from number `first`, or GETs of what was created."""
    loop = asyncio.get_running_loop()
    namespace, verb, count, first = job["namespace"], job["verb"], job["count"], job.get("first", 0)
    base = f"/api/v1/namespaces/{namespace}/pods"
    numbers = iter(range(first, first + count))
    known = job.get("known", 1)
    gets = [request("GET", f"{base}/pod-{n:06d}") for n in range(min(known, 1000))]

    def next_request() -> bytes | None:
        n = next(numbers, None)
        if n is None:
            return None
        if verb == "create":
            return request("POST", base, pod(f"pod-{n:06d}"))
        if verb == "get":
            return gets[n % len(gets)]
        return request("GET", base)

    tls = context(job)
    done = [loop.create_future() for _ in range(job["clients"])]
    started = time.perf_counter()
    clients = [Client(next_request, future) for future in done]
    for client in clients:
        await loop.create_connection(partial(_itself, client), job["host"], job["port"], ssl=tls)
    await asyncio.gather(*done)
    seconds = time.perf_counter() - started
    latencies = sorted(x for c in clients for x in c.latencies)
    return {
        "per_second": count / seconds,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
        "failures": sum(c.failures for c in clients),
        "bytes": sum(c.bytes for c in clients),
    }


async def run_watch(job: dict[str, Any]) -> dict[str, Any]:
    """`watchers` watches; `count` creates by one client: events a second over all, and create-to-event latency."""
    loop = asyncio.get_running_loop()
    tls = context(job)
    base = f"/api/v1/namespaces/{job['namespace']}/pods"
    watch = request("GET", f"{base}?watch=true&resourceVersion=0&labelSelector=app%3Dbench")
    watchers = []
    for _ in range(job["watchers"]):
        _, watcher = await loop.create_connection(lambda: Watcher(watch), job["host"], job["port"], ssl=tls)
        watchers.append(watcher)
    await asyncio.gather(*(w.started for w in watchers))
    await asyncio.sleep(0.5)
    before = sum(w.events for w in watchers)
    watchers[0].keep_times = True
    sent: dict[bytes, float] = {}
    numbers = iter(range(job["first"], job["first"] + job["count"]))

    def next_request() -> bytes | None:
        n = next(numbers, None)
        if n is None:
            return None
        name = f"pod-{n:06d}"
        sent[name.encode()] = time.perf_counter()
        return request("POST", base, pod(name))

    done = [loop.create_future() for _ in range(job["clients"])]
    started = time.perf_counter()
    for future in done:
        client = Client(next_request, future)
        await loop.create_connection(partial(_itself, client), job["host"], job["port"], ssl=tls)
    await asyncio.gather(*done)
    wanted = before + job["count"] * job["watchers"]
    for _ in range(4000):
        if sum(w.events for w in watchers) >= wanted:
            break
        await asyncio.sleep(0.005)
    seconds = max(w.last for w in watchers) - started
    latencies = []
    for at, data in watchers[0].times:
        for piece in data.split(b'"name":"pod-')[1:]:
            begun = sent.get(b"pod-" + piece[:6])
            if begun is not None:
                latencies.append(at - begun)
    latencies.sort()
    got = sum(w.events for w in watchers) - before
    return {
        "per_second": got / seconds,
        "complete": got == job["count"] * job["watchers"],
        "latency_p50_ms": 1000 * latencies[len(latencies) // 2] if latencies else None,
        "latency_p99_ms": 1000 * latencies[int(len(latencies) * 0.99)] if latencies else None,
    }


def main() -> None:
    """One job in, one answer out."""
    job = json.load(sys.stdin)
    run = run_watch if job["verb"] == "watch" else run_requests
    print(json.dumps(uvloop.run(run(job))))


if __name__ == "__main__":
    main()

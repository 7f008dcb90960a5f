"""Logs, exec and proxies go through the API server to a kubelet over TLS; the kubelet here is a handler of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from msgspec.structs import replace

from carob.api import cbor, protobuf
from carob.api.user import UserInfo
from carob.apiserver.nodes.page_links import MAX_PAGE_BYTES
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_node_pki, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.runtime.embedded.port_forward import StreamDuplex
from carob.store.memory import MemoryStore
from carob.transport.http import Connection, Request, Response, Sink
from carob.transport.memory import MemoryTransport
from carob.transport.server import Server
from carob.transport.streams import serve_port_forward
from carob.transport.tls import server_context
from carob.wire.websocket import Piece, WebSocket

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
PODS = "/api/v1/namespaces/default/pods"


class Kubelet:
    """Answers as a kubelet would, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.left = asyncio.Event()
        self.summary: Callable[[int], Any] = lambda times: "no summary"
        self.pages: dict[str, Response] = {}

    def handle(self, request: Request) -> Response:
        self.asked.append(request)
        if request.path.startswith("/containerLogs/"):
            return self._log(request)
        if request.path.startswith("/exec/"):
            return Response(101, headers=[("upgrade", "SPDY/3.1")], content_type="", upgrade=self._echo)
        if request.path.startswith("/portForward/"):
            return serve_port_forward(request, self._dial, target="the pod")
        if request.path == "/stats/summary" and request.query == "only_cpu_and_memory=true":
            return Response(body=orjson.dumps(self.summary(self.asked.count(request))))
        if request.path in self.pages:
            return self.pages[request.path]
        if request.path.startswith("/attach/"):
            return Response(403, b"not you", "text/plain")
        return Response(
            body=f"{request.method} {request.raw_target or request.path}".encode(), content_type="text/plain"
        )

    async def _dial(self, port: int) -> StreamDuplex:
        return StreamDuplex(*await asyncio.open_connection("127.0.0.1", port))

    def _log(self, request: Request) -> Response:
        if "waiting" in request.path:
            text = b'container "c" in pod "waiting" is waiting to start: ContainerCreating'
            return Response(400, text, "text/plain")
        if "follow" not in request.query:
            return Response(body=b"one\ntwo\n", content_type="text/plain")

        def stream(sink: Sink) -> None:
            sink.on_close(self.left.set)
            sink.write(b"first\n")

        return Response(content_type="text/plain", stream=stream)

    async def _echo(self, connection: Connection) -> None:
        while data := await connection.read():
            connection.write(data.upper())
            await connection.drain()
        connection.close()


InWorld: TypeAlias = Callable[..., None]


class World:
    """An API server, a node whose kubelet is `kubelet`, and a Pod on it."""

    def __init__(self, api: ApiServer, kubelet: Kubelet) -> None:
        self.api = api
        self.kubelet = kubelet
        self.transport = MemoryTransport(api.handle, ADMIN)

    async def create(self, path: str, tree: dict[str, Any]) -> None:
        answer = await self.transport.send(Request("POST", path, body=orjson.dumps(tree)))
        assert answer.status == 201, answer.body

    async def pod(self, name: str = "p", node: str = "node-0") -> None:
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}
        await self.create(PODS, {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec})

    async def get(self, target: str, method: str = "GET") -> Response:
        path, _, query = target.partition("?")
        return await self.transport.send(Request(method, path, query, raw_target=target))

    async def message(self, target: str) -> tuple[int, str]:
        answer = await self.get(target)
        return answer.status, orjson.loads(answer.body)["message"]


async def _node(world: World, port: int) -> None:
    tree: dict[str, Any] = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-0"}}
    await world.create("/api/v1/nodes", tree)
    status = {
        "addresses": [{"type": "Hostname", "address": "nowhere"}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    headers = {"content-type": "application/merge-patch+json"}
    body = orjson.dumps({"status": status})
    answer = await world.transport.send(Request("PATCH", "/api/v1/nodes/node-0/status", "", headers, body))
    assert answer.status == 200, answer.body
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
    await world.create("/api/v1/namespaces/default/serviceaccounts", account)


@pytest.fixture
def in_world(tmp_path: Path) -> InWorld:
    clock = SystemClock()
    pki = ensure_pki(tmp_path, PkiOptions(), clock.now())
    _, serving = ensure_node_pki(pki, "node-0", ("127.0.0.1",), clock.now())
    certificate, key = pki.kubelet_client.pem()
    options = ApiServerOptions(
        kubelet_client_certificate_pem=certificate,
        kubelet_client_key_pem=key,
        kubelet_ca_pem=pki.ca.certificate.read_bytes(),
    )

    def run(body: Callable[[World], Awaitable[None]], **changes: Any) -> None:
        async def main() -> None:
            api = ApiServer(MemoryStore(), replace(options, **changes), clock, SystemRandomness())
            kubelet = Kubelet()
            tls = server_context(str(serving.certificate), str(serving.key), client_ca_file=str(pki.ca.certificate))
            await api.start()
            try:
                async with Server(kubelet.handle, clock, tls=tls) as server:
                    world = World(api, kubelet)
                    await _node(world, await server.listen("127.0.0.1", 0))
                    await body(world)
                    await world.transport.close()
            finally:
                await api.close()

        asyncio.run(main())

    return run


def test_a_log_is_passed_on_and_the_kubelet_sees_our_certificate(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.pod()
        answer = await world.get(f"{PODS}/p/log?tailLines=2&timestamps=true")
        assert (answer.status, answer.body) == (200, b"one\ntwo\n")
        (asked,) = world.kubelet.asked
        assert asked.path == "/containerLogs/default/p/c"
        assert asked.query == "timestamps=true&tailLines=2"
        assert asked.peer_certificate is not None

    in_world(body)


def test_a_kubelets_refusal_becomes_a_status(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.pod("waiting")
        status, message = await world.message(f"{PODS}/waiting/log")
        assert (status, message) == (
            400,
            'container "c" in pod "waiting" is waiting to start: ContainerCreating',
        )

    in_world(body)


def test_a_followed_log_ends_at_the_kubelet_when_the_reader_leaves(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.pod()
        request = Request("GET", f"{PODS}/p/log", "follow=true")
        async with await world.transport.stream(request) as stream:
            assert await stream.read() == b"first\n"
        async with asyncio.timeout(30):
            await world.kubelet.left.wait()

    in_world(body)


async def _messages(world: World, target: str, count: int, accept: str = "*/*") -> list[bytes]:
    """The first messages of what is asked for over a WebSocket."""
    path, _, query = target.partition("?")
    headers = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "accept": accept,
    }
    response, connection = await world.transport.upgrade(Request("GET", path, query, headers))
    assert response.status == 101
    assert connection is not None
    socket = WebSocket(lambda: b"mask")
    found: list[bytes] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            events = socket.receive(await connection.read())
            found += [event.data for event in events if isinstance(event, Piece)]
    connection.close()
    return found


def test_logs_and_watches_are_told_over_websockets_too(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.pod()
        assert await _messages(world, f"{PODS}/p/log", 2) == [b"", b"one\ntwo\n"]
        assert await _messages(world, f"{PODS}/p/log?follow=true", 2) == [b"", b"first\n"]
        async with asyncio.timeout(30):
            await world.kubelet.left.wait()
        await world.pod("q")
        events = [orjson.loads(line) for line in await _messages(world, f"{PODS}?watch=true", 2)]
        assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
            ("ADDED", "p"),
            ("ADDED", "q"),
        ]

    in_world(body)


@pytest.mark.parametrize("media", ["application/vnd.kubernetes.protobuf", "application/cbor"])
def test_watches_over_websockets_are_in_the_encoding_that_is_asked_for(in_world: InWorld, media: str) -> None:
    """A message an event, without the length that frames it in a stream of bytes."""

    async def body(world: World) -> None:
        for name in ("p", "q"):
            await world.pod(name)
        told = await _messages(world, f"{PODS}?watch=true&resourceVersion=0", 2, media)
        if media == "application/cbor":
            events = [cbor.decode(message) for message in told]
            assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "p"), ("ADDED", "q")]
            return
        for message, name in zip(told, ("p", "q"), strict=True):
            begin, _, rest = message.partition(b"k8s\x00")
            assert begin.startswith(b"\n\x05ADDED\x12")
            assert protobuf.envelope(b"k8s\x00" + rest).kind == "Pod"
            assert b"\n\x01" + name.encode() in rest

    in_world(body)


def test_an_upgraded_connection_is_copied_both_ways(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.pod()
        headers = {"upgrade": "SPDY/3.1", "connection": "Upgrade", "x-stream-protocol-version": "v4.channel.k8s.io"}
        query = "command=ls&command=-l&stdin=true&stdout=true&tty=false"
        request = Request("POST", f"{PODS}/p/exec", query, headers | {"authorization": "Bearer secret"})
        response, connection = await world.transport.upgrade(request)
        assert response.status == 101
        assert connection is not None
        connection.write(b"hello")
        assert await connection.read() == b"HELLO"
        connection.close()
        (asked,) = world.kubelet.asked
        assert asked.path == "/exec/default/p/c"
        assert asked.query == "input=1&output=1&command=ls&command=-l"
        assert asked.headers["x-stream-protocol-version"] == "v4.channel.k8s.io"
        assert "authorization" not in asked.headers

    in_world(body)


def test_upgrades_that_are_refused(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.pod()
        assert await world.message(f"{PODS}/p/exec?command=ls") == (400, "Upgrade request required")
        request = Request("GET", f"{PODS}/p/attach", "", {"upgrade": "websocket", "connection": "Upgrade"})
        response, connection = await world.transport.upgrade(request)
        assert connection is None
        assert (response.status, response.body) == (403, b"not you"), "as the kubelet says it"

    in_world(body)


def test_a_node_that_does_not_answer_or_is_not_there(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.pod("lost", node="gone")
        assert await world.message(f"{PODS}/lost/log") == (404, 'nodes "gone" not found')

    in_world(body)


@pytest.mark.parametrize("name", ["node-0", "node-0:%d", "https:node-0:"])
def test_a_nodes_web_pages(in_world: InWorld, name: str) -> None:
    async def body(world: World) -> None:
        node = orjson.loads((await world.get("/api/v1/nodes/node-0")).body)
        port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        named = name.replace("%d", str(port))
        answer = await world.get(f"/api/v1/nodes/{named}/proxy/stats/summary?a=b%20c")
        assert (answer.status, answer.body) == (200, b"GET /stats/summary?a=b%20c")

    in_world(body)


PAGE = b"""<html><body background=/sky.png><a href='/next?a=1&amp;b=2'>x</a> <a href="near">y</a></body></html>"""


def test_a_page_leads_through_the_proxy_again(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        way = "/api/v1/nodes/node-0/proxy"
        page = Response(body=PAGE, content_type="text/html; charset=utf-8")
        page.headers = [("access-control-allow-origin", "*"), ("x-kept", "yes")]
        moved = Response(302, content_type="", headers=[("location", "/elsewhere/")])
        world.kubelet.pages = {"/page": page, "/moved": moved}
        answer = await world.get(f"{way}/page")
        assert answer.body.decode() == (
            f"""<html><body background="{way}/sky.png"><a href='{way}/next?a=1&amp;b=2'>x</a>"""
            """ <a href="near">y</a></body></html>"""
        )
        assert answer.content_type == "text/html; charset=utf-8"
        assert ("x-kept", "yes") in answer.headers
        assert "access-control-allow-origin" not in dict(answer.headers)
        answer = await world.get(f"{way}/moved")
        assert (answer.status, dict(answer.headers)["location"]) == (302, f"{way}/elsewhere/")
        # links are relative to a path that ends in a slash
        for method in ("GET", "HEAD"):
            answer = await world.get(f"{way}?a=b", method)
            assert (answer.status, dict(answer.headers)["location"]) == (301, f"{way}/?a=b")
        answer = await world.get(way, "POST")
        assert answer.body == b"POST /"
        seen = world.kubelet.asked[-1].headers
        assert seen["x-forwarded-uri"] == f"{way}/"

    in_world(body)


def test_a_page_that_is_long_passes_as_it_is(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        long = PAGE + b" " * MAX_PAGE_BYTES
        world.kubelet.pages = {"/page": Response(body=long, content_type="text/html")}
        assert (await world.get("/api/v1/nodes/node-0/proxy/page")).body == long

    in_world(body)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.1.1", "0.0.0.0", "::1"])
def test_nobody_is_led_to_the_server_itself(in_world: InWorld, address: str) -> None:
    async def body(world: World) -> None:
        await world.pod("web")
        status = orjson.dumps({"status": {"podIP": address, "podIPs": [{"ip": address}]}})
        headers = {"content-type": "application/merge-patch+json"}
        await world.transport.send(Request("PATCH", f"{PODS}/web/status", "", headers, status))
        assert await world.message(f"{PODS}/web:8080/proxy/index.html") == (400, "address not allowed")
        addresses = orjson.dumps({"status": {"addresses": [{"type": "InternalIP", "address": address}]}})
        await world.transport.send(Request("PATCH", "/api/v1/nodes/node-0/status", "", headers, addresses))
        # the kubelet proves who it is, wherever it listens; other ports do not
        assert await world.message("/api/v1/nodes/node-0:8080/proxy/") == (400, "address not allowed")

    in_world(body)


@pytest.mark.parametrize(
    ("port", "code", "words"),
    [
        ("99999999", 503, "error trying to reach service: dial tcp: address 99999999: invalid port"),
        ("9" * 5000, 503, f"error trying to reach service: dial tcp: address {'9' * 5000}: invalid port"),
        ("\u00b2", 400, 'invalid port "\u00b2"'),
    ],
)
def test_what_is_no_port(in_world: InWorld, port: str, code: int, words: str) -> None:
    async def body(world: World) -> None:
        await world.pod("web")
        status = orjson.dumps({"status": {"podIP": "10.1.1.1", "podIPs": [{"ip": "10.1.1.1"}]}})
        headers = {"content-type": "application/merge-patch+json"}
        await world.transport.send(Request("PATCH", f"{PODS}/web/status", "", headers, status))
        assert await world.message(f"{PODS}/web:{port}/proxy/") == (code, words)

    in_world(body)


METRICS = "/apis/metrics.k8s.io/v1beta1"


def _measured(began: str, times: int, **fields: Any) -> dict[str, Any]:
    """Every time that somebody asks, ten seconds have passed and two and a half of them were work."""
    cpu = {"time": f"2026-01-01T00:00:{times}0.000000Z", "usageCoreNanoSeconds": times * 2_500_000_000}
    return {"cpu": cpu, "memory": {"workingSetBytes": 4096 << 10}, "startTime": began, **fields}


def test_metrics_of_nodes_and_pods(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        for name in ("busy", "lost"):
            await world.pod(name, node="node-0" if name == "busy" else "gone")
            running = {"phase": "Running", "containerStatuses": [{"name": "c", "state": {"running": {}}}]}
            headers = {"content-type": "application/merge-patch+json"}
            patch = orjson.dumps({"metadata": {"labels": {"app": name}}, "status": running})
            assert (await world.transport.send(Request("PATCH", f"{PODS}/{name}", "", headers, patch))).status == 200
            assert (
                await world.transport.send(Request("PATCH", f"{PODS}/{name}/status", "", headers, patch))
            ).status == 200
        began = "2026-01-01T00:00:00Z"
        who = {"namespace": "default", "name": "busy", "uid": "u"}
        world.kubelet.summary = lambda times: {
            "node": _measured(began, times),
            "pods": [{"podRef": who, "containers": [_measured(began, times, name="c")]}],
        }
        pods = orjson.loads((await world.get(f"{METRICS}/namespaces/default/pods?labelSelector=app%3Dbusy")).body)
        assert (pods["kind"], pods["apiVersion"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1")
        (item,) = pods["items"]
        assert item["metadata"]["labels"] == {"app": "busy"}
        assert (item["timestamp"], item["window"]) == ("2026-01-01T00:00:20Z", "10s")
        assert item["containers"] == [{"name": "c", "usage": {"cpu": "250000000n", "memory": "4096Ki"}}]
        (asked, *_) = world.kubelet.asked
        assert asked.query == "only_cpu_and_memory=true"
        (node,) = orjson.loads((await world.get(f"{METRICS}/nodes")).body)["items"]
        assert (node["metadata"]["name"], node["usage"]["cpu"]) == ("node-0", "250000000n")
        one = orjson.loads((await world.get(f"{METRICS}/namespaces/default/pods/busy")).body)
        assert (one["kind"], one["containers"]) == ("PodMetrics", item["containers"])
        assert await world.message(f"{METRICS}/namespaces/default/pods/lost") == (
            404,
            'pods.metrics.k8s.io "default/lost" not found',
        )
        assert await world.message(f"{METRICS}/nodes/none") == (404, 'nodes.metrics.k8s.io "none" not found')
        assert (await world.message(f"{METRICS}/pods?labelSelector=%3D"))[0] == 400
        assert (await world.get(f"{METRICS}/nodes", "DELETE")).status == 405
        groups = orjson.loads((await world.get("/apis")).body)["groups"]
        assert groups[-1]["name"] == "metrics.k8s.io"
        service = await world.get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io")
        assert orjson.loads(service.body)["status"]["conditions"][0]["status"] == "True"

    in_world(body)


def test_a_server_without_routes_reaches_pods_and_services_through_their_nodes(in_world: InWorld) -> None:
    """The Pod's address leads nowhere here; its port is open where the kubelet is."""

    async def body(world: World) -> None:
        async with Server(lambda request: Response(body=request.path.encode()), SystemClock()) as page:
            port = await page.listen("127.0.0.1", 0)
            await world.pod()
            headers = {"content-type": "application/merge-patch+json"}
            patch = orjson.dumps({"status": {"podIP": "192.0.2.77"}})
            await world.transport.send(Request("PATCH", f"{PODS}/p/status", "", headers, patch))
            for _ in range(3):
                answer = await world.get(f"{PODS}/p:{port}/proxy/a/page")
                assert (answer.status, answer.body) == (200, b"/a/page")
            ports = [{"name": "web", "port": 80, "targetPort": port}]
            service = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "s"}, "spec": {"ports": ports}}
            await world.create("/api/v1/namespaces/default/services", service)
            endpoint = {"addresses": ["192.0.2.77"], "targetRef": {"kind": "Pod", "namespace": "default", "name": "p"}}
            slice_ = {
                "kind": "EndpointSlice",
                "apiVersion": "discovery.k8s.io/v1",
                "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
                "addressType": "IPv4",
                "ports": [{"name": "web", "port": port, "protocol": "TCP"}],
                "endpoints": [endpoint],
            }
            await world.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_)
            answer = await world.get("/api/v1/namespaces/default/services/s:web/proxy/b")
            assert (answer.status, answer.body) == (200, b"/b")
        code, words = await world.message(f"{PODS}/p:{port}/proxy/gone")
        assert code == 503
        assert words.startswith("error trying to reach service: ")

    in_world(body, pods_through_nodes=True)

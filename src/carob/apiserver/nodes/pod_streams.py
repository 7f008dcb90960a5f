"""`pods/log`, `exec`, `attach` and `portforward`: found in the Pod, passed on to the kubelet of its node.

The bytes of upgraded connections are copied both ways and not understood: the kubelet speaks SPDY and WebSocket itself.

Source: kubernetes `pkg/registry/core/pod/rest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from carob.api.status import ApiError, bad_request, internal, not_found
from carob.apiserver.authn.service_accounts import PODS
from carob.apiserver.nodes import containers
from carob.transport.http import Request, Response
from carob.transport.proxies import pass_on_headers, proxy_upgrade

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from carob.api.user import UserInfo
    from carob.apiserver.nodes.connections import NodeConnections
    from carob.apiserver.types import Reader, RequestInfo
    from carob.transport.http import ResponseStream, Sink

# what is read of a kubelet's refusal
MAX_REFUSAL_BYTES = 64 << 10


class PodStreams:
    """Answers the four subresources."""

    def __init__(
        self,
        reader: Reader,
        connections: NodeConnections,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self._reader = reader
        self._connections = connections
        self._spawn = spawn

    def _pod(self, info: RequestInfo) -> Any:
        pod = self._reader.get(PODS, info.namespace, info.name)
        if pod is None:
            raise not_found(PODS, info.name)
        return pod

    async def log(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """GET …/log."""
        query = containers.log_query(info.query)
        pod = self._pod(info)
        container = containers.container_of(pod, info.first("container"))
        if not pod.spec.node_name:
            # nobody has written anything yet
            return Response(content_type="text/plain")
        transport = self._connections.to(pod.spec.node_name)
        path = f"/containerLogs/{info.namespace}/{info.name}/{container}"
        wanted = Request("GET", path, query, raw_target=_target(path, query))
        try:
            stream = await transport.stream(wanted)
        except ConnectionError as error:
            raise _unreachable(path, error) from error
        if stream.status != 200:
            raise await _refusal(stream, info)
        answer = Response(content_type="text/plain", stream=self._pump(stream, path))
        if request.wants_websocket:
            from carob.transport.websocket_sink import told_in_pieces

            told = told_in_pieces(request, answer)
            if told.status != 101:
                await stream.__aexit__(None, None, None)
            return told
        return answer

    def _pump(self, stream: ResponseStream, path: str) -> Callable[[Sink], None]:
        async def run(sink: Sink) -> None:
            try:
                async with stream:
                    while data := await stream.read():
                        sink.write(data)
                        await sink.drain()
                sink.close()
            except ConnectionError:
                sink.abort()

        def begin(sink: Sink) -> None:
            task = self._spawn(run(sink), f"log {path}")
            sink.on_close(lambda: _cancel(task))

        return begin

    async def exec(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """GET or POST …/exec, upgraded."""
        return await self._upgrade(info, request, "exec", containers.stream_query(info.query, command=True))

    async def attach(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """GET or POST …/attach, upgraded."""
        return await self._upgrade(info, request, "attach", containers.stream_query(info.query, command=False))

    async def port_forward(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """GET or POST …/portforward, upgraded."""
        return await self._upgrade(info, request, "portForward", containers.port_query(info.query))

    async def _upgrade(self, info: RequestInfo, request: Request, verb: str, query: str) -> Response:
        pod = self._pod(info)
        path = f"/{verb}/{info.namespace}/{info.name}"
        if verb != "portForward":
            path += "/" + containers.container_of(pod, info.first("container"))
        if not pod.spec.node_name:
            raise bad_request(f"pod {info.name} does not have a host assigned")
        if "upgrade" not in request.headers:
            raise bad_request("Upgrade request required")
        transport = self._connections.to(pod.spec.node_name)
        headers = pass_on_headers(request.headers) | {"upgrade": request.headers["upgrade"]}
        wanted = Request(request.method, path, query, headers, raw_target=_target(path, query))
        try:
            # a refusal is passed on as it stands
            return await proxy_upgrade(wanted, transport)
        except ConnectionError as error:
            raise _unreachable(path, error) from error


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _target(path: str, query: str) -> str:
    return quote(path) + (f"?{query}" if query else "")


def _unreachable(path: str, error: ConnectionError) -> ApiError:
    return internal(f"error dialing backend for {path}: {error}")


async def _refusal(stream: ResponseStream, info: RequestInfo) -> ApiError:
    text = b""
    try:
        async with stream:
            while len(text) < MAX_REFUSAL_BYTES and (data := await stream.read()):
                text += data
    except ConnectionError:
        text += b" (cut)"
    return _refused(stream.status, text, info)


def _refused(status: int, body: bytes, info: RequestInfo) -> ApiError:
    """A kubelet's refusal in the API's words. Source: `registry/generic/rest/response_checker.go`."""
    text = body.decode("utf-8", "replace").strip()
    if status == 400:
        return bad_request(text)
    if status == 404:
        what = f"pods/{info.subresource} {info.name}"
        details = {
            "name": info.name,
            "kind": f"pods/{info.subresource}",
            "causes": [{"reason": "UnexpectedServerResponse", "message": text}],
        }
        message = f"the server could not find the requested resource ( {what})"
        return ApiError(404, "NotFound", message, details)
    if status == 403:
        return ApiError(403, "Forbidden", text)
    if status == 500 or status < 400:
        return internal(text)
    return ApiError(status, "", text)

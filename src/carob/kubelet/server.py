"""The kubelet's own HTTP server: logs, exec, attach, port-forward, Pods, statistics, metrics, health.

One `Handler`. Who may use it `callers` says: by the client certificate that the transport has verified, by a token, or as
the user that an in-memory road brings.
Source: kubelet `server/server.go`; paths and words are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import orjson

from carob.api import codec
from carob.api.types import core_v1, meta_v1
from carob.base.log import get_logger
from carob.kubelet.configz import configz
from carob.kubelet.log_requests import LogRequests
from carob.kubelet.metrics import Metrics
from carob.kubelet.stream_requests import StreamRequests
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from carob.kubelet.callers import Callers
    from carob.kubelet.node_manager import NodeManager
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.status_manager import StatusManager
    from carob.kubelet.tools import Tools
    from carob.transport.http import Request

_log = get_logger("kubelet.server")


class KubeletServer:
    """`handle` answers one request."""

    def __init__(
        self,
        tools: Tools,
        records: Mapping[str, PodRecord],
        statuses: StatusManager,
        node: NodeManager,
        callers: Callers,
    ) -> None:
        self._tools = tools
        self._records = records
        self._statuses = statuses
        self._callers = callers
        self._metrics = Metrics(tools, records, node.machine)
        self._logs = LogRequests(tools, records, statuses)
        self._streams = StreamRequests(tools, records)

    def container_ended(self, container_id: str) -> None:
        """Followers of its log need wait no longer."""
        self._logs.container_ended(container_id)

    def close(self) -> None:
        """End what still streams."""
        self._logs.close()

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """The answer to one request of the API server."""
        parts = [unquote(part) for part in request.path.split("/") if part]
        head = parts[0] if parts else ""
        refused = self._callers.refuse(request, head)
        if refused is None:
            return self._allowed(request, head, parts)
        return refused if isinstance(refused, Response) else self._then(refused, request, head, parts)

    async def _then(
        self, refusal: Awaitable[Response | None], request: Request, head: str, parts: list[str]
    ) -> Response:
        refused = await refusal
        if refused is not None:
            return refused
        answer = self._allowed(request, head, parts)
        return answer if isinstance(answer, Response) else await answer

    def _allowed(self, request: Request, head: str, parts: list[str]) -> Response | Awaitable[Response]:
        query = parse_qs(request.query, keep_blank_values=True)
        if head == "healthz":
            return text_response(200, "ok")
        if head == "containerLogs" and len(parts) == 4:
            return self._logs.handle(parts[1], parts[2], parts[3], query)
        if head in ("exec", "attach", "portForward"):
            return self._streams.handle(request, head, parts[1:], query)
        if head == "localVolumes" and len(parts) == 2 and request.method in ("PUT", "DELETE"):
            return self._local_volume(request.method, parts[1])
        return self._about_node(parts, query)

    async def _local_volume(self, method: str, name: str) -> Response:
        """Make or remove the folder of a PersistentVolume: what the built-in provisioner asks for."""
        try:
            if method == "DELETE":
                await self._tools.volumes.remove_folder(name)
                return Response(200, b"{}\n")
            return Response(200, orjson.dumps({"path": await self._tools.volumes.make_folder(name)}) + b"\n")
        except ValueError as error:
            return text_response(400, f"{error}\n")
        except OSError as error:
            return text_response(500, f"{error}\n")

    def _about_node(self, parts: list[str], query: Mapping[str, list[str]]) -> Response | Awaitable[Response]:
        path = "/".join(parts)
        if path == "pods":
            return self._pods()
        if path == "runningpods":
            return self._running_pods()
        if path == "configz":
            return Response(200, orjson.dumps(configz(self._tools.options)) + b"\n")
        if path == "stats/summary":
            return self._metrics.summary(query)
        if path in self._metrics.pages:
            return self._metrics.page(path)
        return text_response(404, "404 page not found\n")

    def _pods(self) -> Response:
        pods = [record.pod for record in self._records.values() if not record.removed and record.pod.metadata.name]
        return Response(200, codec.encode(core_v1.PodList(items=pods)) + b"\n")

    def _running_pods(self) -> Response:
        """What the runtime knows: names and images of containers that run. Source: kubelet `getRunningPods`."""
        items = []
        for record in self._records.values():
            running = [core_v1.Container(name=status.name, image=status.image) for status in record.running()]
            if running:
                of = record.pod.metadata
                metadata = meta_v1.ObjectMeta(name=of.name, namespace=of.namespace, uid=of.uid)
                items.append(core_v1.Pod(metadata=metadata, spec=core_v1.PodSpec(containers=running)))
        return Response(200, codec.encode(core_v1.PodList(items=items)) + b"\n")


def text_response(status: int, text: str) -> Response:
    """Plain words."""
    return Response(status, text.encode(), content_type="text/plain; charset=utf-8")

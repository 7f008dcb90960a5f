"""`/exec`, `/attach` and `/portForward`: which process or port is meant, and the streams to it.

The protocols themselves (SPDY/3.1, WebSocket) are spoken by `carob.transport.streams`.
Source: kubelet `server/server.go` (getExec, getAttach, getPortForward), `cri/streaming/remotecommand`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet.log_requests import find_record
from carob.runtime.types import ContainerState
from carob.transport.http import Response
from carob.transport.streams import refuse_remote_command, serve_port_forward, serve_remote_command
from carob.wire.remotecommand import Streams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools
    from carob.runtime.types import Duplex, Process
    from carob.transport.http import Request


class StreamRequests:
    """Answers upgrade requests."""

    def __init__(self, tools: Tools, records: Mapping[str, PodRecord]) -> None:
        self._tools = tools
        self._records = records

    def handle(
        self, request: Request, verb: str, parts: list[str], query: Mapping[str, list[str]]
    ) -> Response | Awaitable[Response]:
        """The upgrade, or why not.

        Shape: `parts` are namespace, Pod, an optional uid and (but for portForward) the container.
        """
        names = 2 if verb == "portForward" else 3
        if len(parts) not in (names, names + 1):
            return _error(404, "404 page not found")
        uid = parts[2] if len(parts) > names else ""
        record = find_record(self._records, parts[0], parts[1], uid)
        if record is None:
            return _error(404, "pod does not exist")
        if verb == "portForward":
            return self._port_forward(request, record)
        container_id = _running_container(record, parts[-1])
        streams = _streams(query)
        if not container_id:
            return refuse_remote_command(request, streams, f'container not found ("{parts[-1]}")')
        return self._remote_command(request, container_id, streams, query.get("command", []), attach=verb == "attach")

    def _remote_command(
        self, request: Request, container_id: str, streams: Streams, command: list[str], *, attach: bool
    ) -> Response:
        runtime = self._tools.runtime

        async def start() -> Process:
            if attach:
                return await runtime.attach(container_id)
            return await runtime.exec(container_id, command, stdin=streams.stdin, tty=streams.tty)

        return serve_remote_command(request, streams, start, attach=attach)

    def _port_forward(self, request: Request, record: PodRecord) -> Response:
        sandbox = record.ready_sandbox
        if sandbox is None:
            return _error(500, "pod is not running")
        runtime, sandbox_id = self._tools.runtime, sandbox.id

        async def dial(port: int) -> Duplex:
            return await runtime.port_forward(sandbox_id, port)

        return serve_port_forward(request, dial, target=f"pod {sandbox_id}, uid {record.uid}")


def _running_container(record: PodRecord, name: str) -> str:
    latest = record.latest(name)
    return latest.id if latest is not None and latest.state is ContainerState.RUNNING else ""


def _streams(query: Mapping[str, list[str]]) -> Streams:
    tty = _flag(query, "tty")
    return Streams(
        stdin=_flag(query, "input"),
        stdout=_flag(query, "output"),
        # a terminal has one output only
        stderr=_flag(query, "error") and not tty,
        tty=tty,
    )


def _flag(query: Mapping[str, list[str]], name: str) -> bool:
    return query.get(name, ["0"])[0].lower() in ("1", "true")


def _error(status: int, text: str) -> Response:
    return Response(status, text.encode(), content_type="text/plain; charset=utf-8")

"""One try of one probe: ask the container, say whether it is well. Touches the runtime and the network.

Source: kubelet `prober/prober.go`, `pkg/probe`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.kubelet.backoff import go_duration
from carob.kubelet.ports import PortFailure, resolve_port
from carob.kubelet.probes import http
from carob.kubelet.probes.grpc import grpc_check
from carob.kubelet.probes.outcome import Outcome
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.runtime.types import Runtime

MAX_OUTPUT = 10 << 10


async def check(
    runtime: Runtime, container: core_v1.Container, probe: core_v1.Probe, container_id: str, pod_ip: str
) -> tuple[Outcome, str]:
    """Outcome and what was said."""
    seconds = float(probe.timeout_seconds or 1)
    try:
        if probe.exec is not None:
            return await _exec(runtime, container_id, probe.exec.command, seconds)
        if probe.http_get is not None:
            return await _http(container, probe.http_get, pod_ip, seconds)
        if probe.tcp_socket is not None:
            return await _tcp(container, probe.tcp_socket, pod_ip, seconds)
    except PortFailure as error:
        return Outcome.ERROR, str(error)
    if probe.grpc is not None:
        return await grpc_check(pod_ip, probe.grpc, seconds)
    return Outcome.ERROR, f"missing probe handler for {container.name}"


async def _exec(runtime: Runtime, container_id: str, command: list[str], seconds: float) -> tuple[Outcome, str]:
    try:
        code, out, err = await runtime.exec_sync(container_id, command, seconds)
    except TimeoutError:
        return Outcome.FAILURE, f"command timed out: {_quoted(command)} timed out after {go_duration(seconds)}"
    except RuntimeFailure as error:
        return Outcome.ERROR, str(error)
    text = (out + err)[:MAX_OUTPUT].decode("utf-8", "replace")
    return (Outcome.SUCCESS if code == 0 else Outcome.FAILURE), text


def _quoted(command: list[str]) -> str:
    return '"' + " ".join(command) + '"'


async def _http(
    container: core_v1.Container, action: core_v1.HTTPGetAction, pod_ip: str, seconds: float
) -> tuple[Outcome, str]:
    target = http_target(container, action, pod_ip)
    try:
        async with asyncio.timeout(seconds):
            answer = await http.get(target)
    except TimeoutError:
        text = f'Get "{target.url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return Outcome.FAILURE, text
    except http.HttpFailure as error:
        return Outcome.FAILURE, str(error)
    body = answer.body.decode("utf-8", "replace")
    if 200 <= answer.status < 300:
        return Outcome.SUCCESS, body
    if 300 <= answer.status < 400:
        return Outcome.WARNING, f"Probe terminated redirects, Response body: {body}"
    return Outcome.FAILURE, f"HTTP probe failed with statuscode: {answer.status}"


def http_target(container: core_v1.Container, action: core_v1.HTTPGetAction, pod_ip: str) -> http.Target:
    """Where an httpGet of this container goes. Raises: PortFailure."""
    return http.Target(
        (action.scheme or "HTTP").lower(),
        action.host or pod_ip,
        resolve_port(container, action.port),
        action.path or "/",
        [(header.name, header.value) for header in action.http_headers],
    )


async def _tcp(
    container: core_v1.Container, action: core_v1.TCPSocketAction, pod_ip: str, seconds: float
) -> tuple[Outcome, str]:
    host, port = action.host or pod_ip, resolve_port(container, action.port)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome.FAILURE, f"dial tcp {host}:{port}: i/o timeout"
    except OSError as error:
        return Outcome.FAILURE, http.dial_error(host, port, error)
    writer.transport.abort()
    return Outcome.SUCCESS, ""

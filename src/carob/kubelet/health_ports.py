"""`healthCheckNodePort`: tells load balancers outside whether this node has endpoints of a Service of its own.

One listening socket a Service, opened and closed as Services come and go. Limits: bytes and seconds of a request.
Source: kube-proxy `pkg/proxy/healthcheck/service_health.go`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from carob.base.log import get_logger, pairs
from carob.base.tasks import Signal
from carob.kubelet.service_proxy import BY_SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.api.types import core_v1, discovery_v1
    from carob.client.informer import Informer
    from carob.kubelet.service_ports import Place

MAX_REQUEST_BYTES = 8192
REQUEST_SECONDS = 5.0
_log = get_logger("health-ports")


def local_endpoints(slices: list[discovery_v1.EndpointSlice], node: str) -> int:
    """How many ready endpoints of these slices are on the node; a Pod with two families is one."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for one in slices:
        found.setdefault(one.address_type, set()).update(
            tuple(endpoint.addresses)
            for endpoint in one.endpoints or ()
            if endpoint.node_name == node and endpoint.conditions.ready is not False
        )
    return max(map(len, found.values()), default=0)


def answer(service: core_v1.Service, count: int) -> bytes:
    """The whole HTTP answer."""
    metadata = service.metadata
    name = {"namespace": metadata.namespace, "name": metadata.name}
    body = json.dumps({"service": name, "localEndpoints": count, "serviceProxyHealthy": True}).encode()
    status = "200 OK" if count else "503 Service Unavailable"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        f"X-Load-Balancing-Endpoint-Weight: {count}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class HealthPorts:
    """`run` until cancelled. The informer of slices has the index `BY_SERVICE` already. `dual`: heard in IPv6, too."""

    def __init__(
        self,
        services: Informer[core_v1.Service],
        slices: Informer[discovery_v1.EndpointSlice],
        place: Callable[[], Place],
        *,
        dual: bool = False,
    ) -> None:
        self._services = services
        self._slices = slices
        self._place = place
        self._hosts = ["0.0.0.0", "::"] if dual else ["0.0.0.0"]
        self._signal = Signal()
        self._servers: dict[int, asyncio.Server] = {}
        self._keys: dict[int, str] = {}

    async def run(self) -> None:
        """Keep open what Services ask for."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        self._services.subscribe(self._changed)
        try:
            while True:
                await self._settle()
                await self._signal.wait()
        finally:
            for server in self._servers.values():
                server.close()
            self._servers.clear()

    def _changed(self, key: str, old: core_v1.Service | None, new: core_v1.Service | None) -> None:
        ports = [one.spec.health_check_node_port if one is not None else 0 for one in (old, new)]
        if ports[0] != ports[1]:
            self._signal.set()

    async def _settle(self) -> None:
        self._keys = {
            s.spec.health_check_node_port: f"{s.metadata.namespace}/{s.metadata.name}"
            for s in self._services.items()
            if s.spec.health_check_node_port
        }
        for port in [port for port in self._servers if port not in self._keys]:
            self._servers.pop(port).close()
        for port in self._keys.keys() - self._servers.keys():
            try:
                self._servers[port] = await asyncio.start_server(
                    self._handler(port), self._hosts, port, limit=MAX_REQUEST_BYTES
                )
            except OSError as error:
                _log.warning("cannot listen %s: %s", pairs(service=self._keys[port], port=port), error)

    def _handler(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    await reader.readuntil(b"\r\n\r\n")
                    key = self._keys.get(port, "")
                    service = self._services.get(key)
                    if service is not None:
                        slices = self._slices.by_index(BY_SERVICE, key)
                        writer.write(answer(service, local_endpoints(slices, self._place().node)))
                        await writer.drain()
            except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
                _log.debug("%r", error)
            finally:
                writer.close()

        return serve

"""`nodes/x/proxy`, `pods/x/proxy`, `services/x/proxy`: the API server as a way to web pages inside the cluster.

A name may carry a scheme and a port: `https:web:8443`. Upgrades pass, too.

Source: kubernetes `pkg/registry/core/{node,pod,service}/rest`, `staging/…/apimachinery/pkg/util/proxy`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from carob.api.status import ApiError, bad_request, not_found
from carob.apiserver.authn.service_accounts import NODES, PODS, row
from carob.apiserver.nodes import page_proxy
from carob.transport.proxies import proxy_upgrade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from carob.api.user import UserInfo
    from carob.apiserver.nodes.connections import Dialer, NodeConnections
    from carob.apiserver.nodes.tunnels import Tunnels
    from carob.apiserver.types import Reader, RequestInfo
    from carob.transport.http import Connection, Request, Response, Transport, Upgrade

SERVICES = row("", "v1", "services")
# how many parts a path has before `proxy`
NODE_DEPTH, NAMESPACED_DEPTH = 4, 6
MAX_PORT, MAX_PORT_DIGITS = 65535, 5
SLICES = row("discovery.k8s.io", "v1", "endpointslices")


class Target(NamedTuple):
    """`scheme:name:port` taken apart; empty where nothing was said."""

    scheme: str
    name: str
    port: str


def _allowed(address: str) -> bool:
    """Whether a Pod or node may be asked there: whoever writes a status must not lead us to ourselves.

    Source: `proxyutil.IsProxyableIP`.
    """
    try:
        where = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (where.is_loopback or where.is_link_local or where.is_multicast or where.is_unspecified)


async def _addresses(host: str) -> list[str]:
    """What a node's address means; itself, unless it is a name. Raises: ApiError 503."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _unreachable(f"lookup {host}: {error.strerror}") from error
    return [str(place[0]) for *_, place in found]


def _number(port: str) -> int:
    """Raises: ApiError 400 for what is no number, 503 for what is no port."""
    if not (port.isascii() and port.isdigit()):
        raise bad_request(f'invalid port "{port}"')
    if len(port) > MAX_PORT_DIGITS or int(port) > MAX_PORT:
        raise _unreachable(f"dial tcp: address {port}: invalid port")
    return int(port)


def _unreachable(why: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", f"error trying to reach service: {why}")


def split_name(text: str) -> Target:
    """The parts of a proxied name. Raises: ApiError 400."""
    parts = text.split(":")
    if len(parts) == 1:
        return Target("", parts[0], "")
    if len(parts) == 2:
        return Target("", parts[0], parts[1])
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return Target(parts[0], parts[1], parts[2])
    raise bad_request(f'invalid name "{text}"')


class WebProxies:
    """Answers the three subresources."""

    def __init__(
        self,
        reader: Reader,
        connections: NodeConnections,
        dialer: Dialer,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        tunnels: Tunnels | None = None,
    ) -> None:
        self._tunnels = tunnels
        self._reader = reader
        self._connections = connections
        self._dialer = dialer
        self._spawn = spawn

    async def node(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """To a node's kubelet, or to another port of the node."""
        target = split_name(info.name)
        if self._reader.get(NODES, "", target.name) is None:
            raise not_found(NODES, target.name)
        host, kubelet_port = self._connections.place(target.name)
        if target.port in ("", str(kubelet_port)):
            return await self._pass_on(info, request, self._connections.to(target.name), "")
        # a kubelet has to prove who it is; whoever answers at another port has not
        if not all(map(_allowed, await _addresses(host))):
            raise bad_request("address not allowed")
        return await self._to(info, request, host, _number(target.port), None, tls=target.scheme == "https")

    async def pod(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """To a port of a Pod; the first that a container names, if none is given."""
        target = split_name(info.name)
        pod = self._reader.get(PODS, info.namespace, target.name)
        if pod is None:
            raise not_found(PODS, target.name)
        address = pod.status.pod_ip
        if not _allowed(address):
            raise bad_request("address not allowed")
        port = target.port or next((str(p.container_port) for c in pod.spec.containers for p in c.ports), "80")
        return await self._to(info, request, address, _number(port), pod, tls=target.scheme == "https")

    async def service(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """To a ready endpoint of a Service."""
        target = split_name(info.name)
        service = self._reader.get(SERVICES, info.namespace, target.name)
        if service is None:
            raise not_found(SERVICES, target.name)
        address, port, pod = self._endpoint(info.namespace, service, target)
        return await self._to(info, request, address, port, pod, tls=target.scheme == "https")

    def _endpoint(self, namespace: str, service: Any, target: Target) -> tuple[str, int, Any | None]:
        """Address, port, and the Pod where it is one's."""
        ports = service.spec.ports
        if not target.port and len(ports) == 1:
            wanted = ports[0].name
        else:
            wanted = target.port
            if wanted.isascii() and wanted.isdigit():
                number = _number(wanted)
                named = next((p for p in ports if p.port == number), None)
                if named is None:
                    message = f'no service port {number} found for service "{target.name}"'
                    raise ApiError(503, "ServiceUnavailable", message)
                wanted = named.name
        # everybody has a way in IPv4
        for found in sorted(self._reader.list(SLICES, namespace), key=lambda one: one.address_type != "IPv4"):
            if found.metadata.labels.get("kubernetes.io/service-name") != service.metadata.name:
                continue
            port = next((p.port for p in found.ports or () if (p.name or "") == wanted and p.port), None)
            if port is None:
                continue
            for endpoint in found.endpoints or ():
                if endpoint.conditions.ready is not False and endpoint.addresses:
                    reference = endpoint.target_ref
                    pod = None
                    if reference is not None and reference.kind == "Pod":
                        pod = self._reader.get(PODS, namespace, reference.name)
                    return endpoint.addresses[0], port, pod
        message = f'no endpoints available for service "{target.name}"'
        raise ApiError(503, "ServiceUnavailable", message)

    async def _to(
        self, info: RequestInfo, request: Request, host: str, port: int, pod: Any | None, *, tls: bool
    ) -> Response:
        """Through a transport of its own, which is given back when the answer has passed."""
        transport = self._dialer.plain(host, port, tls=tls, dial=self._way(pod, port))
        try:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            return await self._pass_on(info, request, transport, where, transport.close)
        except BaseException:
            await transport.close()
            raise

    def _way(self, pod: Any | None, port: int) -> Callable[[], Awaitable[socket.socket]] | None:
        """Through its node, where this server has no other way to the Pod."""
        if self._tunnels is None or pod is None or not pod.spec.node_name or pod.spec.host_network:
            return None
        return self._tunnels.to(pod.spec.node_name, pod.metadata.namespace, pod.metadata.name, port)

    async def _pass_on(
        self,
        info: RequestInfo,
        request: Request,
        transport: Transport,
        address: str,
        done: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> Response:
        depth = NAMESPACED_DEPTH if info.namespace else NODE_DEPTH
        prefix, rest, query = page_proxy.split_target(request, depth)
        wanted = page_proxy.outgoing(request, prefix, rest, query)
        try:
            if "upgrade" in request.headers:
                wanted.headers = {**wanted.headers, "upgrade": request.headers["upgrade"]}
                response = await proxy_upgrade(wanted, transport)
                if response.upgrade is None:
                    await _finished(done)
                else:
                    response.upgrade = _then(response.upgrade, done)
                return response
            response_or_none = page_proxy.redirected(request, prefix, rest, query)
            if response_or_none is None:
                spawn = self._spawner(done)
                response_or_none = await page_proxy.pass_page(request, wanted, transport, prefix, address, spawn)
            if response_or_none.stream is None:
                await _finished(done)
            return response_or_none
        except ConnectionError as error:
            raise _unreachable(str(error)) from error

    def _spawner(
        self, done: Callable[[], Coroutine[Any, Any, None]] | None
    ) -> Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]:
        """As the server's, but what it runs gives the transport back at its end."""

        def spawn(run: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
            async def run_then_finish() -> None:
                try:
                    await run
                finally:
                    await _finished(done)

            return self._spawn(run_then_finish(), name)

        return spawn


def _then(upgrade: Upgrade, done: Callable[[], Coroutine[Any, Any, None]] | None) -> Upgrade:
    async def run(connection: Connection) -> None:
        try:
            await upgrade(connection)
        finally:
            await _finished(done)

    return run


async def _finished(done: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    if done is not None:
        await done()

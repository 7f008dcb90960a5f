"""Where the agent of a node listens, and a transport to it that shows the API server's own client certificate.

Source: kubernetes `pkg/kubelet/client/kubelet_client.go` (NodeConnectionInfoGetter).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from carob.api.status import ApiError, internal, not_found
from carob.apiserver.authn.service_accounts import NODES

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from carob.apiserver.options import ApiServerOptions
    from carob.apiserver.types import Reader
    from carob.transport.http import Transport

DEFAULT_KUBELET_PORT = 10250


class Dialer(Protocol):
    """Makes transports to nodes and Pods."""

    def kubelet(self, host: str, port: int) -> Transport:
        """To a kubelet, with our certificate and checking its own."""
        ...

    def plain(
        self, host: str, port: int, *, tls: bool, dial: Callable[[], Awaitable[socket.socket]] | None = None
    ) -> Transport:
        """To anything else, such as a Pod's web server; whoever answers there is believed. `dial`: by another way."""
        ...


class SocketDialer:
    """Transports over sockets."""

    def __init__(self, options: ApiServerOptions) -> None:
        self._options = options
        self._pair = options.kubelet_client_certificate_pem, options.kubelet_client_key_pem
        self._context: object | None = None

    def use(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Show this one from now on."""
        self._pair = certificate_pem, key_pem
        self._context = None

    def kubelet(self, host: str, port: int) -> Transport:
        """See `Dialer`."""
        from carob.transport.client import SocketTransport
        from carob.transport.tls import client_context

        options = self._options
        certificate, key = self._pair
        if not certificate:
            raise internal("this server has no client certificate for kubelets")
        if self._context is None:
            self._context = client_context(
                ca_data=options.kubelet_ca_pem.decode(),
                certificate_data=certificate,
                key_data=key,
            )
        return SocketTransport(_url("https", host, port), tls=self._context)  # type: ignore[arg-type]

    def plain(
        self, host: str, port: int, *, tls: bool, dial: Callable[[], Awaitable[socket.socket]] | None = None
    ) -> Transport:
        """See `Dialer`."""
        from carob.transport.client import SocketTransport
        from carob.transport.tls import client_context

        if not tls:
            return SocketTransport(_url("http", host, port), dial=dial)
        return SocketTransport(_url("https", host, port), tls=client_context(insecure=True), dial=dial)


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class NodeConnections:
    """Transports to kubelets, kept while the node's address stays."""

    LIMIT = 1024

    def __init__(self, reader: Reader, dialer: Dialer, preferred_address_types: tuple[str, ...]) -> None:
        self._reader = reader
        self._dialer = dialer
        self._preferred = preferred_address_types
        self._transports: dict[tuple[str, int], Transport] = {}

    def to(self, node_name: str) -> Transport:
        """A transport to the node's kubelet. Raises: ApiError 404 for an unknown node, 503 for one without an address.

        Differs: upstream's 500 looks like a fault of the server, and it is none.
        """
        place = self.place(node_name)
        transport = self._transports.get(place)
        if transport is None:
            if len(self._transports) >= self.LIMIT:
                # a transport in use lives on until its streams end; it is only not handed out again
                del self._transports[next(iter(self._transports))]
            transport = self._transports[place] = self._dialer.kubelet(*place)
        return transport

    def forget(self) -> None:
        """Make new transports from now on; those in use live on until their streams end."""
        self._transports.clear()

    def place(self, node_name: str) -> tuple[str, int]:
        """Address and port of a node's kubelet. Raises: ApiError as `to`."""
        node = self._reader.get(NODES, "", node_name)
        if node is None:
            raise not_found(NODES, node_name)
        addresses = {address.type: address.address for address in reversed(node.status.addresses)}
        host = next((addresses[kind] for kind in self._preferred if kind in addresses), "")
        if not host:
            raise ApiError(
                503, "ServiceUnavailable", f"no preferred addresses found; known addresses: {list(addresses)}"
            )
        return host, node.status.daemon_endpoints.kubelet_endpoint.port or DEFAULT_KUBELET_PORT

    async def close(self) -> None:
        """Cut every connection."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.close()

"""Ports of the node that lead to sandboxes of somebody else's runtime: opened once they have addresses."""

from __future__ import annotations

from carob.host.threads import Threads
from carob.runtime.types import NetworkRequest, NodePorts, SandboxStatus


class Ports:
    """Without `node_ports` the runtime's own network is asked for them."""

    def __init__(self, threads: Threads, node_ports: NodePorts | None) -> None:
        self._threads = threads
        self._node_ports = node_ports

    @property
    def ours(self) -> bool:
        """Whether the runtime need not know of them."""
        return self._node_ports is not None

    async def open(self, sandbox: SandboxStatus) -> None:
        """Raises: RuntimeFailure when one is taken."""
        ports, request = self._node_ports, _request(sandbox)
        if ports is not None and request.port_mappings and sandbox.ips:
            await self._threads.run(lambda: ports.open(request, sandbox.ips[0]))

    async def close(self, sandbox: SandboxStatus) -> None:
        """Idempotent."""
        ports, request = self._node_ports, _request(sandbox)
        if ports is not None and request.port_mappings:
            await self._threads.run(lambda: ports.close(request))


def _request(sandbox: SandboxStatus) -> NetworkRequest:
    config = sandbox.config
    return NetworkRequest(
        sandbox_id=sandbox.id,
        namespace=config.namespace,
        name=config.name,
        uid=config.uid,
        port_mappings=tuple(config.port_mappings),
    )

"""Ports of the node for a container runtime that has networks of its own: carob's rules lead to its sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.network.addresses import HostPort, Lease
from carob.network.layout import NetworkFailure
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from carob.network.host_ports import HostPorts
    from carob.runtime.types import NetworkRequest


class ForeignPorts:
    """Implements the runtime's `NodePorts`."""

    def __init__(self, host_ports: HostPorts) -> None:
        self._host_ports = host_ports

    def open(self, request: NetworkRequest, address: str) -> None:
        try:
            self._host_ports.open(_lease(request, address))
        except NetworkFailure as error:
            raise RuntimeFailure(str(error)) from error

    def close(self, request: NetworkRequest) -> None:
        try:
            self._host_ports.close(_lease(request, ""))
        except NetworkFailure as error:
            raise RuntimeFailure(str(error)) from error


def _lease(request: NetworkRequest, address: str) -> Lease:
    ports = [HostPort(p.protocol or "TCP", p.host_port, p.container_port, p.host_ip) for p in request.port_mappings]
    return Lease(request.sandbox_id, address, tuple(port for port in ports if port.host_port))

"""Ports of the node for a container runtime that has networks of its own: carob's rules lead to its sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.network.addresses import Lease
from carob.network.host_ports import asked_for
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
            lease = _lease(request, "")
        except NetworkFailure:
            return  # what was asked for never was a port
        try:
            self._host_ports.close(lease)
        except NetworkFailure as error:
            raise RuntimeFailure(str(error)) from error


def _lease(request: NetworkRequest, address: str) -> Lease:
    return Lease(request.sandbox_id, address, tuple(asked_for(request.port_mappings)))

"""Ports by number or by the name that the container gives them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.api.types import core_v1


class PortFailure(ValueError):
    """There is no such port; the message is upstream's."""


def resolve_port(container: core_v1.Container, port: int | str) -> int:
    """The number of a port. Raises: PortFailure. Source: `probe.ResolveContainerPort`."""
    number = 0
    if isinstance(port, int):
        number = port
    else:
        named = next((p.container_port for p in container.ports if p.name == port), None)
        if named is not None:
            number = named
        elif port.isdigit():
            number = int(port)
        else:
            raise PortFailure(f"couldn't find port: {port}")
    if not 0 < number < 65536:
        raise PortFailure(f"invalid port number: {number}")
    return number

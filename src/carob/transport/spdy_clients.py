"""exec, attach and port-forward on the client's side over SPDY/3.1: what a CRI runtime's streaming server speaks best.

Source: client-go `transport/spdy`, `tools/portforward`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.transport.http import Request
from carob.transport.stream_clients import PortForward, RemoteCommand
from carob.wire import portforward
from carob.wire.spdy_command import PROTOCOL, SpdyClientSession

if TYPE_CHECKING:
    from carob.transport.http import Connection, Transport
    from carob.wire.remotecommand import Streams


async def _upgrade(transport: Transport, path: str, query: str, protocol: str) -> Connection:
    """Raises: ApiError when the server declined, ConnectionError."""
    request = Request(
        "POST", path, query, {"upgrade": "SPDY/3.1", "x-stream-protocol-version": protocol, "content-length": "0"}
    )
    response, connection = await transport.upgrade(request)
    if connection is None:
        raise ApiError.from_body(response.status, response.body)
    return connection


async def open_spdy_command(transport: Transport, path: str, query: str, streams: Streams) -> RemoteCommand:
    """Run what was promised at `path`. Raises: ApiError, ConnectionError."""
    connection = await _upgrade(transport, path, query, PROTOCOL)
    command = RemoteCommand(connection, SpdyClientSession(streams))
    command.begin()
    return command


async def open_spdy_port_forward(transport: Transport, path: str, query: str) -> PortForward:
    """A session with the Pod behind `path`. Raises: ApiError, ConnectionError."""
    connection = await _upgrade(transport, path, query, portforward.PROTOCOL)
    return PortForward(connection, portforward.SpdyClientSession(portforward.BareTube()))

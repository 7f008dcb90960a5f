"""Ways to Pods for a server that has no route to them: through the kubelet of their node, as port-forward goes.

What is sent to the socket that `dial` gives comes out at a port inside the Pod (on its localhost), and the other way round. A tunnel lives as
long as its connection; what waits in it is bounded by the session and by the sockets.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.base.tasks import TaskGroup
from carob.transport.stream_clients import open_port_forward

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from carob.apiserver.nodes.connections import NodeConnections
    from carob.base.ids import Randomness
    from carob.transport.stream_clients import ForwardedConnection, PortForward

CHUNK_BYTES = 64 << 10


class Tunnels:
    """Made by the server, which runs the copying as tasks of its own."""

    def __init__(
        self,
        connections: NodeConnections,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        randomness: Randomness,
    ) -> None:
        self._connections = connections
        self._spawn = spawn
        self._randomness = randomness

    def to(self, node: str, namespace: str, pod: str, port: int) -> Callable[[], Awaitable[socket.socket]]:
        """How to connect to a port of the Pod on that node; each call makes a connection of its own."""

        async def dial() -> socket.socket:
            path = f"/portForward/{namespace}/{pod}"
            try:
                session = await open_port_forward(self._connections.to(node), path, self._randomness)
            except ApiError as error:
                raise ConnectionError(f"the kubelet of {node} does not lead to the pod: {error.message}") from error
            near, far = socket.socketpair()
            near.setblocking(False)
            far.setblocking(False)
            self._spawn(_join(session, port, far), f"tunnel to {namespace}/{pod}:{port}")
            return near

        return dial


async def _join(session: PortForward, port: int, far: socket.socket) -> None:
    """Copy both ways until both have ended, or one was cut."""
    reader, writer = await asyncio.open_connection(sock=far)
    try:
        async with session:
            connection = session.connect(port)
            async with TaskGroup() as group:
                group.spawn(_copy_in(reader, connection), "into the pod")
                while data := await connection.read():
                    writer.write(data)
                    await writer.drain()
                if writer.can_write_eof():
                    writer.write_eof()
    except OSError:
        # whoever is at the near end sees the connection end, which is all that there is to know
        writer.transport.abort()
    finally:
        writer.close()


async def _copy_in(reader: asyncio.StreamReader, connection: ForwardedConnection) -> None:
    while data := await reader.read(CHUNK_BYTES):
        await connection.write(data)
    await connection.write_eof()

"""exec, attach and port-forward on the client's side, over WebSocket: for carob's own verbs and for tests.

`open_remote_command` gives a running command with its streams, `open_port_forward` connections to ports of a Pod.
Source: client-go `tools/remotecommand/websocket.go` (v5.channel.k8s.io) and `tools/portforward/tunneling_dialer.go`.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Self

from carob.api.status import ApiError
from carob.base.tasks import TaskGroup
from carob.transport.http import Request
from carob.transport.inbox import Inbox
from carob.wire import portforward
from carob.wire.errors import ProtocolError
from carob.wire.portforward import Dropped, Failed, Received, SpdyClientSession, WebSocketTube
from carob.wire.remotecommand import ClientSession, Finished, Output, Status, WebSocketClientSession, failed
from carob.wire.websocket import accept_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from carob.base.ids import Randomness
    from carob.transport.http import Connection, Transport

COMMAND_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
FROM_PORT_LIMIT = 4 << 20
_NO_HEADERS: Mapping[str, str] = {}


async def open_websocket(
    transport: Transport,
    path: str,
    query: str,
    protocols: Sequence[str],
    randomness: Randomness,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> tuple[str, Connection]:
    """The protocol that the server chose, and the connection behind the handshake.

    Raises: ApiError when the server declined, ConnectionError.
    """
    key = base64.b64encode(randomness.token(16)).decode()
    request = Request(
        "GET",
        path,
        query,
        {
            **headers,
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": key,
            "sec-websocket-protocol": ", ".join(protocols),
        },
    )
    response, connection = await transport.upgrade(request)
    if connection is None:
        raise ApiError.from_body(response.status, response.body)
    answer = {name.lower(): value for name, value in response.headers}
    protocol = answer.get("sec-websocket-protocol", "")
    if answer.get("sec-websocket-accept") != accept_key(key) or protocol not in protocols:
        connection.abort()
        raise ConnectionError("the server did not complete the WebSocket handshake")
    return protocol, connection


async def open_remote_command(
    transport: Transport, path: str, query: str, randomness: Randomness, headers: Mapping[str, str] = _NO_HEADERS
) -> RemoteCommand:
    """Run what `path` and `query` say (`…/pods/NAME/exec`, `command=…&stdin=true…`). Raises: ApiError, ConnectionError."""
    protocol, connection = await open_websocket(transport, path, query, COMMAND_PROTOCOLS, randomness, headers)
    return RemoteCommand(connection, WebSocketClientSession(protocol, lambda: randomness.token(4)))


class RemoteCommand:
    """A command that runs in a container. One task reads, another may write."""

    def __init__(self, connection: Connection, session: ClientSession) -> None:
        self._connection = connection
        self._session = session
        self._outputs: list[tuple[int, bytes]] = []
        self._status: Status | None = None
        self._ended = False

    def begin(self) -> None:
        """Say what the session has to say first."""
        self._flush()

    async def read(self) -> tuple[int, bytes] | None:
        """(1 stdout or 2 stderr, bytes); None when the command has ended. Raises: ConnectionError."""
        while not self._outputs:
            if self._ended:
                return None
            data = await self._connection.read()
            try:
                events = self._session.receive(data) if data else self._session.ended()
            except ProtocolError as error:
                self._connection.abort()
                raise ConnectionResetError(str(error)) from error
            self._flush()
            for event in events:
                if isinstance(event, Output):
                    self._outputs.append((event.stream, event.data))
                elif isinstance(event, Finished):
                    self._status = event.status
                    self._end()
                else:
                    self._end()
            if not data:
                self._end()
            self._outputs.reverse()
        return self._outputs.pop()

    async def write(self, data: bytes) -> None:
        """To standard input; waits while the server does not take it. Raises: ConnectionError."""
        self._session.stdin(data)
        self._flush()
        await self._connection.drain()

    def close_stdin(self) -> None:
        """No more input."""
        self._session.close_stdin()
        self._flush()

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters."""
        self._session.resize(width, height)
        self._flush()

    @property
    def status(self) -> Status:
        """How it ended; to be asked when `read` has returned None. See `remotecommand.exit_code_of`."""
        return self._status or failed("the connection ended before the command did")

    def close(self) -> None:
        """Leave; the command may run on."""
        self._session.close()
        self._flush()
        self._connection.close()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self.close()

    def _flush(self) -> None:
        data = self._session.take()
        if data:
            self._connection.write(data)


async def open_port_forward(
    transport: Transport, path: str, randomness: Randomness, headers: Mapping[str, str] = _NO_HEADERS
) -> PortForward:
    """A session with the Pod behind `path` (`…/pods/NAME/portforward`). Raises: ApiError, ConnectionError."""
    protocols = (portforward.TUNNEL_PROTOCOL,)
    _, connection = await open_websocket(transport, path, "", protocols, randomness, headers)
    return PortForward(connection, SpdyClientSession(WebSocketTube(lambda: randomness.token(4))))


class PortForward:
    """Connections to ports of one Pod. Use with `async with`; leaving it ends every connection."""

    def __init__(self, connection: Connection, session: SpdyClientSession) -> None:
        self._connection = connection
        self._session = session
        self._open: dict[int, ForwardedConnection] = {}
        self._group = TaskGroup()
        self._left = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._group.spawn(self._read(), "port-forward")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.leave()
        self._flush()
        self._connection.close()
        self._group.cancel()
        await self._group.__aexit__(None, None, None)

    def connect(self, port: int) -> ForwardedConnection:
        """One more connection. Raises: ConnectionError when the session is over."""
        if self._left.is_set():
            raise ConnectionResetError("lost connection to pod")
        number = self._session.connect(port)
        connection = self._open[number] = ForwardedConnection(self, number)
        self._flush()
        return connection

    async def wait_lost(self) -> None:
        """Return when the server has ended the session."""
        await self._left.wait()

    async def _read(self) -> None:
        try:
            while data := await self._connection.read():
                for event in self._session.receive(data):
                    if isinstance(event, Received):
                        await self._received(event)
                    elif isinstance(event, Dropped | Failed):
                        connection = self._open.get(event.number)
                        if connection is not None:
                            connection.fail(event.message if isinstance(event, Failed) else "the port was lost")
                self._flush()
        except ProtocolError:
            self._connection.abort()
        finally:
            self._left.set()
            for connection in self._open.values():
                connection.inbox.end()

    async def _received(self, event: Received) -> None:
        connection = self._open.get(event.number)
        if connection is not None:
            if event.data:
                await connection.inbox.put(event.data)
            if event.end:
                connection.inbox.end()

    # For ForwardedConnection.

    async def send(self, act: Callable[[SpdyClientSession], None]) -> None:
        """Say something and wait while the server does not take it. Raises: ConnectionError."""
        act(self._session)
        self._flush()
        await self._connection.drain()

    def forget(self, number: int) -> None:
        """The connection is closed."""
        if self._open.pop(number, None) is not None:
            self._session.drop(number)
            self._flush()

    def _flush(self) -> None:
        data = self._session.take()
        if data:
            self._connection.write(data)


class ForwardedConnection:
    """One connection to a port."""

    def __init__(self, session: PortForward, number: int) -> None:
        self._session = session
        self._number = number
        self.inbox = Inbox(FROM_PORT_LIMIT)
        self.error = ""
        """Why the port could not be reached, once `read` has raised."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end. Raises: ConnectionError when the port could not be reached or was lost."""
        data = await self.inbox.get()
        if not data and self.error:
            raise ConnectionResetError(self.error)
        return data

    async def write(self, data: bytes) -> None:
        """Send. Raises: ConnectionError."""
        await self._session.send(lambda session: session.send(self._number, data))

    async def write_eof(self) -> None:
        """No more data from us."""
        await self._session.send(lambda session: session.end(self._number))

    async def close(self) -> None:
        """Let go."""
        self.inbox.end()
        self._session.forget(self._number)

    def fail(self, message: str) -> None:
        """The server says why it is over."""
        self.error = self.error or message
        self.inbox.end()

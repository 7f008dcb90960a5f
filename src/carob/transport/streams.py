"""exec, attach and port-forward on the server's side: an HTTP request and a process or a port, joined.

`serve_remote_command` and `serve_port_forward` choose the protocol that the client asked for (SPDY/3.1 or WebSocket)
and return the `Response` whose upgrade does the rest. What they join is given as Protocols, because this room knows no
runtime. Everything between the two ends is bounded: whoever is slow holds the other back.

Source: kubelet `pkg/cri/streaming` (which protocols, their order, the words of refusals).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from carob.api.status import ApiError, bad_request
from carob.base.log import get_logger
from carob.base.tasks import TaskGroup
from carob.transport.http import Request, Response
from carob.transport.inbox import Inbox
from carob.transport.port_forward import forward_ports
from carob.transport.websocket_handshake import failure, handshake
from carob.wire import portforward, remotecommand
from carob.wire.errors import ProtocolError
from carob.wire.remotecommand import (
    STDERR,
    STDOUT,
    Left,
    Ready,
    Resized,
    ServerSession,
    SpdyServerSession,
    Status,
    Stdin,
    StdinClosed,
    Streams,
    WebSocketServerSession,
    exited,
    failed,
    success,
)
from carob.wire.websocket import offered_protocols

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from carob.transport.http import Connection
    from carob.transport.port_forward import Duplex

_log = get_logger("streams")

NEWEST_PROTOCOL = "v5.channel.k8s.io"
STREAMS_SECONDS = 30.0
"""How long a client may take to open its streams. Source: kubelet `DefaultStreamCreationTimeout`."""
LINGER_SECONDS = 2.0
"""How long we wait for the client to close after the end; closing first, with its bytes unread, could cost it ours."""
STDIN_LIMIT = 1 << 20


class Process(Protocol):
    """A running exec or attach; the runtime's `Process` fits."""

    async def read(self) -> tuple[int, bytes] | None:
        """(1 stdout or 2 stderr, bytes); None when both have ended."""
        ...

    async def write(self, data: bytes) -> None:
        """To standard input; waits while the process does not read."""
        ...

    async def close_stdin(self) -> None:
        """End of standard input."""
        ...

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters."""
        ...

    async def wait(self) -> int:
        """The exit code."""
        ...

    async def close(self) -> None:
        """Let go of the streams."""
        ...


def serve_remote_command(
    request: Request, streams: Streams, start: Callable[[], Awaitable[Process]], *, attach: bool = False
) -> Response:
    """Answer an exec or attach request.

    `start` is called once the client's streams are there; what it raises reaches the client as the command's failure.
    With `attach` the exit code is not told, as upstream does not either. A client that leaves ends the streams, not
    the process. A request that cannot be upgraded is answered with 400 or 403.
    """
    if not (streams.stdin or streams.stdout or streams.stderr):
        return failure(bad_request("you must specify at least 1 of stdin, stdout, stderr"))
    upgrade = request.headers.get("upgrade", "").lower()
    session: ServerSession
    if upgrade == "websocket":
        refusal, protocol, headers = handshake(request, remotecommand.WEBSOCKET_PROTOCOLS)
        session = WebSocketServerSession(protocol, streams)
    elif upgrade == "spdy/3.1":
        refusal, protocol, headers = _spdy_headers(request, remotecommand.SPDY_PROTOCOLS)
        session = SpdyServerSession(protocol or "channel.k8s.io", streams)
    else:
        return upgrade_required(request)
    if refusal is not None:
        return refusal

    async def run(connection: Connection) -> None:
        await _RemoteCommand(connection, session, start, attach=attach, tty=streams.tty).run()

    return Response(101, headers=headers, upgrade=run)


class NoContainer(Exception):
    """There is nothing to run a command in."""


def refuse_remote_command(request: Request, streams: Streams, text: str) -> Response:
    """Answer an exec or attach request of a container that does not run.

    Upstream's API server accepts WebSockets of the newest protocol before it asks the kubelet: their clients hear of it
    as of a command that failed. Others get a plain 500.
    Source: apiserver `util/proxy/streamtranslator.go`, kubelet `pkg/cri/streaming/errors.go`.
    """
    offered = offered_protocols(request.headers.get("sec-websocket-protocol", ""))
    if request.headers.get("upgrade", "").lower() == "websocket" and NEWEST_PROTOCOL in offered:

        async def start() -> Process:
            raise NoContainer(f"unable to upgrade connection: {text}")

        return serve_remote_command(request, streams, start)
    return Response(500, text.encode(), content_type="text/plain; charset=utf-8")


def serve_port_forward(
    request: Request, dial: Callable[[int], Awaitable[Duplex]], *, target: str = "the pod"
) -> Response:
    """Answer a port-forward request; `dial` opens a connection to a port and raises OSError where it cannot.

    `target` names the Pod in errors. A request that cannot be upgraded is answered with 400 or 403.
    """
    upgrade = request.headers.get("upgrade", "").lower()
    refusal: Response | None
    session: portforward.ServerSession
    if upgrade == "websocket":
        offered = (portforward.TUNNEL_PROTOCOL, *portforward.CHANNEL_PROTOCOLS)
        refusal, protocol, headers = handshake(request, offered)
        if protocol == portforward.TUNNEL_PROTOCOL:
            session = portforward.SpdyServerSession(portforward.WebSocketTube())
        elif refusal is not None:
            return refusal
        else:
            query = parse_qs(request.query)
            try:
                ports = portforward.parse_ports(query.get("ports", []) + query.get("port", []))
            except ValueError as error:
                return failure(bad_request(str(error)))
            session = portforward.ChannelServerSession(protocol, ports)
    elif upgrade == "spdy/3.1":
        refusal, protocol, headers = _spdy_headers(request, (portforward.PROTOCOL,))
        session = portforward.SpdyServerSession(portforward.BareTube())
    else:
        return upgrade_required(request)
    if refusal is not None:
        return refusal

    async def run(connection: Connection) -> None:
        await forward_ports(connection, session, dial, target)

    return Response(101, headers=headers, upgrade=run)


class _RemoteCommand:
    """One session at work."""

    def __init__(
        self,
        connection: Connection,
        session: ServerSession,
        start: Callable[[], Awaitable[Process]],
        *,
        attach: bool,
        tty: bool,
    ) -> None:
        self._connection = connection
        self._session = session
        self._start = start
        self._attach = attach
        self._tty = tty
        self._stdin = Inbox(STDIN_LIMIT)
        self._ready = asyncio.Event()
        self._process: Process | None = None
        self._size: Resized | None = None
        self._finished = False

    async def run(self) -> None:
        """Returns when the command has ended and the client knows. Raises: ConnectionError when the client left."""
        self._session.open()
        self._flush()
        async with TaskGroup() as group:
            reader = group.spawn(self._read(), "remote command input")
            status = await self._run_command(group)
            self._finished = True
            self._stdin.end()
            self._session.finish(status)
            self._flush()
            await asyncio.wait((reader,), timeout=LINGER_SECONDS)
            group.cancel()

    async def _run_command(self, group: TaskGroup) -> Status:
        if isinstance(self._session, SpdyServerSession):
            try:
                async with asyncio.timeout(STREAMS_SECONDS):
                    await self._ready.wait()
            except TimeoutError:
                return failed("timed out waiting for client to create streams")
        doing = "attaching to container" if self._attach else "executing command in container"
        try:
            process = await self._start()
        except NoContainer as error:
            return failed(str(error))
        except Exception as error:  # noqa: BLE001 - whatever the runtime could not do, the client is who must read it
            return failed(f"error {doing}: {error}")
        try:
            self._process = process
            if self._size is not None:
                process.resize(self._size.width, self._size.height)
            group.spawn(self._feed(process), "remote command stdin")
            await self._copy_output(process)
            code = await process.wait()
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            return failed(f"error {doing}: {error}")
        finally:
            self._process = None
            await process.close()
        return success() if self._attach else exited(code)

    async def _copy_output(self, process: Process) -> None:
        while (piece := await process.read()) is not None:
            stream, data = piece
            self._session.output(STDERR if stream == STDERR and not self._tty else STDOUT, data)
            self._flush()
            await self._connection.drain()

    async def _feed(self, process: Process) -> None:
        """Standard input, until its end; a process that no longer reads does not keep the client from going on."""
        deaf = False
        while data := await self._stdin.get():
            if not deaf:
                try:
                    await process.write(data)
                except OSError:
                    deaf = True
        if not deaf and not self._finished:
            try:
                await process.close_stdin()
            except OSError as error:
                _log.debug("closing stdin: %s", error)

    async def _read(self) -> None:
        while data := await self._connection.read():
            try:
                events = self._session.receive(data)
            except ProtocolError as error:
                _log.info("remote command: %s", error)
                raise ConnectionResetError(str(error)) from error
            # pongs and window updates are due even while the process says nothing
            self._flush()
            for event in events:
                if isinstance(event, Stdin):
                    await self._stdin.put(event.data)
                elif isinstance(event, StdinClosed):
                    self._stdin.end()
                elif isinstance(event, Resized):
                    self._resize(event)
                elif isinstance(event, Ready):
                    self._ready.set()
                elif isinstance(event, Left):
                    self._leave()
                    return
        self._leave()

    def _resize(self, event: Resized) -> None:
        if self._process is None:
            self._size = event
        else:
            self._process.resize(event.width, event.height)

    def _leave(self) -> None:
        if not self._finished:
            raise ConnectionResetError("the client has left")

    def _flush(self) -> None:
        data = self._session.take()
        if data:
            self._connection.write(data)


def upgrade_required(request: Request) -> Response:
    """The answer to a request that came without an upgrade."""
    return failure(bad_request("Upgrade request required"))


def _spdy_headers(request: Request, supported: Sequence[str]) -> tuple[Response | None, str, list[tuple[str, str]]]:
    """As `handshake`, for SPDY."""
    headers = [("Upgrade", "SPDY/3.1")]
    offered = offered_protocols(request.headers.get("x-stream-protocol-version", ""))
    if not offered:
        return None, "", headers
    protocol = next((name for name in offered if name in supported), None)
    if protocol is None:
        text = (
            "unable to upgrade: unable to negotiate protocol:"
            f" client supports [{' '.join(offered)}], server accepts [{' '.join(supported)}]"
        )
        refusal = failure(ApiError(403, "Forbidden", text))
        refusal.headers += [("X-Accepted-Stream-Protocol-Versions", name) for name in supported]
        return refusal, "", []
    return None, protocol, [*headers, ("X-Stream-Protocol-Version", protocol)]

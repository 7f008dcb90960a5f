"""The HTTP/1.1 server: a raw asyncio protocol on httptools, because it costs a third of a framework's CPU.

Touches: listening sockets. It knows no business: one `Handler` answers every request. A process that serves many
clients should also run `uvloop` and, once it has started, `gc.collect(); gc.freeze(); gc.set_threshold(50_000, 20, 100)`,
as the collector otherwise walks over every cached object again and again; that is the process's decision, not ours.

Invariants: requests of one connection are answered in order; everything is bounded (`Limits`); a handler that raises
is logged and answered with 500; `close` leaves no task and no socket.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from carob.base.log import get_logger
from carob.transport.heads import header_lines
from carob.transport.server_connection import ServerConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine
    from types import TracebackType

    from carob.base.clock import Clock
    from carob.transport.http import Handler, Request

_log = get_logger("transport")

# Lets a server listen on an address that the machine will only have later. Source: ip(7).
IP_FREEBIND = 15
LISTEN_BACKLOG = 1024
TLS_HANDSHAKE_SECONDS = 15.0
TLS_SHUTDOWN_SECONDS = 1.0
MAX_AUDIT_ID = 64


class Limits(Struct, frozen=True):
    """What one connection may take.

    Source: `body_bytes` and `idle_seconds`, `head_seconds` are kube-apiserver's (3 MiB, 90 s, 32 s); Go's server allows
    1 MiB of headers.
    """

    head_bytes: int = 1 << 20
    body_bytes: int = 3 * 1024 * 1024
    idle_seconds: float = 90.0
    head_seconds: float = 32.0
    body_seconds: float = 60.0
    stalled_write_seconds: float = 60.0
    connections: int = 20_000


class Server:
    """Serves one handler on any number of addresses. Use with `async with`, or call `close`."""

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        cache_control: str = "",
        audit_ids: str = "",
    ) -> None:
        """`cache_control`: what answers tell caches that say nothing of it themselves. `audit_ids`: a UUID, whose last group
        is counted up from answer to answer, for the `Audit-Id` of each; none have one without it.
        """
        self.handler = handler
        self.limits = limits or Limits()
        self.closing = False
        self.connections: set[ServerConnection] = set()
        self._clock = clock
        self._tls = tls
        self._listeners: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._emptied: asyncio.Event = asyncio.Event()
        self._unflushed: list[ServerConnection] = []
        self._caching = f"Cache-Control: {cache_control}\r\n".encode() if cache_control else b""
        self._audit_ids = f"Audit-Id: {audit_ids[:24]}".encode() if audit_ids else b""
        self._answers = int(audit_ids[24:], 16) if audit_ids else 0
        self._date = b""
        self._usual = b""
        self._date_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def listen(self, host: str, port: int, *, freebind: bool = False) -> int:
        """Serve on one more address and return the port (0 lets the kernel choose).

        `freebind`: also if the machine does not have the address yet (Linux, IPv4 and IPv6).
        Raises: OSError that names the address, with `errno.EADDRINUSE` when the port is taken.
        """
        listener = _bind(host, port, freebind)
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: ServerConnection(self),
                sock=listener,
                ssl=self._tls,
                ssl_handshake_timeout=TLS_HANDSHAKE_SECONDS if self._tls else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if self._tls else None,
            )
        except BaseException:
            listener.close()
            raise
        self._listeners.append(server)
        bound: int = listener.getsockname()[1]
        return bound

    async def listen_unix(self, path: str) -> None:
        """Serve on a unix socket, without TLS: who may open the file may ask. Raises: OSError."""
        self._listeners.append(
            await asyncio.get_running_loop().create_unix_server(lambda: ServerConnection(self), path)
        )

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Take no more connections, let running requests end within the grace, end streams, then cut the rest."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.shut_down()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._wait_empty()
        except TimeoutError:
            _log.info("cutting %d connections that did not end in %.1f s", len(self.connections), grace_seconds)
        for connection in list(self.connections):
            connection.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._wait_empty()
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()

    async def _wait_empty(self) -> None:
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()

    # What follows is for ServerConnection.

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run an answer that takes longer; it ends with the server at the latest and raises nothing."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def joined(self, connection: ServerConnection) -> bool:
        """Take note of a new connection; False when there are too many."""
        if self.closing or len(self.connections) >= self.limits.connections:
            return False
        self.connections.add(connection)
        return True

    def left(self, connection: ServerConnection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        if not self.connections:
            self._emptied.set()

    def flush_soon(self, connection: ServerConnection) -> None:
        """Write out what a stream has gathered when this turn of the loop is over: one TLS record, not one an event."""
        if not self._unflushed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        connections, self._unflushed = self._unflushed, []
        for connection in connections:
            connection.flush()

    def usual_lines(self, loop_time: float, extra: bytes) -> bytes:
        """The headers that every answer has, whose own are `extra`: `Date`, made once a second, and `Cache-Control`."""
        if loop_time >= self._date_until:
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self._clock.now()))
            self._date = f"Date: {stamp}\r\n".encode()
            self._usual = self._date + self._caching
            self._date_until = loop_time + 1.0
        return self._date if extra and b"Cache-Control: " in extra else self._usual

    def audit_id_line(self, request: Request | None, extra: bytes) -> bytes:
        """By what an answer can be named to whoever keeps logs: the client's own word for its request, else one of ours."""
        if not self._audit_ids or b"Audit-Id: " in extra:
            return b""
        named = request.headers.get("audit-id") if request is not None else None
        if named:
            return header_lines([("Audit-Id", named[:MAX_AUDIT_ID])])
        self._answers = (self._answers + 1) & 0xFFFF_FFFF_FFFF
        return b"%b%012x\r\n" % (self._audit_ids, self._answers)


def _bind(host: str, port: int, freebind: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if freebind:
            # the same number works on IPv6 sockets through the IP level on every kernel since 2.6
            listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        listener.bind((host, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"port {port} of {host} is taken by another process") from error
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}") from error
    return listener

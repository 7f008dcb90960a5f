"""The road over sockets: a `Transport` to one server, with TLS, a bounded pool of connections, and credentials.

Touches: sockets, and the token file, which is read again when it has changed. Client certificates are part of the
TLS context that the caller makes (`tls.client_context`).

Invariants: every failure to get an answer is a ConnectionError that names the server; a request that the server may
have seen is sent twice only if it is a GET or HEAD; a dead peer is noticed within half a minute.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from carob.transport.client_connection import ClientConnection, ClientStream, Unanswered, request_start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.transport.http import Connection, Request, Response, ResponseStream

CONNECT_SECONDS = 10.0
MAX_IDLE_SECONDS = 60.0
"""Younger than any server's own limit, so that we never send into a connection that is just being closed."""
MAX_STREAMS = 4096
DEAD_PEER_SECONDS = 30
_SAFE_TO_REPEAT = frozenset(("GET", "HEAD"))


class TokenFile:
    """A bearer token in a file that somebody else rotates."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def __call__(self) -> str:
        """The present token. Raises: OSError if the file cannot be read and never was."""
        try:
            found = os.stat(self._path)
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen != self._seen:
                with open(self._path, encoding="utf-8") as file:
                    self._token = file.read().strip()
                self._seen = seen
        except OSError:
            if self._seen is None:
                raise
        return self._token


class SocketTransport:
    """Speaks to the server at `url` (`https://host:port`, an optional path in front of everything).

    `tls`: needed for https. `server_name`: the name in the certificate, if it is not the host. `token` or `token_file`:
    a bearer token. `max_connections`: requests at the same time; further ones wait. Streams and upgrades have their own.
    `dial`: gives a connected socket, where the host is reached by another way than its address.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        token: str = "",
        token_file: str = "",
        max_connections: int = 32,
        dial: Callable[[], Awaitable[socket.socket]] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not a server's address: {url}")
        if parts.scheme == "https" and tls is None:
            raise ValueError(f"{url} needs a TLS context")
        self.url = url
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._base_path = parts.path.rstrip("/")
        self._authority = f"[{self._host}]" if ":" in self._host else self._host
        if parts.port:
            self._authority += f":{parts.port}"
        self._tls = tls if parts.scheme == "https" else None
        self._server_name = server_name
        self._dial = dial
        self._token = TokenFile(token_file) if token_file else None
        self._fixed_token = token
        self._idle: deque[ClientConnection] = deque()
        self._all: set[ClientConnection] = set()
        self._max_connections = max_connections
        self._in_use = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._streams = 0
        self._closed = False
        self._generation = 0

    async def send(self, request: Request) -> Response:
        """The whole answer. Raises: ConnectionError."""
        await self._take_turn()
        try:
            while True:
                connection, fresh = await self._connection()
                try:
                    response = await connection.exchange(request, self._start(request))
                except Unanswered:
                    if fresh or request.method not in _SAFE_TO_REPEAT:
                        raise
                    continue
                except BaseException:
                    connection.abort()
                    raise
                self._put_back(connection)
                return response
        finally:
            self._give_turn()

    async def stream(self, request: Request) -> ResponseStream:
        """The head is there, the body follows. Raises: ConnectionError."""
        self._count_stream()
        try:
            while True:
                connection, fresh = await self._connection()
                try:
                    stream: ClientStream = await connection.open(request, self._start(request))
                except Unanswered:
                    if fresh or request.method not in _SAFE_TO_REPEAT:
                        raise
                    continue
                except BaseException:
                    connection.abort()
                    raise
                stream.released(self._stream_released)
                return stream
        except BaseException:
            self._streams -= 1
            raise

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        """The answer and, after 101, the raw connection. Raises: ConnectionError."""
        self._count_stream()
        connection: ClientConnection | None = None
        try:
            # a fresh connection: an upgrade is never sent twice
            connection = await self._connect()
            response, road = await connection.switch(request, self._start(request))
        except BaseException:
            if connection is not None:
                connection.abort()
            raise
        finally:
            self._streams -= 1
        if road is None:
            self._put_back(connection)
        return response, road

    def reconnect(self) -> None:
        """From now on use new connections, as when credentials have changed: streams are cut, answers still come."""
        self._generation += 1
        while self._idle:
            self._idle.pop().close()
        for connection in list(self._all):
            if connection.streaming:
                connection.abort()

    async def close(self) -> None:
        """Cut every connection; who waits for an answer gets a ConnectionError."""
        self._closed = True
        for connection in list(self._all):
            connection.abort()
        self._idle.clear()

    def _start(self, request: Request) -> bytes:
        token = self._token() if self._token is not None else self._fixed_token
        return request_start(request, self._base_path, self._authority, f"Bearer {token}" if token else "")

    def _count_stream(self) -> None:
        if self._streams >= MAX_STREAMS:
            raise ConnectionError(f"{MAX_STREAMS} streams from {self.url} are open already")
        self._streams += 1

    def _stream_released(self, connection: ClientConnection) -> None:
        self._streams -= 1
        self._put_back(connection)

    async def _take_turn(self) -> None:
        if self._in_use < self._max_connections and not self._waiters:
            self._in_use += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._give_turn()
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _give_turn(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                # the turn goes over to the waiter, so the count stays
                waiter.set_result(None)
                return
        self._in_use -= 1

    async def _connection(self) -> tuple[ClientConnection, bool]:
        """A connection, and whether it is a new one."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            # the youngest first, so that a burst's extra connections grow old and go
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < MAX_IDLE_SECONDS:
                return connection, False
            connection.close()
        return await self._connect(), True

    def _put_back(self, connection: ClientConnection) -> None:
        old = connection.generation != self._generation
        if old or not connection.usable or self._closed or len(self._idle) >= self._max_connections:
            connection.close()
            return
        now = asyncio.get_running_loop().time()
        connection.idle_since = now
        self._idle.append(connection)
        if now - self._idle[0].idle_since > MAX_IDLE_SECONDS:
            self._idle.popleft().close()

    async def _connect(self) -> ClientConnection:
        if self._closed:
            raise ConnectionError("the transport is closed")
        where = f"{self._host}:{self._port}"
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                place: dict[str, Any] = {"host": self._host, "port": self._port}
                if self._dial is not None:
                    place = {"sock": await self._dial()}
                transport, connection = await asyncio.get_running_loop().create_connection(
                    lambda: ClientConnection(self._all.discard),
                    **place,
                    ssl=self._tls,
                    server_hostname=(self._server_name or self._host) if self._tls is not None else None,
                    ssl_shutdown_timeout=1.0 if self._tls is not None else None,
                )
        except TimeoutError as error:
            raise ConnectionError(f"{where} did not answer within {CONNECT_SECONDS:.0f} s") from error
        except ConnectionRefusedError as error:
            raise ConnectionRefusedError(error.errno, f"{where} refused the connection") from error
        except ssl.SSLCertVerificationError as error:
            raise ConnectionError(f"{where} is not whom we trust: {error.verify_message}") from error
        except OSError as error:
            raise ConnectionError(f"cannot connect to {where}: {error.strerror or error}") from error
        connection.generation = self._generation
        _notice_death(transport.get_extra_info("socket"))
        self._all.add(connection)
        return connection


def _notice_death(sock: socket.socket | None) -> None:
    """Make the kernel tell us of a peer that vanished without a word (a cut link, a crashed machine)."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_PEER_SECONDS // 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_SECONDS * 1000)

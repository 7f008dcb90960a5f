"""exec, attach and port-forward on somebody else's runtime: behind the URL that it gave, by SPDY.

Source: kubelet, which proxies to that URL; here the kubelet's own streams end and the runtime's begin.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from carob.api.status import ApiError
from carob.runtime.types import RuntimeFailure
from carob.transport.client import SocketTransport
from carob.transport.spdy_clients import open_spdy_command, open_spdy_port_forward
from carob.transport.stream_clients import ForwardedConnection, PortForward, RemoteCommand
from carob.wire.remotecommand import STDERR, Streams, exit_code_of

NOT_FOUND_CODE, NOT_EXECUTABLE_CODE = 127, 126
_NOT_EXECUTABLE = re.compile(r"permission denied|exec format error", re.IGNORECASE)
_NO_COMMAND = re.compile(r"executable file not found|no such file or directory|is a directory", re.IGNORECASE)
_RUN_BY = re.compile(r"OCI runtime exec failed: .*", re.DOTALL)


def refused_command(message: str) -> tuple[int, bytes] | None:
    """Exit code and words for a command that could not be begun; None where something else went wrong.

    A shell says 127 and 126; runtimes tell it as a failure of their own.
    """
    if "exec failed" not in message:
        return None
    if _NO_COMMAND.search(message):
        code = NOT_FOUND_CODE
    elif _NOT_EXECUTABLE.search(message):
        code = NOT_EXECUTABLE_CODE
    else:
        return None
    found = _RUN_BY.search(message)
    return code, f"{found.group() if found else message}\r\n".encode()


def _split(url: str) -> tuple[SocketTransport, str, str]:
    parts = urlsplit(url)
    return SocketTransport(f"{parts.scheme}://{parts.netloc}"), parts.path, parts.query


async def open_command(url: str, streams: Streams, code: Callable[[], Awaitable[int]] | None = None) -> Command:
    """`code`: how an attached container has ended, as no stream tells. Raises: RuntimeFailure."""
    transport, path, query = _split(url)
    try:
        return Command(transport, await open_spdy_command(transport, path, query, streams), streams.tty, code)
    except (ApiError, OSError) as error:
        await transport.close()
        raise RuntimeFailure(f"failed to open the runtime's stream: {error}") from error


class Command:
    """Implements `Process` over a stream of the runtime's."""

    def __init__(
        self, transport: SocketTransport, command: RemoteCommand, tty: bool, code: Callable[[], Awaitable[int]] | None
    ) -> None:
        self._transport = transport
        self._command = command
        self._tty = tty
        self._code_of = code
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._closed = False

    async def read(self) -> tuple[int, bytes] | None:
        if self._closed or self._code.done():
            return None
        try:
            piece = await self._command.read()
        except OSError:
            piece = None
        if piece is not None or self._closed:
            return piece
        return await self._ended()

    async def _ended(self) -> tuple[int, bytes] | None:
        """The exit code is known; a command that could not be begun says so as its last words."""
        if self._code_of is not None:
            self._finish(await self._code_of())
            return None
        status = self._command.status
        code = exit_code_of(status)
        if code is not None:
            self._finish(code)
            return None
        message = str(status.get("message") or "the command was lost")
        refused = refused_command(message)
        if refused is None:
            refused = (1, f"{message}\r\n".encode())
        self._finish(refused[0])
        return (1 if self._tty else STDERR), refused[1]

    def _finish(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)

    async def write(self, data: bytes) -> None:
        if not self._closed:
            await self._command.write(data)

    async def close_stdin(self) -> None:
        if not self._closed:
            self._command.close_stdin()

    def resize(self, width: int, height: int) -> None:
        if not self._closed:
            self._command.resize(width, height)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._command.close()
            await self._transport.close()


async def open_port(url: str, port: int) -> Port:
    """One connection to a port. Raises: ConnectionError; so may its first read, when nobody listens there."""
    transport, path, query = _split(url)
    try:
        forward = await open_spdy_port_forward(transport, path, query)
        await forward.__aenter__()
    except (ApiError, OSError) as error:
        await transport.close()
        raise ConnectionRefusedError(str(error)) from error
    return Port(transport, forward, forward.connect(port))


class Port:
    """Implements `Duplex` over a session with one connection; closed by the task that opened it."""

    def __init__(self, transport: SocketTransport, forward: PortForward, connection: ForwardedConnection) -> None:
        self._transport = transport
        self._forward = forward
        self._connection = connection
        self._closed = False

    async def read(self) -> bytes:
        return await self._connection.read()

    async def write(self, data: bytes) -> None:
        await self._connection.write(data)

    async def write_eof(self) -> None:
        await self._connection.write_eof()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._connection.close()
        await self._forward.__aexit__(None, None, None)
        await self._transport.close()

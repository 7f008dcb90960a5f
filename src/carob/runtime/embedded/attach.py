"""The streams of a container's own first process, through conmon's attach socket.

Messages on the socket: one byte that names the stream (2 standard output, 3 standard error), then its bytes; what we
send goes to standard input as it is. Source: conmon src/conn_sock.c.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from carob.host.events import Waits
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import Phase
from carob.runtime.embedded.state import Container
from carob.runtime.types import RuntimeFailure

# conmon reads at most 32 KiB of a message and drops the rest
_MESSAGE_BYTES = 8 * 1024
_RECEIVE_BYTES = 64 * 1024
_STREAMS = {2: 1, 3: 2}


class AttachProcess:
    """Implements `Process` over conmon's socket."""

    def __init__(self, parts: Parts, container: Container, connection: socket.socket) -> None:
        self._parts = parts
        self._container = container
        self._connection = connection
        self._waits = Waits()

    async def read(self) -> tuple[int, bytes] | None:
        while self._connection.fileno() >= 0:
            try:
                message = self._connection.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                await self._waits.readable(self._connection.fileno())
                continue
            except ConnectionError:
                return None
            if not message:
                return None
            if message[0] in _STREAMS and len(message) > 1:
                return _STREAMS[message[0]], message[1:]
        return None

    async def write(self, data: bytes) -> None:
        if not self._container.record.config.stdin:
            return
        position = 0
        while position < len(data) and self._connection.fileno() >= 0:
            piece = data[position : position + _MESSAGE_BYTES]
            try:
                self._connection.send(piece)
            except BlockingIOError:
                await self._waits.writable(self._connection.fileno())
                continue
            except OSError as error:
                if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    return
                raise
            position += len(piece)

    async def close_stdin(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def resize(self, width: int, height: int) -> None:
        if self._container.record.config.tty:
            with suppress(OSError):
                self._parts.conmon.resize(self._container.record.id, width, height)

    async def wait(self) -> int:
        await self._container.ended.wait()
        return self._container.record.exit_code

    async def close(self) -> None:
        self._waits.abandon()
        self._connection.close()


async def attach(parts: Parts, container: Container) -> AttachProcess:
    """Raises: RuntimeFailure when the container does not run."""
    record = container.record
    if record.phase not in (Phase.RUNNING, Phase.CREATED) or record.monitor is None:
        raise RuntimeFailure(f'container "{record.id}" is not running')
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        # the path of a socket may be 107 bytes long, ours is longer: go there by a descriptor
        folder = os.open(parts.places.bundle(record.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder}/attach")
        finally:
            os.close(folder)
        connection.setblocking(False)
    except OSError as error:
        connection.close()
        raise RuntimeFailure(f'failed to attach to container "{record.id}": {error}') from error
    return AttachProcess(parts, container, connection)

"""A connection to a port inside a sandbox: the socket is made by a thread inside, and used on our own loop."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from functools import partial

from carob.host.types import CLONE_NEWNET
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import SandboxRecord
from carob.runtime.types import NamespaceMode

_PIECE_BYTES = 64 * 1024
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class StreamDuplex:
    """Implements `Duplex`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(_PIECE_BYTES)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        if self._writer.can_write_eof():
            with suppress(OSError):
                self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def connect(parts: Parts, record: SandboxRecord, port: int) -> StreamDuplex:
    """To `localhost:port` as the Pod's own processes see it, IPv4 first. Raises: ConnectionError."""
    words: list[str] = []
    for family, address in _LOOPBACK:
        try:
            inside = await parts.threads.run_apart(partial(_socket_inside, parts, record, family))
        except OSError as error:
            words.append(f"{address}: {os.strerror(error.errno or 0).lower()}")
            continue
        try:
            await asyncio.get_running_loop().sock_connect(inside, (address, port))
        except OSError as error:
            inside.close()
            words.append(f"dial tcp {address}: connect: {os.strerror(error.errno or 0).lower()}")
            continue
        reader, writer = await asyncio.open_connection(sock=inside)
        return StreamDuplex(reader, writer)
    raise ConnectionError(f"failed to connect to localhost:{port} inside sandbox {record.id}, {', '.join(words)}")


def _socket_inside(parts: Parts, record: SandboxRecord, family: socket.AddressFamily) -> socket.socket:
    if record.config.network is not NamespaceMode.NODE:
        parts.host.setns(parts.places.namespace(record.id, "net"), CLONE_NEWNET)
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.setblocking(False)
    return made

"""Names that are not the cluster's: asked of the node's own resolvers, and kept for as long as they may be.

Every question goes out from a fresh port with a fresh id. Limits: questions on their way at once, answers kept.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

from carob.base.log import get_logger
from carob.network.dns.messages import MAX_TCP_BYTES, Question, aged, question_length, time_to_live

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.base.clock import Clock
    from carob.base.ids import Randomness

MAX_AT_ONCE = 256
MAX_KEPT = 4096
LONGEST_KEPT_SECONDS = 30
TRY_SECONDS = 2.0
PORT = 53
Resolver = tuple[str, int]
"""Address and port."""
_log = get_logger("dns")


class Forwarder:
    """`ask` asks one resolver after the other. `servers` is asked at every question, with its name."""

    def __init__(self, servers: Callable[[str], Sequence[Resolver]], clock: Clock, randomness: Randomness) -> None:
        self._servers = servers
        self._clock = clock
        self._randomness = randomness
        self._on_the_way = 0
        self._kept: dict[tuple[str, str, int], tuple[float, float, bytes]] = {}

    async def ask(self, question: Question, data: bytes) -> bytes | None:
        """The answer, with the asker's own id; None if nobody gave one."""
        # what a client can take and how it asks is part of the question
        key = question.name, question.kind, int.from_bytes(data[2:4], "big") << 16 | question.room_bytes
        kept = self._kept.get(key)
        now = self._clock.monotonic()
        if kept is not None:
            since, until, answer = kept
            if now < until:
                return data[:2] + aged(answer, int(now - since))[2:]
            del self._kept[key]
        if self._on_the_way >= MAX_AT_ONCE:
            return None
        self._on_the_way += 1
        try:
            found = await self._ask_all(question.name, data)
        finally:
            self._on_the_way -= 1
        if found is None:
            return None
        seconds = time_to_live(found, LONGEST_KEPT_SECONDS)
        if seconds:
            while len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (now, now + seconds, found)
        return data[:2] + found[2:]

    async def _ask_all(self, name: str, data: bytes) -> bytes | None:
        for server in self._servers(name):
            own = self._randomness.token(2) + data[2:]
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    answer = await self._ask_udp(server, own)
                    if answer[2] & 0x02:
                        answer = await self._ask_tcp(server, own)
                    return answer
            except (OSError, EOFError, TimeoutError) as error:
                _log.debug("resolver %s:%d: %r", *server, error)
        return None

    async def _ask_udp(self, server: Resolver, data: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bytes] = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Asked(data, waiting), remote_addr=server)
        try:
            transport.sendto(data)
            return await waiting
        finally:
            transport.close()

    async def _ask_tcp(self, server: Resolver, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*server, limit=MAX_TCP_BYTES + 2)
        try:
            writer.write(struct.pack("!H", len(data)) + data)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()


class _Asked(asyncio.DatagramProtocol):
    """Waits for the answer to one question; believes only one with its id and its question."""

    def __init__(self, data: bytes, waiting: asyncio.Future[bytes]) -> None:
        self._waiting = waiting
        self._id = data[:2]
        self._question = data[12 : 12 + question_length(data)].lower()

    def datagram_received(self, data: bytes, address: object) -> None:
        question = data[12 : 12 + len(self._question)].lower()
        mine = data[:2] == self._id and data[2:3] >= b"\x80" and question == self._question
        if mine and not self._waiting.done():
            self._waiting.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self._waiting.done():
            self._waiting.set_exception(error)

"""The DNS server of a node: UDP and TCP on the cluster's DNS address.

The zone's own names are answered at once, without a task; equal questions get the same packet again until the zone
changes, or one of a few in turn that begin with different addresses. Limits: packets kept, questions forwarded at once,
TCP connections.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, cast

from carob.base.log import get_logger
from carob.base.tasks import TaskGroup
from carob.network.dns import messages
from carob.network.dns.messages import MAX_TCP_BYTES, SERVER_FAILURE, Question
from carob.network.dns.zone import ADDRESS_KINDS, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.network.dns.forward import Forwarder
    from carob.network.dns.zone import Answer, Zone

MAX_PACKETS_KEPT = 8192
MAX_TURNS = 8
"""In how many orders the addresses of a name are told."""
MAX_CONNECTIONS = 128
IDLE_SECONDS = 10.0
PORT = 53
_log = get_logger("dns")


class DnsServer:
    """`open`, then `run` until cancelled, then `close`."""

    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._packets: dict[bytes, bytes | _Turns] = {}
        self._generation = zone.generation
        self._group: TaskGroup | None = None
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._connections = 0

    async def open(self, addresses: Sequence[str], port: int = PORT) -> None:
        """Listen on these, UDP and TCP. Raises: OSError, and then on none."""
        loop = asyncio.get_running_loop()
        try:
            for address in addresses:
                transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(address, port))
                self._transports.append(transport)
                self._servers.append(await asyncio.start_server(self._serve, address, port))
        except OSError:
            self.close()
            raise

    async def run(self) -> None:
        """Let questions be forwarded; until cancelled."""
        try:
            async with TaskGroup() as group:
                self._group = group
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None

    def close(self) -> None:
        """Stop listening; idempotent."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()

    def received(self, data: bytes, client: Any, transport: asyncio.DatagramTransport) -> None:
        """A question over UDP, which came by `transport`."""
        kept = self._kept(data)
        if isinstance(kept, _Turns):
            kept = kept.next()
        if kept is not None:
            transport.sendto(data[:2] + kept, client)
            return
        question = messages.read_question(data)
        if question is None:
            return
        answer = self._answer_now(question, self._turn(data))
        if answer is None:
            assert isinstance(question, Question)
            if self._group is not None:
                self._group.spawn(self._answer_later(question, data, client, transport), "dns question")
            return
        if isinstance(question, Question):
            answer = messages.fit(answer, question.room_bytes)
            self._keep(question, data, answer)
        transport.sendto(answer, client)

    async def _answer_later(
        self, question: Question, data: bytes, client: Any, transport: asyncio.DatagramTransport
    ) -> None:
        answer = messages.fit(await self._elsewhere(question, data), question.room_bytes)
        if not transport.is_closing():
            transport.sendto(answer, client)

    def _answer_now(self, question: Question | bytes, turn: int) -> bytes | None:
        """The answer if nobody else must be asked; `turn` says whose address comes first."""
        if isinstance(question, bytes):
            return question
        if not self._zone.covers(question.name):
            return None
        answer = self._zone.lookup(question.name, question.kind)
        if answer.target and question.kind in ("A", "AAAA"):
            return None
        answer = answer._replace(records=turned(answer.records, turn))
        return messages.write_answer(question, answer, self._zone.domain)

    async def _elsewhere(self, question: Question, data: bytes) -> bytes:
        if not self._zone.covers(question.name):
            found = await self._forwarder.ask(question, data)
            return messages.refusal(question.message, SERVER_FAILURE) if found is None else found
        return await self._follow(question, self._zone.lookup(question.name, question.kind))

    async def _follow(self, question: Question, answer: Answer) -> bytes:
        """An alias of ours to somebody else's name: the name's addresses go along."""
        asked = messages.address_question(answer.target, question.kind)
        inner = messages.read_question(asked)
        assert isinstance(inner, Question)
        found = await self._forwarder.ask(inner, asked)
        more = messages.answers_of(found) if found is not None else []
        return messages.write_answer(question, answer, self._zone.domain, more)

    # -- packets kept

    def _kept(self, data: bytes) -> bytes | _Turns | None:
        if self._generation != self._zone.generation:
            self._packets.clear()
            self._generation = self._zone.generation
        return self._packets.get(data[2:])

    def _turn(self, data: bytes) -> int:
        """How many answers to this question are kept."""
        kept = self._kept(data)
        return len(kept.packets) if isinstance(kept, _Turns) else 0

    def _keep(self, question: Question, data: bytes, answer: bytes) -> None:
        kept = self._packets.get(data[2:])
        if isinstance(kept, _Turns):
            kept.packets.append(answer[2:])
            return
        if len(self._packets) >= MAX_PACKETS_KEPT:
            self._packets.clear()
        records = self._zone.lookup(question.name, question.kind).records
        turns = min(MAX_TURNS, sum(record.kind in ADDRESS_KINDS for record in records))
        self._packets[data[2:]] = _Turns(turns, answer[2:]) if turns > 1 else answer[2:]

    # -- TCP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    data = await reader.readexactly(length)
                question = messages.read_question(data)
                if question is None:
                    return
                # clients choose the number of a question by chance
                answer = self._answer_now(question, int.from_bytes(data[:2], "big"))
                if answer is None:
                    assert isinstance(question, Question)
                    answer = await self._elsewhere(question, data)
                writer.write(struct.pack("!H", len(answer)) + answer[:MAX_TCP_BYTES])
                await writer.drain()
        except (OSError, EOFError, TimeoutError) as error:
            _log.debug("client over TCP: %r", error)
        finally:
            self._connections -= 1
            writer.close()


class _Turns:
    """Packets that answer one question, each with another address first."""

    def __init__(self, count: int, first: bytes) -> None:
        self.packets = [first]
        self._count = count
        self._next = 0

    def next(self) -> bytes | None:
        """Whose turn it is; None while one is still to be made."""
        if len(self.packets) < self._count:
            return None
        self._next = (self._next + 1) % self._count
        return self.packets[self._next]


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._server.received(data, address, self._transport)

    def error_received(self, error: Exception) -> None:
        _log.debug("%s", error)

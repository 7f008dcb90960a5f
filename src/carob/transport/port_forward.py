"""port-forward at work: every connection that the client asks for is joined to a connection to the port.

Invariants: what waits for a slow port is bounded (then the whole session waits, as TCP would); one connection's
failure is told on its own error stream and costs no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from carob.base.log import get_logger
from carob.base.tasks import TaskGroup
from carob.transport.inbox import Inbox
from carob.wire.errors import ProtocolError
from carob.wire.portforward import Dropped, Left, Opened, Received, ServerSession

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from carob.transport.http import Connection
    from carob.wire.portforward import ServerEvent

_log = get_logger("streams")

TO_PORT_LIMIT = 4 << 20


class Duplex(Protocol):
    """A connection to a port; the runtime's `Duplex` fits."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; waits while the port does not read."""
        ...

    async def write_eof(self) -> None:
        """No more data from us."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


async def forward_ports(
    connection: Connection, session: ServerSession, dial: Callable[[int], Awaitable[Duplex]], target: str
) -> None:
    """Run a session until its client leaves."""
    await _Forwarding(connection, session, dial, target).run()


class _Forwarding:
    """One session with all of its connections."""

    def __init__(
        self, connection: Connection, session: ServerSession, dial: Callable[[int], Awaitable[Duplex]], target: str
    ) -> None:
        self._connection = connection
        self._session = session
        self._dial = dial
        self._target = target
        self._inboxes: dict[int, Inbox] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Returns when the client has left."""
        async with TaskGroup() as group:
            for event in self._session.open():
                await self._on_event(event, group)
            self._flush()
            try:
                await self._read(group)
            finally:
                group.cancel()
        self._session.leave()
        self._flush()

    async def _read(self, group: TaskGroup) -> None:
        while data := await self._connection.read():
            try:
                events = self._session.receive(data)
            except ProtocolError as error:
                _log.info("port-forward: %s", error)
                return
            self._flush()
            for event in events:
                if isinstance(event, Left):
                    return
                await self._on_event(event, group)

    async def _on_event(self, event: ServerEvent, group: TaskGroup) -> None:
        if isinstance(event, Opened):
            inbox = self._inboxes[event.number] = Inbox(TO_PORT_LIMIT)
            task = group.spawn(self._forward(event.number, event.port, inbox), f"port-forward {event.port}")
            self._tasks[event.number] = task
        elif isinstance(event, Received):
            found = self._inboxes.get(event.number)
            if found is not None:
                if event.data:
                    await found.put(event.data)
                if event.end:
                    found.end()
        elif isinstance(event, Dropped):
            dropped = self._tasks.get(event.number)
            if dropped is not None:
                dropped.cancel()

    async def _forward(self, number: int, port: int, inbox: Inbox) -> None:
        error = ""
        try:
            duplex = await self._dial(port)
            try:
                async with TaskGroup() as group:
                    group.spawn(_copy_in(inbox, duplex), f"to port {port}")
                    await self._copy_out(number, duplex)
                    # older clients wait for the end of the error stream before they close their own side
                    group.cancel()
            finally:
                await duplex.close()
        except OSError as failure:
            error = f"error forwarding port {port} to {self._target}: {failure}"
        finally:
            inbox.end()
            self._inboxes.pop(number, None)
            self._tasks.pop(number, None)
            self._session.close(number, error)
            self._flush()

    async def _copy_out(self, number: int, duplex: Duplex) -> None:
        while data := await duplex.read():
            self._session.send(number, data)
            self._flush()
            await self._connection.drain()
        self._session.end(number)
        self._flush()

    def _flush(self) -> None:
        data = self._session.take()
        if data:
            self._connection.write(data)


async def _copy_in(inbox: Inbox, duplex: Duplex) -> None:
    while data := await inbox.get():
        await duplex.write(data)
    await duplex.write_eof()

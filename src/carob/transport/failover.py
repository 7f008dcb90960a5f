"""The road to several servers that give the same answers: the one that answered last, else the next.

A request that a server may have carried out is not sent to another one, unless it only reads.

Touches: only the roads that it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from carob.transport.http import Connection, Request, Response, ResponseStream, Transport

T = TypeVar("T")

_SAFE_TO_REPEAT = frozenset(("GET", "HEAD"))


class FailoverTransport:
    """A `Transport` over one per server; the first is tried first."""

    def __init__(self, roads: Sequence[Transport]) -> None:
        if not roads:
            raise ValueError("no server is named")
        self._roads = roads
        self._at = 0

    async def send(self, request: Request) -> Response:
        """The whole answer. Raises: ConnectionError when no server gives one."""
        return await self._somewhere(request, lambda road: road.send(request))

    async def stream(self, request: Request) -> ResponseStream:
        """The head is there, the body follows. Raises: ConnectionError."""
        return await self._somewhere(request, lambda road: road.stream(request))

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        """The answer and, after 101, the raw connection. Raises: ConnectionError."""
        return await self._somewhere(request, lambda road: road.upgrade(request))

    async def close(self) -> None:
        """Close every road."""
        for road in self._roads:
            await road.close()

    async def _somewhere(self, request: Request, ask: Callable[[Transport], Awaitable[T]]) -> T:
        for tries_left in range(len(self._roads) - 1, -1, -1):
            at = self._at
            try:
                return await ask(self._roads[at])
            except ConnectionError as error:
                if self._at == at:
                    self._at = (at + 1) % len(self._roads)
                unsent = isinstance(error, ConnectionRefusedError)
                if not tries_left or not (unsent or request.method in _SAFE_TO_REPEAT):
                    raise
        raise AssertionError("the last try returns or raises")

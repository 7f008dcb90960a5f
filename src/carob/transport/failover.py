"""The road to several servers that give the same answers: the one that answered last, else the next.

A request that a server may have carried out is not sent to another one, unless it only reads. A server that is silent
for too long counts as one that cannot be reached: a machine that has lost its power refuses nothing.

Touches: only the roads that it is given.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from carob.transport.http import Connection, Request, Response, ResponseStream, Transport

T = TypeVar("T")

_SAFE_TO_REPEAT = frozenset(("GET", "HEAD"))


class FailoverTransport:
    """A `Transport` over one per server; the first is tried first.

    `patience_seconds`: how long a server may take to answer, or a stream to begin; 0: for ever.
    """

    def __init__(self, roads: Sequence[Transport], *, patience_seconds: float = 0.0) -> None:
        if not roads:
            raise ValueError("no server is named")
        self._roads = tuple(roads)
        self._at = 0
        self._patience = patience_seconds or None

    @property
    def roads(self) -> tuple[Transport, ...]:
        """One per server, in their order."""
        return self._roads

    def replace(self, roads: Sequence[Transport]) -> None:
        """From now on these: the one that is in use stays in use if it is among them. Nothing is closed."""
        if not roads:
            raise ValueError("no server is named")
        present = self._roads[self._at]
        self._roads = tuple(roads)
        self._at = self._roads.index(present) if present in self._roads else 0

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
        tried: list[Transport] = []
        while True:
            # they may be replaced while we wait
            road = self._roads[self._at]
            tried.append(road)
            try:
                return await self._patiently(ask(road))
            except ConnectionError as error:
                self._leave(road)
                unsent = isinstance(error, ConnectionRefusedError)
                others = [other for other in self._roads if other not in tried]
                if not others or not (unsent or request.method in _SAFE_TO_REPEAT):
                    raise
                if self._roads[self._at] in tried:
                    self._at = self._roads.index(others[0])

    async def _patiently(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._patience):
                return await answer
        except TimeoutError as error:
            raise ConnectionResetError(f"the server did not answer within {self._patience:g} s") from error

    def _leave(self, road: Transport) -> None:
        """The next one, unless somebody else has gone on already."""
        if self._roads[self._at] is road:
            self._at = (self._at + 1) % len(self._roads)

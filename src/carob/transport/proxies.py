"""Passing requests on to another server: upgrades with both directions of bytes, and answers that stream.

The API server uses these towards the kubelets. Nothing is understood on the way and nothing is gathered: each
direction waits for whoever is slow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from carob.base.tasks import TaskGroup
from carob.transport.client_connection import HOP_BY_HOP
from carob.transport.http import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from carob.transport.http import Connection, ResponseStream, Sink, Transport

# The credentials of the client are not the other server's business.
_NOT_PASSED_ON = HOP_BY_HOP | {"authorization"}


def pass_on_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A client's headers as they may go to the other server: without its credentials and its connection's matters."""
    return {name: value for name, value in headers.items() if name not in _NOT_PASSED_ON and value != ""}


async def proxy_upgrade(request: Request, transport: Transport) -> Response:
    """Ask the other server for the upgrade that `request` asks for, and join the two connections.

    Shape: `request` is already what the other server shall see (path, headers by `pass_on_headers`). An answer other
    than 101 is handed back as it is. Raises: ConnectionError when the other server does not answer.
    """
    response, backend = await transport.upgrade(request)
    if backend is None:
        return response
    road = backend

    async def run(client: Connection) -> None:
        await join(client, road)

    return Response(101, headers=response.headers, upgrade=run)


async def join(one: Connection, other: Connection) -> None:
    """Copy both ways until either end is done; what that end has sent still reaches the other."""
    try:
        async with TaskGroup() as group:
            copies = {group.spawn(_copy(one, other), "proxy out"), group.spawn(_copy(other, one), "proxy in")}
            while copies:
                done, copies = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    break
            group.cancel()
    finally:
        one.close()
        other.close()


async def _copy(source: Connection, target: Connection) -> bool:
    """True when the source has ended; False when the target has gone, of which something may still be unread."""
    while data := await source.read():
        target.write(data)
        try:
            await target.drain()
        except ConnectionError:
            return False
    return True


async def proxy_stream(
    request: Request, transport: Transport, spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
) -> Response:
    """Hand on an answer while it is still being made (followed logs, a Pod's web page).

    `spawn` starts the copying in a task group of the caller's (`TaskGroup.spawn`). An answer that the other server
    cuts is cut for the client, too. Raises: ConnectionError when the other server does not answer.
    """
    stream = await transport.stream(request)
    headers = {name: value for name, value in stream.headers.items() if name not in HOP_BY_HOP and name != "date"}
    return hand_on(stream, headers, spawn, request.path)


def hand_on(
    stream: ResponseStream,
    headers: Mapping[str, str],
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    path: str,
    first: bytes = b"",
) -> Response:
    """An answer with these headers whose body is `first` and then the rest of a stream. See `proxy_stream`."""
    passed = [(name, value) for name, value in headers.items() if name != "content-type"]

    def begin(sink: Sink) -> None:
        task = spawn(_pump(stream, sink, first), f"proxy {path}")
        # a task that is cancelled before its first step would never close the stream
        loop = asyncio.get_running_loop()

        def left() -> None:
            loop.call_soon(task.cancel)

        sink.on_close(left)

    return Response(stream.status, content_type=headers.get("content-type", ""), headers=passed, stream=begin)


async def _pump(stream: ResponseStream, sink: Sink, first: bytes) -> None:
    try:
        async with stream:
            if first:
                sink.write(first)
                await sink.drain()
            while data := await stream.read():
                sink.write(data)
                await sink.drain()
        sink.close()
    except ConnectionError:
        sink.abort()

"""The road within the process: a `Transport` that calls a `Handler`, and a pipe for upgrades.

Parts of the server speak to the API over this with the same words as over TLS, but without sockets, framing or
authentication: the user is given when the road is built. Touches nothing outside of the process.

Invariants: an answer that the handler cut (`Sink.abort`) is a ConnectionError for the reader, never a short answer;
a reader that leaves is told to the handler by `Sink.on_close`; pipes are bounded (`pipe.PIPE_LIMIT`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from carob.api.status import ApiError, internal
from carob.base.log import get_logger
from carob.transport.heads import encode_target
from carob.transport.http import Chunk, Request, Response
from carob.transport.pipe import pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from carob.api.user import UserInfo
    from carob.transport.http import Connection, Handler, ResponseStream, Upgrade

_log = get_logger("transport")

BODY_LIMIT = 3 * 1024 * 1024
STREAM_LOW_WATER = 64 << 10


class MemoryTransport:
    """Calls `handler` as `user`. A request that names its own user keeps it (impersonation within the process)."""

    def __init__(self, handler: Handler, user: UserInfo) -> None:
        self._handler = handler
        self._user = user
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: set[MemoryStream] = set()
        self._closed = False

    async def send(self, request: Request) -> Response:
        """The whole answer."""
        response = await self._call(request)
        body = b""
        if response.stream is not None:
            async with self._open(response) as stream:
                pieces = []
                while piece := await stream.read():
                    pieces.append(piece)
            body = b"".join(pieces)
        elif response.segments is not None:
            body = b"".join(response.segments)
        else:
            body = response.body
        if request.method == "HEAD":
            body = b""
        headers = [(name.lower(), value) for name, value in response.headers]
        return Response(response.status, body, response.content_type, headers)

    async def stream(self, request: Request) -> ResponseStream:
        """The answer's head; its body is read as it comes."""
        return self._open(await self._call(request))

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        """A pipe to the handler's `upgrade`, or the answer with which it declined."""
        response = await self._call(request)
        if response.upgrade is None:
            return response, None
        ours, theirs = pipe()
        task = asyncio.get_running_loop().create_task(_run_upgrade(response.upgrade, theirs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # a task that is cancelled before its first step closes nothing itself
        task.add_done_callback(lambda _: theirs.close())
        headers = [(name.lower(), value) for name, value in response.headers]
        return Response(101, headers=headers), ours

    async def close(self) -> None:
        """Cut every stream and every pipe."""
        self._closed = True
        for stream in list(self._streams):
            stream.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _call(self, request: Request) -> Response:
        if self._closed:
            raise ConnectionError("the transport is closed")
        if len(request.body) > BODY_LIMIT:
            text = f"Request entity too large: limit is {BODY_LIMIT}"
            error = ApiError(413, "RequestEntityTooLarge", text)
            return Response(error.code, error.body())
        mine = Request(
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body,
            request.user or self._user,
            peer_address="127.0.0.1",
            raw_target=request.raw_target or encode_target(request.path, request.query),
        )
        try:
            result = self._handler(mine)
            return result if isinstance(result, Response) else await result
        except Exception:  # noqa: BLE001 - as the server over sockets does: a bug of the handler costs one request
            _log.exception("%s %s failed", request.method, request.path)
            error = internal("the server met an unexpected condition; its log says more")
            return Response(error.code, error.body())

    def _open(self, response: Response) -> MemoryStream:
        stream = MemoryStream(response, self._streams.discard)
        self._streams.add(stream)
        return stream


class MemoryStream:
    """Both ends of one streamed answer: the handler's `Sink` and the client's `ResponseStream`."""

    def __init__(self, response: Response, left: Callable[[MemoryStream], None]) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {
            "content-type": response.content_type,
            **{name.lower(): value for name, value in response.headers},
        }
        self._left = left
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._cut = False
        self._reader: asyncio.Future[None] | None = None
        self._drainers: list[asyncio.Future[None]] = []
        self._callbacks: list[Callable[[], None]] = []
        if response.stream is not None:
            response.stream(self)
        else:
            self._pieces.extend(response.segments if response.segments is not None else (response.body,))
            self._size = sum(map(len, self._pieces))
            self._end()

    # The client's end.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces.clear()
        self._size = 0
        self._end()
        self._left(self)

    async def read(self) -> bytes:
        """Everything that has come; empty at the proper end. Raises: ConnectionError when it was cut."""
        while not self._pieces:
            if self._cut:
                raise ConnectionResetError("the answer was cut")
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._wake_drainers()
        return data or await self.read()

    # The handler's end.

    def write(self, data: bytes | Chunk) -> None:
        """Send a piece; ignored once the sink is closed."""
        if self._ended:
            return
        piece = data.payload if isinstance(data, Chunk) else data
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
            self._wake_reader()

    @property
    def buffered(self) -> int:
        """Bytes that were written and not read."""
        return self._size

    async def drain(self) -> None:
        """Return when little is buffered. Raises: ConnectionError when the reader has gone."""
        while self._size > STREAM_LOW_WATER and not self._ended:
            waiter = asyncio.get_running_loop().create_future()
            self._drainers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._drainers:
                    self._drainers.remove(waiter)
        if self._ended:
            raise ConnectionResetError("the reader has gone")

    def close(self) -> None:
        """End the answer properly; idempotent."""
        self._end()

    def abort(self) -> None:
        """Cut it: the reader gets a ConnectionError."""
        self.cut()

    def cut(self) -> None:
        """End at once, from whichever side."""
        if not self._ended:
            self._cut = True
            self._pieces.clear()
            self._size = 0
            self._end()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` once at the end; at once if that has been."""
        if self._ended:
            callback()
        else:
            self._callbacks.append(callback)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._wake_reader()
        self._wake_drainers()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - one watcher's mistake must not keep the others from being told
                _log.exception("a callback of a closed stream raised")

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_drainers(self) -> None:
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)


async def _run_upgrade(upgrade: Upgrade, end: Connection) -> None:
    try:
        await upgrade(end)
    except ConnectionError:
        end.abort()
    except asyncio.CancelledError:
        end.abort()
        raise
    except Exception:  # noqa: BLE001 - as the server over sockets does
        _log.exception("an upgraded connection failed")
        end.abort()
    else:
        end.close()

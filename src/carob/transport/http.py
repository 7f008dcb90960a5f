"""What a request and an answer are, on whichever road they travel: TLS on a socket or a call within the process.

The API server and the kubelet's server are both one `Handler`. The client speaks to a `Transport`; there is one over
sockets and one that calls a `Handler` in the same process (`transport/memory.py`), with the same semantics.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from msgspec import Struct, field

from carob.api.user import UserInfo


class Chunk:
    """Bytes that many streams send: framed for HTTP once, however many watchers there are."""

    __slots__ = ("_framed", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._framed: bytes | None = None

    @property
    def framed(self) -> bytes:
        """The payload as one chunk of `Transfer-Encoding: chunked`."""
        if self._framed is None:
            self._framed = b"%x\r\n%b\r\n" % (len(self.payload), self.payload)
        return self._framed


class Request(Struct):
    """One request.

    Shape: `path` is percent-decoded except for `%2F`, without the query; `query` is the raw text behind `?`;
    header names are lower case, repeated headers are joined by `, `.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    user: UserInfo | None = None
    """Set by the in-memory transport, which needs no authentication, and of WebSockets when their token was taken away."""
    peer_certificate: bytes | None = None
    """DER of the verified client certificate, if there was one."""
    peer_address: str = ""
    raw_target: str = ""
    """The request target as it came, for proxies that must pass it on unchanged."""
    from_afar: bool = False
    """Whether the peer has another address than this end of the connection, so is probably another machine."""

    @property
    def wants_websocket(self) -> bool:
        """Whether the client asks to go on over a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"


class Sink(Protocol):
    """Where a streamed answer goes. `write` never blocks: watch `buffered` and close who is too slow."""

    def write(self, data: bytes | Chunk) -> None:
        """Send a piece; ignored once the sink is closed."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes accepted but not yet taken by the peer."""
        ...

    async def drain(self) -> None:
        """Return when little is buffered. Raises: ConnectionError when the peer has gone."""
        ...

    def close(self) -> None:
        """End the answer properly; idempotent."""
        ...

    def abort(self) -> None:
        """Cut the connection, so that the peer knows the answer is incomplete."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the peer has gone or the sink was closed; at once if it is closed already."""
        ...


class Connection(Protocol):
    """The raw road after `101 Switching Protocols`."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end of the peer's data."""
        ...

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None:
        """Return when little is buffered. Raises: ConnectionError when the peer has gone."""
        ...

    def write_eof(self) -> None:
        """No more data from us, where the road can say so (TLS cannot)."""
        ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


Stream: TypeAlias = Callable[[Sink], None]
Upgrade: TypeAlias = Callable[[Connection], Awaitable[None]]


class Response(Struct):
    """One answer: exactly one of `body`, `segments`, `stream`, `upgrade` is used.

    - `body`: the whole answer.
    - `segments` with `length` (bytes): pieces made while they are sent, with back-pressure (large lists).
    - `stream`: called with the sink after the head is sent (watches, followed logs). It must not block.
    - `upgrade`: with status 101; runs as a task that owns the connection until it returns.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
    segments: Iterator[bytes] | None = None
    length: int = 0
    stream: Stream | None = None
    upgrade: Upgrade | None = None


Handler: TypeAlias = Callable[[Request], Response | Awaitable[Response]]
"""Answers a request. What needs no waiting (a GET from the cache) is answered without a task: the handler then returns
the Response itself. A handler turns its own errors into answers; what it raises is a bug and becomes a 500."""


class ResponseStream(Protocol):
    """An answer whose body is read as it comes. Use with `async with`; leaving it closes the stream."""

    status: int
    headers: Mapping[str, str]

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def read(self) -> bytes:
        """Some bytes; empty at the proper end. Raises: ConnectionError when it was cut."""
        ...


class Transport(Protocol):
    """How a client reaches a server. Raises ConnectionError where no answer came."""

    async def send(self, request: Request) -> Response:
        """The whole answer: `status`, `headers`, `body`."""
        ...

    async def stream(self, request: Request) -> ResponseStream:
        """The answer's head is there; the body follows."""
        ...

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        """Ask for another protocol; the connection is None where the server did not answer 101."""
        ...

    async def close(self) -> None:
        """Give back every connection."""
        ...

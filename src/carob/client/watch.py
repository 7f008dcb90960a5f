"""A watch: frames of one JSON object a line, decoded as they come.

Invariant: an object with a network connection behind it, so it is entered and left; nothing is read ahead.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from carob.api import codec
from carob.api.status import ApiError

if TYPE_CHECKING:
    from types import TracebackType

    from carob.transport.http import Request, ResponseStream, Transport

T = TypeVar("T")

ADDED, MODIFIED, DELETED, BOOKMARK, ERROR = "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark behind the initial events."""

MAX_FRAME_BYTES = 64 << 20
"""A line longer than this is no API object."""


class WatchEvent(Generic[T]):
    """One change. `object` is an ApiError when `type` is ERROR; a bookmark's object has only a resourceVersion."""

    __slots__ = ("object", "resource_version", "type")

    def __init__(self, type_: str, object_: T | ApiError, resource_version: str) -> None:
        self.type = type_
        self.object = object_
        self.resource_version = resource_version


class _Frame(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")


_frames = msgspec.json.Decoder(_Frame)
_typed_frames: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def _frames_of(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    """Decodes a frame and the object of `kind` in it in one go."""
    decoder = _typed_frames.get(kind)
    if decoder is None:
        frame = msgspec.defstruct(f"{kind.__name__}Frame", [("type", str), ("object", kind)], gc=False)
        decoder = _typed_frames[kind] = msgspec.json.Decoder(frame, dec_hook=codec.decode_hook)
    return decoder


class Watch(Generic[T]):
    """Made by `Client.watch`. `async with … as w`, then `async for event in w`."""

    def __init__(self, transport: Transport, request: Request, kind: type[T]) -> None:
        self._transport = transport
        self._request = request
        self._kind = kind
        self._frames = _frames_of(kind)
        self._stream: ResponseStream | None = None
        self._lines: deque[bytes] = deque()
        self._rest = b""

    async def __aenter__(self) -> Self:
        stream = await self._transport.stream(self._request)
        await stream.__aenter__()
        if stream.status >= 300:
            try:
                body = b""
                while piece := await stream.read():
                    body += piece
            finally:
                await stream.__aexit__(None, None, None)
            raise ApiError.from_body(stream.status, body)
        self._stream = stream
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent[T]:
        while not self._lines:
            if self._stream is None:
                raise StopAsyncIteration
            data = await self._stream.read()
            if not data:
                raise StopAsyncIteration
            self._take(data)
        return self._decode(self._lines.popleft())

    @property
    def pending(self) -> bool:
        """Whether the next event is here already."""
        return bool(self._lines)

    def _take(self, data: bytes) -> None:
        if b"\n" not in data:
            self._rest += data
            if len(self._rest) > MAX_FRAME_BYTES:
                raise ConnectionError("the watch sent a frame without an end")
            return
        *lines, rest = data.split(b"\n")
        lines[0] = self._rest + lines[0]
        self._rest = rest
        self._lines.extend(line for line in lines if line)

    def _decode(self, line: bytes) -> WatchEvent[T]:
        try:
            frame = self._frames.decode(line)
        except msgspec.ValidationError:
            return self._decode_apart(line)
        if frame.type == ERROR:
            return self._decode_apart(line)
        obj = frame.object
        return WatchEvent(frame.type, obj, obj.metadata.resource_version)

    def _decode_apart(self, line: bytes) -> WatchEvent[T]:
        """Frame first, then object: for a Status in place of the object, and for nulls."""
        frame = _frames.decode(line)
        body = bytes(frame.object)
        if frame.type == ERROR:
            return WatchEvent(ERROR, ApiError.from_body(500, body), "")
        obj: Any = codec.decode(self._kind, body)
        return WatchEvent(frame.type, obj, obj.metadata.resource_version)

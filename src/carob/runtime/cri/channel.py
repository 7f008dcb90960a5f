"""Calls to a CRI runtime over its unix socket, and what its refusals mean.

Touches: the socket, through gRPC, which is imported when the first call is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from carob.runtime.cri.codec import Message, decode, encode
from carob.runtime.cri.server import IMAGE_SERVICE, MAX_MESSAGE_BYTES, RUNTIME_SERVICE, grpc
from carob.runtime.types import NotFound, RuntimeFailure

CALL_SECONDS = 120.0
"""Source: kubelet, runtimeRequestTimeout. Pulls have none."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3000),
)
M = TypeVar("M", bound=Message)


class Unimplemented(RuntimeFailure):
    """The runtime does not know this rpc."""


class Unreachable(RuntimeFailure):
    """Nobody answers on the socket."""


class Channel:
    """One connection, made anew by itself when the runtime comes back."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._channel: Any = None

    def _open(self) -> Any:
        if self._channel is None:
            self._channel = grpc().aio.insecure_channel(self._endpoint, options=_OPTIONS)
        return self._channel

    async def runtime(self, rpc: str, request: Message, answer: type[M], seconds: float | None = CALL_SECONDS) -> M:
        """One call of RuntimeService. Raises: RuntimeFailure, NotFound, TimeoutError."""
        return await self._call(f"/{RUNTIME_SERVICE}/{rpc}", request, answer, seconds)

    async def image(self, rpc: str, request: Message, answer: type[M], seconds: float | None = CALL_SECONDS) -> M:
        """One call of ImageService."""
        return await self._call(f"/{IMAGE_SERVICE}/{rpc}", request, answer, seconds)

    async def _call(self, path: str, request: Message, answer: type[M], seconds: float | None) -> M:
        call = self._open().unary_unary(path)
        try:
            # a runtime that is just being restarted is waited for
            data = await call(encode(request), timeout=seconds, wait_for_ready=True)
        except grpc().aio.AioRpcError as error:
            raise self._failure(error) from error
        return decode(answer, data)

    async def stream(self, rpc: str, request: Message, answer: type[M]) -> AsyncIterator[M]:
        """The messages of a stream of RuntimeService, until it ends."""
        call = self._open().unary_stream(f"/{RUNTIME_SERVICE}/{rpc}")(encode(request), wait_for_ready=True)
        try:
            async for data in call:
                yield decode(answer, data)
        except grpc().aio.AioRpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Let go."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    def _failure(self, error: Any) -> Exception:
        code, words = error.code().name, str(error.details() or "")
        if code == "NOT_FOUND":
            return NotFound(words)
        if code == "DEADLINE_EXCEEDED":
            return TimeoutError(words)
        if code == "UNIMPLEMENTED":
            return Unimplemented(words)
        if code == "UNAVAILABLE":
            return Unreachable(f"the container runtime at {self._endpoint} does not answer: {words}")
        return RuntimeFailure(words)

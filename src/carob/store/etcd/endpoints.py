"""The members of an etcd, one of them in use: calls that move on to the next member when one does not answer.

May touch: the network, through gRPC, which is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from carob.base.log import get_logger
from carob.store.types import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

_log = get_logger("store.etcd")

# A member that hangs is left after this; an election of etcd's own takes about as long.
ATTEMPT_SECONDS = 2.0
# Source: kube-apiserver gives a request to etcd a minute at most; ours has to answer its client sooner.
CALL_SECONDS = 30.0
SETTLE_SECONDS = 0.01
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.5
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # a member that vanished without a word is noticed although nothing is sent; etcd allows a ping every 5 s
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
# What a member says that another one, or the same one a moment later, may answer.
_PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED")


class EtcdOptions(Struct, frozen=True):
    """Where an etcd is and who we are to it.

    Shape: `endpoints` are `host:port`. With `ca_file` connections are encrypted; with a certificate and its key we
    say who we are.
    """

    endpoints: tuple[str, ...]
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class Refused(StoreError):
    """etcd understood the call and will not do it."""


class Answer(NamedTuple):
    """`again`: the call was made more than once, so that an earlier attempt may have been carried out too."""

    data: bytes
    again: bool


class Endpoints:
    """Connections to the members, made when they are needed."""

    def __init__(self, options: EtcdOptions) -> None:
        self._options = options
        self._channels: dict[str, Any] = {}
        self._at = 0

    @property
    def present(self) -> str:
        """The member in use."""
        return self._options.endpoints[self._at]

    def move_on(self, from_member: str) -> None:
        """Use the next member, unless somebody else has left this one already."""
        if self.present == from_member:
            self._at = (self._at + 1) % len(self._options.endpoints)

    def _channel(self, member: str) -> Any:
        channel = self._channels.get(member)
        if channel is None:
            import grpc

            options = self._options
            if options.ca_file is None:
                channel = grpc.aio.insecure_channel(member, options=_OPTIONS)
            else:
                credentials = grpc.ssl_channel_credentials(
                    *_contents((options.ca_file, options.key_file, options.certificate_file))
                )
                channel = grpc.aio.secure_channel(member, credentials, options=_OPTIONS)
            self._channels[member] = channel
        return channel

    async def call(self, path: str, request: bytes) -> Answer:
        """One call, on whichever member answers. Raises: Refused; StoreError when none does."""
        import grpc

        loop = asyncio.get_running_loop()
        deadline = loop.time() + CALL_SECONDS
        pause, attempts = FIRST_PAUSE_SECONDS, 0
        while True:
            member = self.present
            attempts += 1
            try:
                call = self._channel(member).unary_unary(path)
                return Answer(await call(request, timeout=ATTEMPT_SECONDS), attempts > 1)
            except grpc.aio.AioRpcError as error:
                if error.code().name not in _PASSING:
                    raise Refused(f"etcd: {error.details()}") from error
                if loop.time() >= deadline:
                    raise StoreError(f"etcd does not answer: {error.details()}") from error
                _log.info("etcd member %s: %s", member, error.details())
            self.move_on(member)
            if attempts % len(self._options.endpoints) == 0:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    @asynccontextmanager
    async def stream(self, path: str, request: bytes) -> AsyncIterator[Stream]:
        """One stream on the member in use, with its first request sent; `Stream.read` says when it has ended."""
        member = self.present
        # a member that has lost its leader ends the stream instead of going quiet
        call = self._channel(member).stream_stream(path)(metadata=(("hasleader", "true"),))
        try:
            yield Stream(call, member, request)
        finally:
            call.cancel()

    async def close(self) -> None:
        """Let go of every connection."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()
        if channels:
            # gRPC's own thread still hands the ends of cancelled calls to this loop, which must be there for them
            await asyncio.sleep(SETTLE_SECONDS)


class Stream:
    """A two-way stream that says one thing and then listens."""

    def __init__(self, call: Any, member: str, request: bytes) -> None:
        self._call = call
        self.member = member
        self._request: bytes | None = request

    async def read(self) -> bytes:
        """The next message. Raises: StoreError when the stream has ended."""
        import grpc

        try:
            if self._request is not None:
                request, self._request = self._request, None
                await self._call.write(request)
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise StoreError(f"etcd member {self.member}: {error.details()}") from error
        except asyncio.InvalidStateError as error:
            raise StoreError(f"etcd member {self.member}: {error}") from error
        if not isinstance(message, bytes):
            raise StoreError(f"etcd member {self.member} ended the watch: {await self._call.details()}")
        return message


def _contents(files: Sequence[Path | None]) -> list[bytes | None]:
    try:
        return [None if file is None else file.read_bytes() for file in files]
    except OSError as error:
        raise StoreError(f"a certificate for etcd cannot be read: {error}") from error

"""Commands in containers of somebody else's runtime, and connections to their ports."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from carob.runtime.cri import container_messages as wire
from carob.runtime.cri import orders
from carob.runtime.cri.channel import CALL_SECONDS, Channel
from carob.runtime.cri.sandbox_messages import PortForwardRequest, StreamUrl
from carob.runtime.cri.streams import open_command, open_port, refused_command
from carob.runtime.types import ContainerState, ContainerStatus, Duplex, NotFound, Process, RuntimeFailure
from carob.wire.remotecommand import Streams


class StreamClient:
    """`status` is the runtime's own `container_status`."""

    def __init__(self, channel: Channel, status: Callable[[str], Awaitable[ContainerStatus]]) -> None:
        self._channel = channel
        self._status = status

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float, keep_bytes: int
    ) -> tuple[int, bytes, bytes]:
        """See `Runtime`; the wire's timeouts are whole seconds."""
        seconds = math.ceil(timeout_seconds)
        request = wire.ExecSyncRequest(container_id=container_id, cmd=list(command), timeout=seconds)
        try:
            done = await self._channel.runtime(
                "ExecSync", request, wire.ExecSyncResponse, seconds + CALL_SECONDS if seconds else None
            )
        except TimeoutError:
            raise TimeoutError(f"command {list(command)!r} timed out after {timeout_seconds:g}s") from None
        except RuntimeFailure as error:
            status = await self._known(container_id)
            if status is None:
                raise
            if status.state is not ContainerState.RUNNING:
                # every runtime says it in words of its own
                raise RuntimeFailure(f'container "{container_id}" is not running') from error
            refused = refused_command(str(error))
            if refused is None:
                raise
            raise RuntimeFailure(refused[1].decode().strip()) from error
        return done.exit_code, done.stdout[:keep_bytes], done.stderr[:keep_bytes]

    async def _known(self, container_id: str) -> ContainerStatus | None:
        try:
            return await self._status(container_id)
        except NotFound:
            return None

    async def _need_running(self, container_id: str) -> None:
        if (await self._status(container_id)).state is not ContainerState.RUNNING:
            raise RuntimeFailure(f'container "{container_id}" is not running')

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        """See `Runtime`."""
        await self._need_running(container_id)
        request = wire.ExecRequest(
            container_id=container_id, cmd=list(command), tty=tty, stdin=stdin, stdout=True, stderr=not tty
        )
        told = await self._channel.runtime("Exec", request, StreamUrl)
        return await open_command(told.url, Streams(stdin=stdin, stdout=True, stderr=not tty, tty=tty))

    async def attach(self, container_id: str) -> Process:
        """See `Runtime`; which streams there are is in what we wrote down."""
        await self._need_running(container_id)
        answer = await self._channel.runtime(
            "ContainerStatus", wire.ContainerStatusRequest(container_id=container_id), wire.ContainerStatusResponse
        )
        order = orders.container_of(answer.status.annotations if answer.status is not None else {})
        request = wire.AttachRequest(
            container_id=container_id, stdin=order.stdin, tty=order.tty, stdout=True, stderr=not order.tty
        )
        told = await self._channel.runtime("Attach", request, StreamUrl)

        async def code() -> int:
            with suppress(RuntimeFailure, TimeoutError):
                return (await self._status(container_id)).exit_code
            return 0

        streams = Streams(stdin=order.stdin, stdout=True, stderr=not order.tty, tty=order.tty)
        return await open_command(told.url, streams, code)

    async def port_forward(self, sandbox_id: str, port: int) -> Duplex:
        """See `Runtime`."""
        request = PortForwardRequest(pod_sandbox_id=sandbox_id, port=[port])
        try:
            told = await self._channel.runtime("PortForward", request, StreamUrl)
        except NotFound:
            raise
        except RuntimeFailure as error:
            raise ConnectionRefusedError(str(error)) from error
        return await open_port(told.url, port)

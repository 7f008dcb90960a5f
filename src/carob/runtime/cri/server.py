"""The CRI on a unix socket: gRPC's server, and which rpc is which method.

Touches: the socket, which only root may open; a loopback port for streams. gRPC is imported when it listens: who does
not want it does not pay for it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from carob.base.clock import Clock
from carob.base.ids import Randomness
from carob.base.log import get_logger, pairs
from carob.runtime.cri import container_messages as containers
from carob.runtime.cri import image_messages as images
from carob.runtime.cri import runtime_messages as node
from carob.runtime.cri import sandbox_messages as sandboxes
from carob.runtime.cri.codec import BadMessage, Message, decode, encode
from carob.runtime.cri.events import Events
from carob.runtime.cri.image_service import ImageService
from carob.runtime.cri.runtime_service import RuntimeService
from carob.runtime.cri.stats_service import StatsService
from carob.runtime.cri.streaming import Streaming, TooManyUrls
from carob.runtime.types import NotFound, Runtime, RuntimeFailure

_log = get_logger("cri")

RUNTIME_SERVICE, IMAGE_SERVICE = "runtime.v1.RuntimeService", "runtime.v1.ImageService"
MAX_MESSAGE_BYTES = 16 << 20
"""Source: containerd's and kubelet's limit for the CRI."""
CLOSE_SECONDS = 1.0


class Missing(RuntimeFailure):
    """gRPC's package is not installed."""


def grpc() -> Any:
    """gRPC's asyncio package. Raises: Missing."""
    try:
        import grpc
    except ImportError as error:
        raise Missing("the CRI needs the Python package grpcio: pip install 'carob[cri]'") from error
    return grpc


class Rpc(NamedTuple):
    """One method of a service: what it takes, who answers; `stream` makes one answer a stream of one message."""

    request: type[Message]
    answer: Callable[[Any], Awaitable[Message]]
    stream: bool = False


class CriServer:
    """Serves one runtime."""

    def __init__(
        self,
        runtime: Runtime,
        events: Events,
        socket: Path,
        clock: Clock,
        randomness: Randomness,
        *,
        cgroup_parent: str,
    ) -> None:
        self._socket = socket
        self._streaming = Streaming(clock, randomness)
        self._runtime = RuntimeService(runtime, events, self._streaming, clock, cgroup_parent)
        self._stats = StatsService(runtime)
        self._images = ImageService(runtime, clock)
        self._server: Any = None

    async def listen(self) -> None:
        """Open the socket, replacing one that a killed agent left. Raises: Missing, OSError."""
        grpc_module = grpc()
        await self._streaming.listen()
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        options = (("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0))
        server = grpc_module.aio.server(options=options)
        runtime_methods = {name: _handler(name, rpc) for name, rpc in self.runtime_methods().items()}
        runtime_methods["GetContainerEvents"] = _streaming_handler(sandboxes.Empty, self._runtime.events)
        image_methods = {name: _handler(name, rpc) for name, rpc in self.image_methods().items()}
        server.add_generic_rpc_handlers(
            (
                grpc_module.method_handlers_generic_handler(RUNTIME_SERVICE, runtime_methods),
                grpc_module.method_handlers_generic_handler(IMAGE_SERVICE, image_methods),
            )
        )
        previous = os.umask(0o177)
        try:
            server.add_insecure_port(f"unix:{self._socket}")
            await server.start()
        finally:
            os.umask(previous)
        self._server = server
        _log.info("serving the CRI %s", pairs(socket=self._socket))

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            await self._server.stop(CLOSE_SECONDS)
            self._socket.unlink(missing_ok=True)
        await self._streaming.close()

    def runtime_methods(self) -> dict[str, Rpc]:
        """RuntimeService, but for the events; checkpoints are not implemented."""
        at, used = self._runtime, self._stats
        return {
            "Version": Rpc(node.VersionRequest, at.version),
            "Status": Rpc(node.StatusRequest, at.status),
            "RuntimeConfig": Rpc(sandboxes.Empty, at.runtime_config),
            "UpdateRuntimeConfig": Rpc(node.UpdateRuntimeConfigRequest, at.update_runtime_config),
            "RunPodSandbox": Rpc(sandboxes.RunPodSandboxRequest, at.run_sandbox),
            "StopPodSandbox": Rpc(sandboxes.PodSandboxId, at.stop_sandbox),
            "RemovePodSandbox": Rpc(sandboxes.PodSandboxId, at.remove_sandbox),
            "PodSandboxStatus": Rpc(sandboxes.PodSandboxStatusRequest, at.sandbox_status),
            "ListPodSandbox": Rpc(sandboxes.ListPodSandboxRequest, at.list_sandboxes),
            "StreamPodSandboxes": Rpc(sandboxes.ListPodSandboxRequest, at.list_sandboxes, stream=True),
            "UpdatePodSandboxResources": Rpc(sandboxes.UpdatePodSandboxResourcesRequest, at.update_sandbox_resources),
            "CreateContainer": Rpc(containers.CreateContainerRequest, at.create_container),
            "StartContainer": Rpc(containers.ContainerId, at.start_container),
            "StopContainer": Rpc(containers.StopContainerRequest, at.stop_container),
            "RemoveContainer": Rpc(containers.ContainerId, at.remove_container),
            "ListContainers": Rpc(containers.ListContainersRequest, at.list_containers),
            "StreamContainers": Rpc(containers.ListContainersRequest, at.list_containers, stream=True),
            "ContainerStatus": Rpc(containers.ContainerStatusRequest, at.container_status),
            "UpdateContainerResources": Rpc(containers.UpdateContainerResourcesRequest, at.update_resources),
            "ReopenContainerLog": Rpc(containers.ContainerId, at.reopen_log),
            "ExecSync": Rpc(containers.ExecSyncRequest, at.exec_sync),
            "Exec": Rpc(containers.ExecRequest, at.exec),
            "Attach": Rpc(containers.AttachRequest, at.attach),
            "PortForward": Rpc(sandboxes.PortForwardRequest, at.port_forward),
            "ContainerStats": Rpc(containers.ContainerId, used.container_stats),
            "ListContainerStats": Rpc(node.ListContainerStatsRequest, used.list_container_stats),
            "StreamContainerStats": Rpc(node.ListContainerStatsRequest, used.list_container_stats, stream=True),
            "PodSandboxStats": Rpc(sandboxes.PodSandboxId, used.sandbox_stats),
            "ListPodSandboxStats": Rpc(node.ListPodSandboxStatsRequest, used.list_sandbox_stats),
            "StreamPodSandboxStats": Rpc(node.ListPodSandboxStatsRequest, used.list_sandbox_stats, stream=True),
            "ListMetricDescriptors": Rpc(sandboxes.Empty, used.metric_descriptors),
            "ListPodSandboxMetrics": Rpc(sandboxes.Empty, used.list_sandbox_metrics),
            "StreamPodSandboxMetrics": Rpc(sandboxes.Empty, used.list_sandbox_metrics, stream=True),
        }

    def image_methods(self) -> dict[str, Rpc]:
        """ImageService."""
        at = self._images
        return {
            "ListImages": Rpc(images.ListImagesRequest, at.list_images),
            "StreamImages": Rpc(images.ListImagesRequest, at.list_images, stream=True),
            "ImageStatus": Rpc(images.ImageStatusRequest, at.image_status),
            "PullImage": Rpc(images.PullImageRequest, at.pull_image),
            "RemoveImage": Rpc(images.RemoveImageRequest, at.remove_image),
            "ImageFsInfo": Rpc(sandboxes.Empty, at.image_filesystem),
        }


def _handler(name: str, rpc: Rpc) -> Any:
    async def unary(data: bytes, context: Any) -> bytes:
        try:
            return encode(await rpc.answer(decode(rpc.request, data)))
        except Exception as error:
            await context.abort(_code(error, name), str(error))
            raise

    async def streamed(data: bytes, context: Any) -> AsyncIterator[bytes]:
        answer = await unary(data, context)
        # nothing at all is said of nothing: every message of a list's stream holds at least one item
        if answer:
            yield answer

    if rpc.stream:
        return grpc().unary_stream_rpc_method_handler(streamed)
    return grpc().unary_unary_rpc_method_handler(unary)


def _streaming_handler(kind: type[Message], answers: Callable[[Any], AsyncIterator[Message]]) -> Any:
    async def stream(data: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            async for message in answers(decode(kind, data)):
                yield encode(message)
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told
            await context.abort(_code(error, "GetContainerEvents"), str(error))

    return grpc().unary_stream_rpc_method_handler(stream)


def _code(error: Exception, rpc: str) -> Any:
    """gRPC's code for what the runtime could not do. Source: containerd `errgrpc`."""
    codes = grpc().StatusCode
    if isinstance(error, NotFound):
        return codes.NOT_FOUND
    if isinstance(error, TimeoutError):
        return codes.DEADLINE_EXCEEDED
    if isinstance(error, ValueError | BadMessage):
        return codes.INVALID_ARGUMENT
    if isinstance(error, TooManyUrls):
        return codes.RESOURCE_EXHAUSTED
    if not isinstance(error, RuntimeFailure | OSError):
        _log.error("an rpc failed %s", pairs(rpc=rpc), exc_info=error)
        return codes.INTERNAL
    return codes.UNKNOWN

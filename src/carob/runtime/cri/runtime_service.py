"""The CRI's RuntimeService over a runtime: a method an rpc. What it refuses, `server` turns into gRPC's codes.

Ids may be cut short where they are still unique, as with containerd. Source: containerd `pkg/cri/server`; crictl.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import msgspec

from carob.base.clock import Clock
from carob.runtime.cri import container_messages as containers_wire
from carob.runtime.cri import containers, health, sandboxes
from carob.runtime.cri import runtime_messages as wire
from carob.runtime.cri import sandbox_messages as shared
from carob.runtime.cri.events import Events
from carob.runtime.cri.streaming import Streaming
from carob.runtime.types import (
    ContainerState,
    ContainerStatus,
    Duplex,
    NotFound,
    Process,
    Runtime,
    RuntimeFailure,
    SandboxConfig,
    SandboxState,
    SandboxStatus,
)
from carob.wire.remotecommand import Streams

API_VERSION = "v1"
KUBELET_API_VERSION = "0.1.0"
EXEC_KEEP_BYTES = 16 << 20
"""Source: CVE-2022-1708: what ExecSync keeps of each output."""
T = TypeVar("T", SandboxStatus, ContainerStatus)


class RuntimeService:
    """Sandboxes and containers. `cgroup_parent`: below which group go sandboxes of clients that name none."""

    def __init__(
        self,
        runtime: Runtime,
        events: Events,
        streaming: Streaming,
        clock: Clock,
        cgroup_parent: str,
    ) -> None:
        self._runtime = runtime
        self._events = events
        self._streaming = streaming
        self._clock = clock
        self._cgroup_parent = cgroup_parent

    # -- the runtime itself

    async def version(self, request: wire.VersionRequest) -> wire.VersionResponse:
        name, version = await self._runtime.version()
        return wire.VersionResponse(
            version=KUBELET_API_VERSION, runtime_name=name, runtime_version=version, runtime_api_version=API_VERSION
        )

    async def status(self, request: wire.StatusRequest) -> wire.StatusResponse:
        answer = health.to_wire(await self._runtime.status())
        if request.verbose:
            answer.info = {"config": msgspec.json.encode({"cgroupParent": self._cgroup_parent}).decode()}
        return answer

    async def runtime_config(self, request: shared.Empty) -> wire.RuntimeConfigResponse:
        return wire.RuntimeConfigResponse(linux=wire.LinuxRuntimeConfiguration(cgroup_driver=wire.DRIVER_CGROUPFS))

    async def update_runtime_config(self, request: wire.UpdateRuntimeConfigRequest) -> shared.Empty:
        """The node's Pod range is given to carob's network by the node itself."""
        return shared.Empty()

    # -- sandboxes

    async def run_sandbox(self, request: shared.RunPodSandboxRequest) -> shared.PodSandboxId:
        if request.config is None:
            raise ValueError("sandbox config must be given")
        config = sandboxes.from_wire_config(request.config, request.runtime_handler)
        for one in await self._runtime.list_sandboxes():
            if _owner(one.config) == _owner(config):
                words = "_".join(map(str, _owner(config)))
                raise RuntimeFailure(f'failed to reserve sandbox name "{words}": it is reserved for "{one.id}"')
        if not config.cgroup_parent:
            config.cgroup_parent = f"{self._cgroup_parent}/pod{config.uid or config.name}"
        return shared.PodSandboxId(pod_sandbox_id=(await self._runtime.run_sandbox(config)).id)

    async def stop_sandbox(self, request: shared.PodSandboxId) -> shared.Empty:
        sandbox = await self._find_sandbox(request.pod_sandbox_id)
        if sandbox is not None:
            await self._runtime.stop_sandbox(sandbox.id)
        return shared.Empty()

    async def remove_sandbox(self, request: shared.PodSandboxId) -> shared.Empty:
        sandbox = await self._find_sandbox(request.pod_sandbox_id)
        if sandbox is not None:
            await self._runtime.remove_sandbox(sandbox.id)
        return shared.Empty()

    async def sandbox_status(self, request: shared.PodSandboxStatusRequest) -> containers_wire.PodSandboxStatusResponse:
        sandbox = await self._sandbox(request.pod_sandbox_id)
        told = {
            "pid": sandbox.pause_pid,
            "netNamespacePath": sandbox.netns_path,
            "config": msgspec.to_builtins(sandboxes.to_wire_config(sandbox.config)),
        }
        return containers_wire.PodSandboxStatusResponse(
            status=sandboxes.to_wire_status(sandbox),
            info={"info": msgspec.json.encode(told).decode()} if request.verbose else {},
            containers_statuses=[
                await self._wire_status(c) for c in await self._runtime.list_containers() if c.sandbox_id == sandbox.id
            ],
            timestamp=sandboxes.nanoseconds(self._clock.now()),
        )

    async def list_sandboxes(self, request: shared.ListPodSandboxRequest) -> shared.PodSandboxes:
        wanted = request.filter or shared.PodSandboxFilter()
        items = [sandboxes.to_wire_item(one) for one in await self._runtime.list_sandboxes()]
        return shared.PodSandboxes(
            items=[
                item
                for item in items
                if item.id.startswith(wanted.id)
                and (wanted.state is None or item.state == wanted.state.state)
                and has_labels(item.labels, wanted.label_selector)
            ]
        )

    async def update_sandbox_resources(self, request: shared.UpdatePodSandboxResourcesRequest) -> shared.Empty:
        sandbox = await self._sandbox(request.pod_sandbox_id)
        # the kubelet has written the Pod's group itself by now; another client has not
        await self._runtime.update_sandbox_resources(sandbox.id, sandboxes.from_wire_resources(request.resources))
        return shared.Empty()

    # -- containers

    async def create_container(self, request: containers_wire.CreateContainerRequest) -> containers_wire.ContainerId:
        if request.config is None:
            raise ValueError("container config must be given")
        config = containers.from_wire_config(request.config)
        sandbox = await self._sandbox(request.pod_sandbox_id)
        for one in await self._runtime.list_containers():
            if (one.sandbox_id, one.name, one.attempt) == (sandbox.id, config.name, config.attempt):
                words = f'failed to reserve container name "{one.name}_{one.attempt}": it is reserved for "{one.id}"'
                raise RuntimeFailure(words)
        return containers_wire.ContainerId(container_id=await self._runtime.create_container(sandbox.id, config))

    async def start_container(self, request: containers_wire.ContainerId) -> shared.Empty:
        await self._runtime.start_container((await self._container(request.container_id)).id)
        return shared.Empty()

    async def stop_container(self, request: containers_wire.StopContainerRequest) -> shared.Empty:
        container = await self._find_container(request.container_id)
        if container is not None:
            await self._runtime.stop_container(container.id, float(max(0, request.timeout)))
        return shared.Empty()

    async def remove_container(self, request: containers_wire.ContainerId) -> shared.Empty:
        container = await self._find_container(request.container_id)
        if container is not None:
            await self._runtime.remove_container(container.id)
        return shared.Empty()

    async def list_containers(self, request: containers_wire.ListContainersRequest) -> containers_wire.Containers:
        wanted = request.filter or containers_wire.ContainerFilter()
        items = [
            containers.to_wire_item(one, await self._image_id(one)) for one in await self._runtime.list_containers()
        ]
        return containers_wire.Containers(
            containers=[
                item
                for item in items
                if item.id.startswith(wanted.id)
                and item.pod_sandbox_id.startswith(wanted.pod_sandbox_id)
                and (wanted.state is None or item.state == wanted.state.state)
                and has_labels(item.labels, wanted.label_selector)
            ]
        )

    async def container_status(
        self, request: containers_wire.ContainerStatusRequest
    ) -> containers_wire.ContainerStatusResponse:
        container = await self._container(request.container_id)
        told = {"sandboxID": container.sandbox_id, "pid": container.pid}
        return containers_wire.ContainerStatusResponse(
            status=await self._wire_status(container),
            info={"info": msgspec.json.encode(told).decode()} if request.verbose else {},
        )

    async def update_resources(self, request: containers_wire.UpdateContainerResourcesRequest) -> shared.Empty:
        container = await self._container(request.container_id)
        if container.state not in (ContainerState.CREATED, ContainerState.RUNNING):
            raise RuntimeFailure(f'container "{container.id}" is in {container.state} state')
        await self._runtime.update_resources(container.id, sandboxes.from_wire_resources(request.linux))
        return shared.Empty()

    async def reopen_log(self, request: containers_wire.ContainerId) -> shared.Empty:
        await self._runtime.reopen_log((await self._running(request.container_id)).id)
        return shared.Empty()

    # -- streams

    async def exec_sync(self, request: containers_wire.ExecSyncRequest) -> containers_wire.ExecSyncResponse:
        if not request.cmd:
            raise ValueError("you must specify at least one command for the container")
        container = await self._running(request.container_id)
        code, out, err = await self._runtime.exec_sync(
            container.id, request.cmd, float(max(0, request.timeout)), keep_bytes=EXEC_KEEP_BYTES
        )
        return containers_wire.ExecSyncResponse(stdout=out, stderr=err, exit_code=code)

    async def exec(self, request: containers_wire.ExecRequest) -> shared.StreamUrl:
        streams = _streams(request)
        if not request.cmd:
            raise ValueError("you must specify at least one command for the container")
        container = await self._running(request.container_id)

        async def start() -> Process:
            return await self._runtime.exec(container.id, request.cmd, stdin=request.stdin, tty=request.tty)

        return shared.StreamUrl(url=self._streaming.command_url("exec", streams, start))

    async def attach(self, request: containers_wire.AttachRequest) -> shared.StreamUrl:
        streams = _streams(request)
        container = await self._running(request.container_id)

        async def start() -> Process:
            return await self._runtime.attach(container.id)

        return shared.StreamUrl(url=self._streaming.command_url("attach", streams, start))

    async def port_forward(self, request: shared.PortForwardRequest) -> shared.StreamUrl:
        sandbox = await self._sandbox(request.pod_sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise RuntimeFailure(f'sandbox container "{sandbox.id}" is not running')

        async def dial(port: int) -> Duplex:
            return await self._runtime.port_forward(sandbox.id, port)

        return shared.StreamUrl(url=self._streaming.port_forward_url(sandbox.id, dial))

    # -- events

    async def events(self, request: shared.Empty) -> AsyncIterator[containers_wire.ContainerEventResponse]:
        """What happens from now on. Raises: RuntimeFailure when the client reads too slowly."""
        queue = self._events.listen()
        try:
            while (event := await queue.get()) is not None:
                yield await self._event(event.kind, event.sandbox_id, event.container_id)
            raise RuntimeFailure("events were lost: the client is too slow; list again")
        finally:
            self._events.leave(queue)

    async def _event(self, kind: int, sandbox_id: str, container_id: str) -> containers_wire.ContainerEventResponse:
        try:
            sandbox = sandboxes.to_wire_status(await self._runtime.sandbox_status(sandbox_id))
        except NotFound:
            sandbox = None
        return containers_wire.ContainerEventResponse(
            container_id=container_id,
            container_event_type=kind,
            created_at=sandboxes.nanoseconds(self._clock.now()),
            pod_sandbox_status=sandbox,
            containers_statuses=[
                await self._wire_status(c) for c in await self._runtime.list_containers() if c.sandbox_id == sandbox_id
            ],
        )

    # -- finding

    async def _find_sandbox(self, sandbox_id: str) -> SandboxStatus | None:
        return _by_id(await self._runtime.list_sandboxes(), sandbox_id)

    async def _sandbox(self, sandbox_id: str) -> SandboxStatus:
        found = await self._find_sandbox(sandbox_id)
        if found is None:
            raise NotFound(f'an error occurred when try to find sandbox "{sandbox_id}": not found')
        return found

    async def _find_container(self, container_id: str) -> ContainerStatus | None:
        return _by_id(await self._runtime.list_containers(), container_id)

    async def _container(self, container_id: str) -> ContainerStatus:
        found = await self._find_container(container_id)
        if found is None:
            raise NotFound(f'an error occurred when try to find container "{container_id}": not found')
        return found

    async def _running(self, container_id: str) -> ContainerStatus:
        container = await self._container(container_id)
        if container.state is not ContainerState.RUNNING:
            raise RuntimeFailure(f'container "{container.id}" is not running: it is in {container.state} state')
        return container

    async def _image_id(self, status: ContainerStatus) -> str:
        """The image's own id: what people see may be a name with a digest."""
        image = await self._runtime.image_status(status.image_id) if status.image_id else None
        return image.id if image is not None else status.image_id

    async def _wire_status(self, status: ContainerStatus) -> containers_wire.ContainerStatus:
        return containers.to_wire_status(status, await self._image_id(status))


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether all that are wanted are there."""
    return wanted.items() <= labels.items()


def _owner(config: SandboxConfig) -> tuple[str, str, str, int]:
    return config.name, config.namespace, config.uid, config.attempt


def _by_id(found: list[T], wanted: str) -> T | None:
    """By the whole id, or by a beginning that only one has. Raises: ValueError for one that several have."""
    if not wanted:
        return None
    exact = next((one for one in found if one.id == wanted), None)
    if exact is not None:
        return exact
    near = [one for one in found if one.id.startswith(wanted)]
    if len(near) > 1:
        raise ValueError(f'"{wanted}" is the beginning of several ids')
    return near[0] if near else None


def _streams(request: containers_wire.ExecRequest | containers_wire.AttachRequest) -> Streams:
    if request.tty and request.stderr:
        raise ValueError("tty and stderr cannot both be true")
    if not (request.stdin or request.stdout or request.stderr):
        raise ValueError("one of stdin, stdout, or stderr must be set")
    return Streams(stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, tty=request.tty)

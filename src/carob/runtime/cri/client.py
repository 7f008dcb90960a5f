"""Somebody else's runtime (containerd, CRI-O) behind the seam: every verb as calls of the CRI.

Beside the socket it touches the control groups of Pods and above, which the CRI leaves to its client, and reads those
of containers, as the CRI's own counters are few. What it must know after a restart is in annotations (`orders`).

Source: kubelet `cri-client/pkg` (timeouts), `kuberuntime`, `cm` (groups of Pods).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from msgspec import structs

from carob.base.clock import Clock
from carob.base.log import get_logger, pairs
from carob.host.cgroup import Cgroups
from carob.host.threads import Threads
from carob.host.types import Host
from carob.runtime.cri import container_messages as containers_wire
from carob.runtime.cri import containers, health, orders, sandboxes, verbose
from carob.runtime.cri import sandbox_messages as shared
from carob.runtime.cri.channel import CALL_SECONDS, Channel, Unimplemented
from carob.runtime.cri.client_images import ImageClient
from carob.runtime.cri.client_ports import Ports
from carob.runtime.cri.client_stats import StatsClient
from carob.runtime.cri.client_streams import StreamClient
from carob.runtime.cri.exits import Exits
from carob.runtime.cri.runtime_messages import (
    NetworkConfig,
    RuntimeConfig,
    StatusRequest,
    StatusResponse,
    UpdateRuntimeConfigRequest,
    VersionRequest,
    VersionResponse,
)
from carob.runtime.embedded.oci_spec import MASKED_PATHS, READONLY_PATHS
from carob.runtime.limits import limits, merged
from carob.runtime.types import (
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    Duplex,
    Exited,
    FilesystemUsage,
    Image,
    NodePorts,
    NotFound,
    Process,
    RegistryAuth,
    Resources,
    RuntimeFailure,
    RuntimeStatus,
    SandboxConfig,
    SandboxState,
    SandboxStats,
    SandboxStatus,
)

CREATE_FAILED, RUN_FAILED = "CreateContainerError", "RunContainerError"
# Source: kubelet: a sandbox may take twice as long as everything else, for its network.
SANDBOX_SECONDS = CALL_SECONDS * 2
ANSWER_SECONDS = 10.0
# the node's other conditions wait for it
STATUS_SECONDS = 5.0
KILLED_CODE = 137
THREADS = 2
T = TypeVar("T")
_log = get_logger("cri")


class CriRuntime:
    """Implements `carob.runtime.types.Runtime`. `owner` marks what is ours on a runtime that others use too.

    `pod_range` (CIDR) is told to the runtime, for networks that it makes itself. `node_ports` leads ports of the node
    to its sandboxes; without them the runtime is asked to.
    """

    def __init__(
        self,
        endpoint: str,
        host: Host,
        clock: Clock,
        owner: str,
        pod_range: str = "",
        node_ports: NodePorts | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._pod_range = pod_range
        self._name = ""
        self._channel = Channel(endpoint)
        self._owner = owner
        self._cgroups = Cgroups(host)
        self._threads = Threads(host, THREADS)
        self._images = ImageClient(self._channel)
        self._exits = Exits(self._channel, {orders.OWNER: owner}, self._tell)
        self._stats = StatsClient(self._channel, host, self._cgroups, self._threads, clock, self._labels())
        self._streams = StreamClient(self._channel, self.container_status)
        self._ports = Ports(self._threads, node_ports)
        self._subscribers: list[Callable[[Exited], None]] = []
        self._configs: dict[str, SandboxConfig] = {}
        self._never_begun: dict[str, ContainerStatus] = {}
        """Containers that were stopped before they had begun: the CRI lets them be."""
        self._limits: dict[str, Resources] = {}
        self._operations: set[asyncio.Task[Any]] = set()

    def _labels(self) -> dict[str, str]:
        return {orders.OWNER: self._owner}

    def _tell(self, exited: Exited) -> None:
        for subscriber in self._subscribers:
            subscriber(exited)

    async def _complete(self, operation: Coroutine[Any, Any, T], name: str) -> T:
        """Run it to its end even when the caller is cancelled: half a Pod would belong to nobody."""
        task = asyncio.get_running_loop().create_task(operation, name=name)
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_report)
            raise
        except OSError as error:
            if isinstance(error, TimeoutError | ConnectionError):
                raise
            raise RuntimeFailure(f"failed to {name}: {error}") from error

    async def start(self) -> None:
        """Find what an earlier agent left running. Raises: RuntimeFailure when nobody answers."""
        try:
            self._name, _ = await self.version()
        except TimeoutError:
            raise RuntimeFailure(f"the container runtime at {self._endpoint} does not answer") from None
        if self._pod_range:
            network = NetworkConfig(pod_cidr=self._pod_range)
            request = UpdateRuntimeConfigRequest(runtime_config=RuntimeConfig(network_config=network))
            await self._channel.runtime("UpdateRuntimeConfig", request, shared.Empty)
        for sandbox in await self.list_sandboxes():
            if sandbox.state is SandboxState.READY:
                self._exits.sandbox(sandbox.id)
                await self._ports.open(sandbox)
        for item in await self._list():
            if item.state in (containers_wire.CONTAINER_CREATED, containers_wire.CONTAINER_RUNNING):
                self._exits.container(item.id, item.pod_sandbox_id)
        self._exits.begin()

    async def close(self) -> None:
        """Let go; containers run on."""
        while self._operations:
            await asyncio.wait(self._operations)
        await self._exits.close()
        await self._channel.close()
        self._threads.close()

    def subscribe(self, exited: Callable[[Exited], None]) -> None:
        self._subscribers.append(exited)

    async def version(self) -> tuple[str, str]:
        told = await self._channel.runtime("Version", VersionRequest(), VersionResponse, ANSWER_SECONDS)
        return told.runtime_name, told.runtime_version

    async def status(self) -> RuntimeStatus:
        return health.from_wire(await self._channel.runtime("Status", StatusRequest(), StatusResponse, STATUS_SECONDS))

    # --- sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        return await self._complete(self._run_sandbox(config), f"run sandbox of {config.namespace}/{config.name}")

    async def _run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        if config.users is not None:
            # containerd before 2.0 would leave the order out, and take a protection away that way
            raise RuntimeFailure("runtime does not support user namespaces")
        if config.cgroup_parent:
            await self._threads.run(lambda: self._cgroups.create(config.cgroup_parent, limits(config.resources)))
        marked = orders.of_sandbox(config, self._owner)
        if self._ports.ours:
            marked = structs.replace(marked, port_mappings=[])
        request = shared.RunPodSandboxRequest(
            config=sandboxes.to_wire_config(marked, privileged=True), runtime_handler=config.runtime_handler
        )
        try:
            made = await self._channel.runtime("RunPodSandbox", request, shared.PodSandboxId, SANDBOX_SECONDS)
        except (RuntimeFailure, TimeoutError):
            await self._remove_group(config.cgroup_parent)
            raise
        self._exits.sandbox(made.pod_sandbox_id)
        status = await self.sandbox_status(made.pod_sandbox_id)
        try:
            await self._ports.open(status)
        except RuntimeFailure:
            await self._remove_sandbox(status.id)
            raise
        return status

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._complete(self._stop_sandbox(sandbox_id), f"stop sandbox {sandbox_id}")

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        with suppress(NotFound):
            if self._ports.ours:
                await self._ports.close(await self.sandbox_status(sandbox_id))
            await self._sandbox_verb("StopPodSandbox", sandbox_id)
        self._exits.sandbox_ended(sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._complete(self._remove_sandbox(sandbox_id), f"remove sandbox {sandbox_id}")

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        try:
            parent = (await self.sandbox_status(sandbox_id)).config.cgroup_parent
        except NotFound:
            return
        await self._stop_sandbox(sandbox_id)
        with suppress(NotFound):
            await self._sandbox_verb("RemovePodSandbox", sandbox_id)
        self._configs.pop(sandbox_id, None)
        for container_id in [c.id for c in self._never_begun.values() if c.sandbox_id == sandbox_id]:
            del self._never_begun[container_id]
        await self._remove_group(parent)

    async def _sandbox_verb(self, rpc: str, sandbox_id: str) -> None:
        await self._channel.runtime(rpc, shared.PodSandboxId(pod_sandbox_id=sandbox_id), shared.Empty, SANDBOX_SECONDS)

    async def _remove_group(self, path: str) -> None:
        """The Pod's own, once its last sandbox has gone."""
        if path:
            await self._threads.run(lambda: self._cgroups.remove_if_empty(path))

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        answer = await self._channel.runtime(
            "PodSandboxStatus",
            shared.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True),
            containers_wire.PodSandboxStatusResponse,
        )
        if answer.status is None:
            raise NotFound(f'sandbox "{sandbox_id}": not found')
        told = verbose.told(answer.info)
        config = orders.sandbox_of(answer.status.labels, answer.status.annotations)
        status = sandboxes.from_wire_status(answer.status, config)
        status.pause_pid, status.netns_path = verbose.pid(told), verbose.netns_path(told)
        return status

    async def list_sandboxes(self) -> list[SandboxStatus]:
        wanted = shared.PodSandboxFilter(label_selector=self._labels())
        answer = await self._channel.runtime(
            "ListPodSandbox", shared.ListPodSandboxRequest(filter=wanted), shared.PodSandboxes
        )
        return await self._each([item.id for item in answer.items], self.sandbox_status)

    async def _each(self, ids: Sequence[str], status: Callable[[str], Coroutine[Any, Any, T]]) -> list[T]:
        """What has gone meanwhile is left out."""
        found = []
        for one in ids:
            with suppress(NotFound):
                found.append(await status(one))
        return found

    # --- containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        return await self._complete(self._create_container(sandbox_id, config), f"create container {config.name}")

    async def _create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = await self.sandbox_status(sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise RuntimeFailure(f'sandbox "{sandbox_id}" is not ready', CREATE_FAILED)
        directory = sandbox.config.log_directory
        order = orders.ContainerOrder(
            sandbox_id=sandbox_id,
            image=config.image_spec or config.image,
            log_path=f"{directory}/{config.log_path}" if directory and config.log_path else "",
            stop_signal=config.stop_signal,
            stdin=config.stdin,
            tty=config.tty,
            resources=config.resources,
        )
        if config.security.run_as_group is not None and (image := await self.image_status(config.image)) is not None:
            config = structs.replace(config, security=containers.of_image_user(config.security, image))
        marked = orders.of_container(config, order, self._owner)
        request = containers_wire.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=containers.to_wire_config(marked, sandbox.config, (MASKED_PATHS, READONLY_PATHS)),
            sandbox_config=sandboxes.to_wire_config(orders.of_sandbox(sandbox.config, self._owner), privileged=True),
        )
        try:
            made = await self._channel.runtime("CreateContainer", request, containers_wire.ContainerId)
        except RuntimeFailure as error:
            raise RuntimeFailure(str(error), error.reason or CREATE_FAILED) from error
        self._exits.container(made.container_id, sandbox_id)
        return made.container_id

    async def start_container(self, container_id: str) -> None:
        await self._complete(self._start_container(container_id), f"start container {container_id}")

    async def _start_container(self, container_id: str) -> None:
        if container_id in self._never_begun:
            raise RuntimeFailure(f'container "{container_id}" is in exited state', RUN_FAILED)
        try:
            await self._channel.runtime(
                "StartContainer", containers_wire.ContainerId(container_id=container_id), shared.Empty
            )
        except NotFound:
            if await self._is_known(container_id):
                # what was not found is the command
                self._exits.container_ended(container_id)
                raise RuntimeFailure((await self.container_status(container_id)).message, RUN_FAILED) from None
            raise
        except RuntimeFailure as error:
            if (await self.container_status(container_id)).state is ContainerState.EXITED:
                self._exits.container_ended(container_id)
            raise RuntimeFailure(str(error), error.reason or RUN_FAILED) from error

    async def _is_known(self, container_id: str) -> bool:
        try:
            await self.container_status(container_id)
        except NotFound:
            return False
        return True

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        with suppress(NotFound):
            await self._complete(self._stop_container(container_id, grace_seconds), f"stop container {container_id}")

    async def _stop_container(self, container_id: str, grace_seconds: float) -> None:
        status = await self.container_status(container_id)
        if status.state is ContainerState.CREATED:
            self._end_unbegun(status)
            return
        grace = math.ceil(max(0.0, grace_seconds))
        request = containers_wire.StopContainerRequest(container_id=container_id, timeout=grace)
        await self._channel.runtime("StopContainer", request, shared.Empty, grace + CALL_SECONDS)
        self._exits.container_ended(container_id)

    def _end_unbegun(self, status: ContainerStatus) -> None:
        ended = structs.replace(
            status,
            state=ContainerState.EXITED,
            exit_code=KILLED_CODE,
            reason="Error",
            finished_at=status.created_at,
            pid=0,
        )
        self._never_begun[status.id] = ended
        self._exits.container_ended(status.id)

    async def remove_container(self, container_id: str) -> None:
        await self._complete(self._remove_container(container_id), f"remove container {container_id}")

    async def _remove_container(self, container_id: str) -> None:
        with suppress(NotFound):
            # removing kills, but a stop is told to whoever watches first
            await self._stop_container(container_id, 0.0)
            await self._channel.runtime(
                "RemoveContainer", containers_wire.ContainerId(container_id=container_id), shared.Empty
            )
        self._never_begun.pop(container_id, None)
        self._limits.pop(container_id, None)

    async def container_status(self, container_id: str) -> ContainerStatus:
        if container_id in self._never_begun:
            return self._never_begun[container_id]
        answer = await self._channel.runtime(
            "ContainerStatus",
            containers_wire.ContainerStatusRequest(container_id=container_id, verbose=True),
            containers_wire.ContainerStatusResponse,
        )
        told = answer.status
        if told is None:
            raise NotFound(f'container "{container_id}": not found')
        return self._status(told, verbose.told(answer.info))

    def _status(self, told: containers_wire.ContainerStatus, more: dict[str, Any]) -> ContainerStatus:
        order = orders.container_of(told.annotations)
        sandbox_id = order.sandbox_id or str(more.get("sandboxID") or "")
        status = containers.from_wire_status(told, sandbox_id, {"image": order.image})
        status.labels, status.annotations = orders.without(status.labels), orders.without(status.annotations)
        status.log_path = status.log_path or order.log_path
        status.stop_signal = status.stop_signal or order.stop_signal or "SIGTERM"
        status.user = status.user or verbose.user(more)
        if status.state is ContainerState.RUNNING:
            status.pid = verbose.pid(more)
        shown = told.resources.linux if told.resources is not None else verbose.resources(more)
        status.runtime = self._name
        status.resources = orders.limits(self._limits.get(told.id, order.resources), shown)
        return status

    async def _list(self) -> list[containers_wire.Container]:
        wanted = containers_wire.ContainerFilter(label_selector=self._labels())
        answer = await self._channel.runtime(
            "ListContainers", containers_wire.ListContainersRequest(filter=wanted), containers_wire.Containers
        )
        return answer.containers

    async def list_containers(self) -> list[ContainerStatus]:
        items = await self._list()
        found = await self._each([item.id for item in items], self.container_status)
        owners = {item.id: item.pod_sandbox_id for item in items}
        for status in found:
            status.sandbox_id = owners[status.id]
        return found

    # --- limits

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        before = (await self.container_status(container_id)).resources
        request = containers_wire.UpdateContainerResourcesRequest(
            container_id=container_id, linux=sandboxes.to_wire_resources(resources)
        )
        await self._channel.runtime("UpdateContainerResources", request, shared.Empty)
        self._limits[container_id] = merged(before, resources)

    async def set_group_resources(self, path: str, resources: Resources) -> None:
        try:
            await self._threads.run(lambda: self._cgroups.create(path, limits(resources)))
        except OSError as error:
            raise RuntimeFailure(f"failed to set resources of {path}: {error}") from error

    async def update_sandbox_resources(self, sandbox_id: str, resources: Resources) -> None:
        parent = (await self.sandbox_status(sandbox_id)).config.cgroup_parent
        if not parent:
            return
        try:
            await self._threads.run(lambda: self._cgroups.update(parent, limits(resources)))
        except OSError as error:
            raise RuntimeFailure(f'failed to update resources of sandbox "{sandbox_id}": {error}') from error
        request = shared.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=sandbox_id, resources=sandboxes.to_wire_resources(resources)
        )
        with suppress(Unimplemented):
            await self._channel.runtime("UpdatePodSandboxResources", request, shared.Empty)

    async def reopen_log(self, container_id: str) -> None:
        await self._channel.runtime(
            "ReopenContainerLog", containers_wire.ContainerId(container_id=container_id), shared.Empty
        )

    # --- streams and counters

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float = 0.0, *, keep_bytes: int = 16 << 10
    ) -> tuple[int, bytes, bytes]:
        return await self._streams.exec_sync(container_id, command, timeout_seconds, keep_bytes)

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        return await self._streams.exec(container_id, command, stdin=stdin, tty=tty)

    async def attach(self, container_id: str) -> Process:
        return await self._streams.attach(container_id)

    async def port_forward(self, sandbox_id: str, port: int) -> Duplex:
        return await self._streams.port_forward(sandbox_id, port)

    async def container_stats(self, *, disk: bool = True) -> list[ContainerStats]:
        running = [item for item in await self._list() if item.state == containers_wire.CONTAINER_RUNNING]
        parents = {
            sandbox_id: (await self._config(sandbox_id)).cgroup_parent
            for sandbox_id in {item.pod_sandbox_id for item in running}
        }
        groups = {item.id: f"{parents[item.pod_sandbox_id]}/{item.id}" for item in running}
        return await self._stats.all(groups, disk=disk)

    async def sandbox_stats(self) -> list[SandboxStats]:
        standing = [one for one in await self.list_sandboxes() if one.state is SandboxState.READY]
        return await self._stats.sandboxes(standing)

    async def _config(self, sandbox_id: str) -> SandboxConfig:
        """It never changes."""
        if sandbox_id not in self._configs:
            self._configs[sandbox_id] = (await self.sandbox_status(sandbox_id)).config
        return self._configs[sandbox_id]

    # --- images

    async def image_status(self, name: str) -> Image | None:
        return await self._images.status(name)

    async def list_images(self) -> list[Image]:
        return await self._images.every()

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image:
        return await self._images.pull(name, auth)

    async def remove_image(self, name: str) -> None:
        await self._images.remove(name)

    async def image_filesystem(self) -> FilesystemUsage:
        return await self._images.filesystem()


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.warning("abandoned operation failed: %s", pairs(operation=task.get_name(), error=task.exception()))

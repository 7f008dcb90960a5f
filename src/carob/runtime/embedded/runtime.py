"""The embedded runtime: every verb of the seam, composed from the parts of this folder.

All verbs run on one event loop; what blocks runs in a few threads. A verb that has begun is completed even when its
caller goes away: a kernel object half made or half removed would belong to nobody.

Order of every change: record written, kernel asked, record written again. Source: the CRI's RuntimeService.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from carob.base.clock import Clock
from carob.base.ids import Randomness
from carob.base.log import get_logger, pairs
from carob.host.cgroup import Cgroups
from carob.host.threads import Threads
from carob.host.types import Host
from carob.runtime.embedded import mount_points
from carob.runtime.embedded.attach import attach
from carob.runtime.embedded.conmon import Conmon
from carob.runtime.embedded.containers import Containers, survey
from carob.runtime.embedded.crun import Crun
from carob.runtime.embedded.endings import Endings
from carob.runtime.embedded.exec import execute, execute_sync
from carob.runtime.embedded.image_store import ImageStore
from carob.runtime.embedded.launch import Launcher
from carob.runtime.embedded.mount_namespace import find_tool
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.port_forward import connect
from carob.runtime.embedded.records import ContainerRecord, Phase, Records, SandboxRecord, boot_id
from carob.runtime.embedded.sandbox_life import HANDLERS, SandboxLife
from carob.runtime.embedded.sandboxes import Sandboxes
from carob.runtime.embedded.seccomp import Filters
from carob.runtime.embedded.state import Inventory
from carob.runtime.embedded.stats import Stats
from carob.runtime.embedded.takeover import take_over
from carob.runtime.limits import container_limits, limits, merged
from carob.runtime.types import (
    ContainerConfig,
    ContainerStats,
    ContainerStatus,
    Duplex,
    Exited,
    FilesystemUsage,
    Image,
    NotFound,
    PodNetwork,
    Process,
    RegistryAuth,
    Resources,
    RuntimeFailure,
    RuntimeHandler,
    RuntimeStatus,
    SandboxConfig,
    SandboxStats,
    SandboxStatus,
)

T = TypeVar("T")

_log = get_logger("runtime")
_ID_BYTES = 32
VERSION = "0.1.0"


class EmbeddedRuntime:
    """Implements `carob.runtime.types.Runtime`. The process must have entered the cluster's mount namespace before
    (`mount_namespace.enter`); construct it on the event loop that will use it."""

    def __init__(
        self,
        *,
        host: Host,
        clock: Clock,
        randomness: Randomness,
        places: Places,
        network: PodNetwork,
        images: ImageStore,
        threads: int = 4,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._images = images
        self._network = network
        self._subscribers: list[Callable[[Exited], None]] = []
        self._operations: set[asyncio.Task[Any]] = set()
        cgroups = Cgroups(host)
        workers = Threads(host, threads)
        crun = Crun(host, places)
        self._parts = Parts(
            host=host,
            clock=clock,
            places=places,
            threads=workers,
            cgroups=cgroups,
            crun=crun,
            conmon=Conmon(host, places, find_tool("conmon"), crun.options),
            filters=Filters(host, places.seccomp, places.crun),
            containers=Containers(host, places, cgroups, survey(host, cgroups), crun),
            sandboxes=Sandboxes(host, places, cgroups, network, find_tool("catatonit"), workers.later),
            inventory=Inventory(),
            sandbox_records=Records(host, places.sandbox_records, SandboxRecord),
            container_records=Records(host, places.container_records, ContainerRecord),
            boot_id=boot_id(host),
            notify=self._notify,
        )
        self._endings = Endings(self._parts)
        self._launcher = Launcher(self._parts, self._endings, images, self._new_id)
        self._sandboxes = SandboxLife(self._parts, self._endings, self._launcher, self._new_id)
        self._stats = Stats(self._parts)

    def _new_id(self) -> str:
        return self._randomness.token(_ID_BYTES).hex()

    def _new_name(self) -> str:
        return self._randomness.token(8).hex()

    def _notify(self, exited: Exited) -> None:
        for subscriber in self._subscribers:
            subscriber(exited)

    async def _complete(self, operation: Coroutine[Any, Any, T], name: str) -> T:
        """Run it to its end even when the caller is cancelled; a failure that nobody hears any more is logged."""
        task = asyncio.get_running_loop().create_task(operation, name=name)
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_report)
            raise
        except OSError as error:
            raise RuntimeFailure(f"failed to {name}: {error}") from error

    async def start(self) -> None:
        """Take over what an earlier agent left running."""
        for folder in self._parts.places.folders():
            self._parts.host.mkdir(folder, 0o711)
        mount_points.make(self._parts.host, self._parts.places.mount_points)
        self._parts.threads.later(self._parts.containers.profiles.prepare)
        self._endings.exits.start()
        await take_over(self._parts, self._launcher, self._endings, self._sandboxes.watch)

    async def close(self) -> None:
        """Let go; containers run on."""
        while self._operations:
            await asyncio.wait(self._operations)
        self._endings.exits.close()
        for sandbox in self._parts.inventory.sandboxes.values():
            sandbox.unwatch()
        for container in self._parts.inventory.containers.values():
            if container.kill_timer is not None:
                container.kill_timer.cancel()
        self._parts.threads.close()

    def subscribe(self, exited: Callable[[Exited], None]) -> None:
        """Call `exited` on the loop for every end of a container or pause process."""
        self._subscribers.append(exited)

    async def version(self) -> tuple[str, str]:
        return "carob", VERSION

    async def status(self) -> RuntimeStatus:
        problem = self._network.status()
        return RuntimeStatus(
            # the CRI's words
            network_problem=f"NetworkReady=false reason:NetworkPluginNotReady message:{problem}" if problem else "",
            handlers=[RuntimeHandler(name, recursive_readonly_mounts=True, user_namespaces=True) for name in HANDLERS],
            supplemental_groups_policy=True,
        )

    # --- sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        return await self._complete(self._sandboxes.run(config), f"run sandbox of {config.namespace}/{config.name}")

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if sandbox_id in self._parts.inventory.sandboxes:
            sandbox = self._parts.inventory.sandbox(sandbox_id)
            await self._complete(self._sandboxes.stop(sandbox), f"stop sandbox {sandbox_id}")

    async def remove_sandbox(self, sandbox_id: str) -> None:
        if sandbox_id in self._parts.inventory.sandboxes:
            sandbox = self._parts.inventory.sandbox(sandbox_id)
            await self._complete(self._sandboxes.remove(sandbox), f"remove sandbox {sandbox_id}")

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return self._parts.inventory.sandbox(sandbox_id).status(self._parts.places)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        held = self._parts.inventory.sandboxes.values()
        return [s.status(self._parts.places) for s in held if s.record.phase is not Phase.MAKING]

    # --- containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._parts.inventory.sandbox(sandbox_id)
        container = await self._complete(self._launcher.create(sandbox, config), f"create container {config.name}")
        return container.record.id

    async def start_container(self, container_id: str) -> None:
        container = self._parts.inventory.container(container_id)
        await self._complete(self._launcher.start(container), f"start container {container_id}")

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        with suppress(NotFound):
            container = self._parts.inventory.container(container_id)
            # it is told at once; the waiting need not come to its end when the agent goes: the next one waits on
            try:
                await self._endings.stop(container, grace_seconds)
            except OSError as error:
                raise RuntimeFailure(f"failed to stop container {container_id}: {error}") from error

    async def remove_container(self, container_id: str) -> None:
        with suppress(NotFound):
            container = self._parts.inventory.container(container_id)
            await self._complete(self._launcher.remove(container), f"remove container {container_id}")

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._parts.inventory.container(container_id).status()

    async def list_containers(self) -> list[ContainerStatus]:
        held = self._parts.inventory.containers.values()
        return [c.status() for c in held if c.record.phase is not Phase.MAKING]

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        container = self._parts.inventory.container(container_id)
        record = container.record
        try:
            await self._parts.threads.run(
                lambda: self._parts.cgroups.update(record.cgroup, container_limits(resources))
            )
        except OSError as error:
            raise RuntimeFailure(f'failed to update resources of container "{container_id}": {error}') from error
        record.config.resources = merged(record.config.resources, resources)
        if container_id in self._parts.inventory.containers:
            self._parts.container_records.save(record)

    async def set_group_resources(self, path: str, resources: Resources) -> None:
        try:
            await self._parts.threads.run(lambda: self._parts.cgroups.create(path, limits(resources)))
        except OSError as error:
            raise RuntimeFailure(f"failed to set resources of {path}: {error}") from error

    async def update_sandbox_resources(self, sandbox_id: str, resources: Resources) -> None:
        sandbox = self._parts.inventory.sandbox(sandbox_id)
        parent = sandbox.record.config.cgroup_parent
        if not parent:
            return
        try:
            await self._parts.threads.run(lambda: self._parts.cgroups.update(parent, limits(resources)))
        except OSError as error:
            raise RuntimeFailure(f'failed to update resources of sandbox "{sandbox_id}": {error}') from error

    async def reopen_log(self, container_id: str) -> None:
        container = self._parts.inventory.container(container_id)
        try:
            self._parts.conmon.reopen_log(container.record.id)
        except OSError as error:
            raise RuntimeFailure(f'failed to reopen log of container "{container_id}": {error}') from error

    # --- streams and counters

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        record = self._parts.inventory.container(container_id).record
        return await execute(self._parts, record, command, stdin=stdin, tty=tty, name=self._new_name())

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float = 0.0, *, keep_bytes: int = 16 << 10
    ) -> tuple[int, bytes, bytes]:
        record = self._parts.inventory.container(container_id).record
        name = self._new_name()
        return await execute_sync(self._parts, record, command, timeout_seconds, name, keep_bytes)

    async def attach(self, container_id: str) -> Process:
        return await attach(self._parts, self._parts.inventory.container(container_id))

    async def port_forward(self, sandbox_id: str, port: int) -> Duplex:
        sandbox = self._parts.inventory.sandbox(sandbox_id)
        if sandbox.record.phase is not Phase.RUNNING:
            raise ConnectionError(f'sandbox "{sandbox_id}" is not ready')
        return await connect(self._parts, sandbox.record, port)

    async def container_stats(self, *, disk: bool = True) -> list[ContainerStats]:
        return await self._stats.all(disk=disk)

    async def sandbox_stats(self) -> list[SandboxStats]:
        return await self._stats.sandboxes()

    # --- images: the store's own

    def container_using(self, image_id: str) -> str:
        """The id of a container made from this image, or that has it mounted, or empty: such an image must not be removed."""
        containers = self._parts.inventory.containers.values()
        return next(
            (
                c.record.id
                for c in containers
                if c.record.image == image_id or any(mount.image == image_id for mount in c.record.config.mounts)
            ),
            "",
        )

    async def image_status(self, name: str) -> Image | None:
        return await self._images.image_status(name)

    async def list_images(self) -> list[Image]:
        return await self._images.list_images()

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image:
        return await self._images.pull_image(name, auth, progress)

    async def remove_image(self, name: str) -> None:
        await self._images.remove_image(name)

    async def image_filesystem(self) -> FilesystemUsage:
        return await self._images.image_filesystem()


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.warning("abandoned operation failed: %s", pairs(operation=task.get_name(), error=task.exception()))

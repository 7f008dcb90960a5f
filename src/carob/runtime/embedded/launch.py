"""From a container's config to a running process: record, files, monitor, start.

A command that crun refuses (no such file, not executable) is told by `start`, not by `create`, with exit code 128 and
the reason StartError: this is when upstream's runtime finds out, and what its users see in `lastState`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from carob.base.log import get_logger, pairs
from carob.runtime.embedded.conmon import CreateRefused, Launched
from carob.runtime.embedded.crun import explain
from carob.runtime.embedded.endings import Endings
from carob.runtime.embedded.image_store import ImageStore
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import ContainerRecord, Phase, identity
from carob.runtime.embedded.sandboxes import end_process
from carob.runtime.embedded.state import Container, Sandbox
from carob.runtime.types import ContainerConfig, Image, NamespaceMode, RuntimeFailure

_log = get_logger("runtime")
_START_FAILED_CODE = 128
_START_FAILED_REASON = "StartError"
_MONITOR_PATIENCE_SECONDS = 2.0
MAX_CREATES_AT_ONCE = 16
CREATE_FAILED = "CreateContainerError"
RUN_FAILED = "RunContainerError"


class Launcher:
    """Makes containers, lets them begin, and removes them."""

    def __init__(self, parts: Parts, endings: Endings, images: ImageStore, new_id: Callable[[], str]) -> None:
        self._parts = parts
        self._endings = endings
        self._images = images
        self._new_id = new_id
        self._slots = asyncio.Semaphore(MAX_CREATES_AT_ONCE)

    async def create(self, sandbox: Sandbox, config: ContainerConfig) -> Container:
        """Raises: RuntimeFailure (CreateContainerError), with nothing left or `cleanup` naming it."""
        if sandbox.record.phase is not Phase.RUNNING:
            raise RuntimeFailure(f'sandbox "{sandbox.record.id}" is not ready', CREATE_FAILED)
        image = await self._images.image_status(config.image)
        if image is None:
            raise RuntimeFailure(f'image "{config.image}": not found', CREATE_FAILED)
        layers = [layer async for layer in self._images.layers(image.id)]
        volumes = await self._image_volumes(config)
        record = self._record(sandbox, config, image)
        container = Container(record)
        self._parts.inventory.containers[record.id] = container
        try:
            self._parts.container_records.save(record)
            async with self._slots:
                await self._make(container, sandbox, image, layers, volumes)
        except BaseException as error:
            left = await self._undo(container)
            if isinstance(error, RuntimeFailure):
                raise RuntimeFailure(str(error), error.reason or CREATE_FAILED, left) from error
            if isinstance(error, (OSError, TimeoutError)):
                raise RuntimeFailure(f"failed to create container: {error}", CREATE_FAILED, left) from error
            raise
        if not record.message:
            self._endings.follow(container)
        return container

    def _record(self, sandbox: Sandbox, config: ContainerConfig, image: Image) -> ContainerRecord:
        shared = sandbox.record.config
        new_id = self._new_id()
        log_path = f"{shared.log_directory}/{config.log_path}" if config.log_path and shared.log_directory else ""
        return ContainerRecord(
            id=new_id,
            sandbox_id=sandbox.record.id,
            config=config,
            boot_id=self._parts.boot_id,
            created_at=self._parts.clock.now(),
            image=image.id,
            image_id=image.digests[0] if image.digests else image.id,
            log_path=log_path,
            cgroup=f"{shared.cgroup_parent}/{new_id}",
            stop_signal=config.stop_signal or str(image.config.get("StopSignal") or "") or "SIGTERM",
        )

    async def _image_volumes(self, config: ContainerConfig) -> dict[str, list[str]]:
        """The layers of the images that are mounted, by the image's id as the mount names it."""
        found: dict[str, list[str]] = {}
        for name in {mount.image for mount in config.mounts if mount.image}:
            image = await self._images.image_status(name)
            if image is None:
                raise RuntimeFailure(f'image "{name}": not found', CREATE_FAILED)
            found[name] = [layer async for layer in self._images.layers(image.id)]
        return found

    async def _make(
        self,
        container: Container,
        sandbox: Sandbox,
        image: Image,
        layers: list[str],
        volumes: dict[str, list[str]],
    ) -> None:
        parts, record = self._parts, container.record
        security = record.config.security
        target = self._target_pid(record)
        capabilities = parts.containers.capabilities(record)
        async with parts.filters.use(security.seccomp, security.privileged, capabilities) as seccomp:

            def begin() -> Launched:
                parts.containers.prepare(record, sandbox.record, image.config, layers, seccomp, target, volumes)
                return parts.conmon.launch(record)

            launched = await parts.threads.run(begin)
            try:
                pid = await parts.conmon.made(launched)
            except CreateRefused as refusal:
                command = [*(record.config.command or ()), *(record.config.args or ())]
                record.message = f"OCI runtime create failed: {_explained(str(refusal), command)}"
            else:
                parts.filters.harvest(seccomp, parts.crun.filter_file(record.id))
                record.process = parts.host.identity(pid)
                record.monitor = parts.host.identity(parts.conmon.monitor_pid(record.id))
        record.phase = Phase.CREATED
        parts.container_records.save(record)

    def _target_pid(self, record: ContainerRecord) -> int:
        security = record.config.security
        if security.pid is not NamespaceMode.TARGET:
            return 0
        target = self._parts.inventory.container(security.target_container_id).record
        if target.process is None or target.phase is not Phase.RUNNING:
            raise RuntimeFailure(f'target container "{target.id}" is not running', CREATE_FAILED)
        return target.process[0]

    async def _undo(self, container: Container) -> list[str]:
        """Remove what a failed `create` made; what could not be removed stays known, for the next start to clear."""
        container.ended.set()
        try:
            await self._parts.threads.run(lambda: self.clear(container.record))
        except OSError as error:
            return [f"container {container.record.id}: {error}"]
        finally:
            self._parts.inventory.containers.pop(container.record.id, None)
        return []

    def clear(self, record: ContainerRecord) -> None:
        """End and remove all that a container may have left, whatever its record knows of it. Blocking; idempotent."""
        parts = self._parts
        parts.cgroups.kill(record.cgroup)
        monitor = identity(record.monitor)
        if monitor is None:
            monitor = parts.host.identity(parts.conmon.monitor_pid(record.id))
            if monitor is not None and record.id not in parts.host.read(f"/proc/{monitor.pid}/cmdline"):
                monitor = None
        if monitor is not None:
            # it ends soon after its container, and is the one to reap it
            end_process(parts.host, monitor, _MONITOR_PATIENCE_SECONDS)
        parts.containers.remove(record)
        parts.container_records.delete(record.id)

    async def start(self, container: Container) -> None:
        """Let it begin. Raises: RuntimeFailure (RunContainerError)."""
        async with container.lock:
            record = container.record
            if record.phase is not Phase.CREATED:
                raise RuntimeFailure(f'container "{record.id}" is in {record.phase} state', RUN_FAILED)
            if record.message:
                now, failure = self._parts.clock.now(), record.message
                self._endings.finish(container, _START_FAILED_CODE, now, _START_FAILED_REASON, failure)
                raise RuntimeFailure(failure, RUN_FAILED)
            if not self._parts.crun.release(record.id):
                code, said = await self._parts.crun.run(["start", record.id])
                if code != 0:
                    raise RuntimeFailure(f"OCI runtime start failed: {said}", RUN_FAILED)
            record.started_at = self._parts.clock.now()
            if not container.ended.is_set():
                record.phase = Phase.RUNNING
            try:
                self._parts.container_records.save(record)
            except OSError as error:
                # it runs: a restarted agent will see so from crun's start pipe, which is gone
                _log.warning("start of container cannot be recorded: %s", pairs(container=record.id, error=error))

    async def remove(self, container: Container) -> None:
        """Kill it if it runs, and remove all but its log. Raises: RuntimeFailure."""
        async with container.lock:
            record = container.record
            if record.id not in self._parts.inventory.containers:
                return
            await self._endings.stop(container, 0.0)
            self._endings.exits.forget(record.id)
            record.phase = Phase.REMOVING
            try:
                self._parts.container_records.save(record)
                await self._parts.threads.run(lambda: self.clear(record))
            except OSError as error:
                raise RuntimeFailure(f'failed to remove container "{record.id}": {error}') from error
            del self._parts.inventory.containers[record.id]
            _log.debug("removed %s", pairs(container=record.id))


def _explained(said: str, command: list[str]) -> str:
    _, words = explain(said, command)
    return words if words == said else f"unable to start container process: {words}"

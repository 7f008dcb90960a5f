"""What the agent holds in memory of each sandbox and container: the record, and who waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from carob.runtime.embedded.places import Places
from carob.runtime.embedded.records import ContainerRecord, Phase, SandboxRecord
from carob.runtime.types import ContainerState, ContainerStatus, NamespaceMode, NotFound, SandboxState, SandboxStatus

_STATES = {
    Phase.MAKING: ContainerState.UNKNOWN,
    Phase.CREATED: ContainerState.CREATED,
    Phase.RUNNING: ContainerState.RUNNING,
    Phase.ENDED: ContainerState.EXITED,
    Phase.REMOVING: ContainerState.EXITED,
}


class Sandbox:
    """A sandbox and the watch on its pause process."""

    def __init__(self, record: SandboxRecord) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.unwatch: Callable[[], None] = lambda: None

    def status(self, places: Places) -> SandboxStatus:
        """As the CRI tells it."""
        record = self.record
        pause = record.pause
        own_network = record.config.network is not NamespaceMode.NODE
        return SandboxStatus(
            id=record.id,
            config=record.config,
            state=SandboxState.READY if record.phase is Phase.RUNNING else SandboxState.NOT_READY,
            created_at=record.created_at,
            ips=list(record.ips),
            pause_pid=pause[0] if pause is not None else 0,
            netns_path=places.namespace(record.id, "net") if own_network else "",
        )


class Container:
    """A container, the event of its end, and the time at which patience with it ends."""

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.ended = asyncio.Event()
        self.kill_timer: asyncio.TimerHandle | None = None
        self.signalled = False
        if record.phase in (Phase.ENDED, Phase.REMOVING):
            self.ended.set()

    def status(self) -> ContainerStatus:
        """As the CRI tells it."""
        record, config = self.record, self.record.config
        return ContainerStatus(
            id=record.id,
            sandbox_id=record.sandbox_id,
            name=config.name,
            attempt=config.attempt,
            state=_STATES[record.phase],
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            exit_code=record.exit_code,
            image=config.image_spec or config.image,
            image_id=record.image_id,
            reason=record.reason,
            message=record.message,
            labels=config.labels,
            annotations=config.annotations,
            log_path=record.log_path,
            pid=record.process[0] if record.process is not None and record.phase is Phase.RUNNING else 0,
            stop_signal=record.stop_signal,
            resources=config.resources,
            user=record.user,
        )


class Inventory:
    """Everything that exists, by id."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Raises: NotFound."""
        found = self.sandboxes.get(sandbox_id)
        if found is None or found.record.phase is Phase.MAKING:
            raise NotFound(f'sandbox "{sandbox_id}": not found')
        return found

    def container(self, container_id: str) -> Container:
        """Raises: NotFound."""
        found = self.containers.get(container_id)
        if found is None or found.record.phase is Phase.MAKING:
            raise NotFound(f'container "{container_id}": not found')
        return found

    def containers_of(self, sandbox_id: str) -> list[Container]:
        return [c for c in self.containers.values() if c.record.sandbox_id == sandbox_id]

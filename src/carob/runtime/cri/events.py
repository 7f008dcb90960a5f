"""Who wants to hear of containers: created, started, stopped, deleted, whoever did it.

`announcing` puts a runtime's verbs through here, so that a client of the socket also hears what the kubelet did.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NamedTuple, cast

from carob.runtime.cri.container_messages import CREATED_EVENT, DELETED_EVENT, STARTED_EVENT, STOPPED_EVENT
from carob.runtime.types import ContainerConfig, Exited, NotFound, Runtime, SandboxConfig, SandboxStatus

MAX_WAITING = 1000
"""Events that a listener may leave unread; it is then told so, and lists anew. Source: containerd, eventsBackOff."""


class Event(NamedTuple):
    """Something happened to a container, or to a sandbox (the two ids are then the same)."""

    kind: int
    sandbox_id: str
    container_id: str


class Events:
    """Hands events to whoever listens; nobody waits for a listener."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Event | None]] = set()

    @property
    def listeners(self) -> int:
        """How many there are."""
        return len(self._listeners)

    def listen(self) -> asyncio.Queue[Event | None]:
        """What happens from now on; None: more has happened than was read."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._listeners.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[Event | None]) -> None:
        """No more."""
        self._listeners.discard(queue)

    def tell(self, kind: int, sandbox_id: str, container_id: str) -> None:
        """It happened."""
        for queue in tuple(self._listeners):
            if queue.qsize() >= MAX_WAITING:
                self._listeners.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(Event(kind, sandbox_id, container_id))

    def exited(self, exited: Exited) -> None:
        """For the runtime's `subscribe`."""
        self.tell(STOPPED_EVENT, exited.sandbox_id, exited.container_id or exited.sandbox_id)


def announcing(runtime: Runtime, events: Events) -> Runtime:
    """The same runtime, whose verbs are heard of."""
    runtime.subscribe(events.exited)
    return cast("Runtime", _Announcing(runtime, events))


class _Announcing:
    """Passes everything on; a few verbs are told of once they have succeeded."""

    def __init__(self, runtime: Runtime, events: Events) -> None:
        self._runtime = runtime
        self._events = events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        status = await self._runtime.run_sandbox(config)
        self._events.tell(CREATED_EVENT, status.id, status.id)
        self._events.tell(STARTED_EVENT, status.id, status.id)
        return status

    async def remove_sandbox(self, sandbox_id: str) -> None:
        inside = [c.id for c in await self._runtime.list_containers() if c.sandbox_id == sandbox_id]
        await self._runtime.remove_sandbox(sandbox_id)
        for container_id in [*inside, sandbox_id]:
            self._events.tell(DELETED_EVENT, sandbox_id, container_id)

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        container_id = await self._runtime.create_container(sandbox_id, config)
        self._events.tell(CREATED_EVENT, sandbox_id, container_id)
        return container_id

    async def start_container(self, container_id: str) -> None:
        await self._runtime.start_container(container_id)
        with suppress(NotFound):
            status = await self._runtime.container_status(container_id)
            self._events.tell(STARTED_EVENT, status.sandbox_id, container_id)

    async def remove_container(self, container_id: str) -> None:
        sandbox_id = next((c.sandbox_id for c in await self._runtime.list_containers() if c.id == container_id), "")
        await self._runtime.remove_container(container_id)
        if sandbox_id:
            self._events.tell(DELETED_EVENT, sandbox_id, container_id)

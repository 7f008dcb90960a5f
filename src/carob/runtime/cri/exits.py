"""Who has ended on somebody else's runtime: told once each, from its events where it has them, else by looking.

Source: kubelet `pleg/evented.go` (events), `pleg/generic.go` (a look every second).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from carob.base.log import get_logger, pairs
from carob.base.tasks import TaskGroup
from carob.runtime.cri.channel import Channel, Unimplemented
from carob.runtime.cri.container_messages import (
    CONTAINER_EXITED,
    DELETED_EVENT,
    STOPPED_EVENT,
    ContainerEventResponse,
    ContainerFilter,
    Containers,
    ListContainersRequest,
)
from carob.runtime.cri.sandbox_messages import (
    SANDBOX_READY,
    Empty,
    ListPodSandboxRequest,
    PodSandboxes,
    PodSandboxFilter,
)
from carob.runtime.types import Exited, RuntimeFailure

LOOK_SECONDS = 1.0
RARE_LOOK_SECONDS = 60.0
"""Between looks where there are events."""
_log = get_logger("cri")


class Exits:
    """Knows what has not ended yet. `labels`: those of everything that is ours."""

    def __init__(self, channel: Channel, labels: dict[str, str], tell: Callable[[Exited], None]) -> None:
        self._channel = channel
        self._labels = labels
        self._tell = tell
        self._containers: dict[str, str] = {}
        self._sandboxes: set[str] = set()
        self._known = asyncio.Event()
        self._has_events = True
        self._unsure = asyncio.Event()
        self._unsure.set()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="cri exits")

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def sandbox(self, sandbox_id: str) -> None:
        """It stands."""
        self._sandboxes.add(sandbox_id)
        self._known.set()

    def container(self, container_id: str, sandbox_id: str) -> None:
        """It was made, and has not ended."""
        self._containers[container_id] = sandbox_id
        self._known.set()

    def container_ended(self, container_id: str) -> None:
        """Told once."""
        sandbox_id = self._containers.pop(container_id, None)
        if sandbox_id is not None:
            self._tell(Exited(sandbox_id, container_id))

    def sandbox_ended(self, sandbox_id: str) -> None:
        """Told once, after its containers."""
        for container_id in [c for c, s in self._containers.items() if s == sandbox_id]:
            self.container_ended(container_id)
        if sandbox_id in self._sandboxes:
            self._sandboxes.discard(sandbox_id)
            self._tell(Exited(sandbox_id, ""))

    async def look(self) -> None:
        """Compare what we think with what is. Raises: RuntimeFailure, TimeoutError."""
        asked_containers, asked_sandboxes = set(self._containers), set(self._sandboxes)
        sandboxes = await self._channel.runtime(
            "ListPodSandbox",
            ListPodSandboxRequest(filter=PodSandboxFilter(label_selector=self._labels)),
            PodSandboxes,
        )
        containers = await self._channel.runtime(
            "ListContainers",
            ListContainersRequest(filter=ContainerFilter(label_selector=self._labels)),
            Containers,
        )
        alive = {one.id for one in containers.containers if one.state != CONTAINER_EXITED}
        standing = {one.id for one in sandboxes.items if one.state == SANDBOX_READY}
        # what was made meanwhile is none of this look's business
        for container_id in asked_containers - alive:
            self.container_ended(container_id)
        for sandbox_id in asked_sandboxes - standing:
            self.sandbox_ended(sandbox_id)

    async def _run(self) -> None:
        async with TaskGroup() as group:
            group.spawn(self._listen(), "cri events")
            group.spawn(self._keep_looking(), "cri looks")

    async def _keep_looking(self) -> None:
        while True:
            if not (self._containers or self._sandboxes):
                self._known.clear()
            await self._known.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(RARE_LOOK_SECONDS):
                    await self._unsure.wait()
            if self._has_events:
                self._unsure.clear()
            # a stream that has just begun may not stand yet: what ends now is seen by a look a moment later
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (RuntimeFailure, TimeoutError) as error:
                _log.info("the container runtime cannot be asked %s", pairs(error=error))
                self._unsure.set()

    async def _listen(self) -> None:
        while self._has_events:
            try:
                async for event in self._channel.stream("GetContainerEvents", Empty(), ContainerEventResponse):
                    self._heard(event)
            except Unimplemented:
                self._has_events = False
            except (RuntimeFailure, TimeoutError) as error:
                _log.info("the container runtime's events have ended %s", pairs(error=error))
            self._unsure.set()
            await asyncio.sleep(LOOK_SECONDS)

    def _heard(self, event: ContainerEventResponse) -> None:
        # what somebody removes by force may not have been told to stop before
        if event.container_event_type in (STOPPED_EVENT, DELETED_EVENT):
            if event.container_id in self._sandboxes:
                self.sandbox_ended(event.container_id)
            self.container_ended(event.container_id)

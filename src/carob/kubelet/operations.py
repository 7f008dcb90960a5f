"""The long work of Pods as tasks: at most one per Pod and key; each that ends makes its Pod dirty again.

A failure that a step knows is remembered by the step; what it raises besides is logged, and the Pod is looked at again
after a back-off.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.base.log import get_logger, pairs
from carob.kubelet.actions import NOTICEABLE_SECONDS, Kill, Work
from carob.kubelet.failures import POST_START_HOOK_ERROR
from carob.kubelet.lifecycle import HookFailure
from carob.kubelet.pod_record import Failure, find_container
from carob.kubelet.steps.image import ensure_image
from carob.kubelet.steps.release import erase, release
from carob.kubelet.steps.resize import resize_pod
from carob.kubelet.steps.restart_all import supersede_all
from carob.kubelet.steps.sandbox import start_sandbox
from carob.kubelet.steps.start_container import start_container
from carob.kubelet.steps.stop_container import stop_container
from carob.kubelet.steps.volumes import prepare_volumes
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.base.tasks import TaskGroup
    from carob.client.workqueue import WorkQueue
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

_log = get_logger("kubelet.operations")
RETRY_SECONDS = 1.0
RETRY_LONGEST_SECONDS = 60.0


class Operations:
    """Begins steps; returns at once."""

    def __init__(self, tools: Tools, queue: WorkQueue) -> None:
        self._tools = tools
        self._queue = queue
        self._group: TaskGroup | None = None
        self._failed: dict[tuple[str, str], int] = {}

    def open(self, group: TaskGroup) -> None:
        """Operations run in this group; call once."""
        self._group = group

    def start_sandbox(self, record: PodRecord, attempt: int) -> None:
        """Make the sandbox."""
        self._begin(record, "sandbox", lambda: start_sandbox(self._tools, record, attempt))

    def prepare_volumes(self, record: PodRecord) -> None:
        """Set up or refresh the volumes."""
        self._begin(record, "volumes", lambda: prepare_volumes(self._tools, record))

    def ensure_image(self, record: PodRecord, name: str) -> None:
        """Have a container's image."""
        self._begin(record, f"image:{name}", lambda: ensure_image(self._tools, record, name))

    def start_container(self, record: PodRecord, name: str, attempt: int) -> None:
        """Create and start a container; its postStart hook follows."""
        self._begin(record, f"start:{name}", lambda: self._start(record, name, attempt))

    def stop_container(self, record: PodRecord, container_id: str, grace_seconds: float, message: str) -> None:
        """End a container; called again with a shorter grace, the shorter one counts."""
        deadline = self._tools.clock.monotonic() + grace_seconds
        begun = container_id in record.stop_deadlines
        if begun and record.stop_deadlines[container_id] <= deadline + NOTICEABLE_SECONDS:
            return
        record.stop_deadlines[container_id] = deadline
        key = f"stop:{container_id}"
        earlier = record.operations.pop(key, None)
        if earlier is not None:
            earlier.cancel()
        self._begin(record, key, lambda: self._stop(record, container_id, grace_seconds, message, hook=not begun))

    def resize(self, record: PodRecord) -> None:
        """Bring running containers to their allocated sizes."""
        self._begin(record, "resize", lambda: resize_pod(self._tools, record))

    def restart_all(self, record: PodRecord) -> None:
        """Clear the ended containers away, so that all begin anew."""
        self._begin(record, "restart", lambda: supersede_all(self._tools, record))

    def release(self, record: PodRecord) -> None:
        """Give back what the ended Pod holds."""
        record.released = Work.BUSY
        self._begin(record, "release", lambda: self._release(record))

    def erase(self, record: PodRecord, done: Callable[[], None]) -> None:
        """Remove the last traces."""
        self._begin(record, "erase", lambda: self._erase(record, done))

    def cancel_starts(self, record: PodRecord) -> None:
        """The Pod is to end: stop waiting for images and postStart hooks."""
        for key, task in record.operations.items():
            if key.startswith(("image:", "hook:")):
                task.cancel()

    # -- within

    def _begin(self, record: PodRecord, key: str, step: Callable[[], Awaitable[None]]) -> None:
        if key in record.operations:
            return
        assert self._group is not None, "open() comes first"
        task = self._group.spawn(self._run(record, key, step), f"{record.pod.metadata.name} {key}")
        record.operations[key] = task

    async def _run(self, record: PodRecord, key: str, step: Callable[[], Awaitable[None]]) -> None:
        me = asyncio.current_task()
        failed = (record.uid, key)
        try:
            await step()
            self._failed.pop(failed, None)
        except Exception as error:  # noqa: BLE001 - one Pod's trouble must not end the agent
            tries = self._failed[failed] = self._failed.get(failed, 0) + 1
            wait = min(RETRY_SECONDS * 2.0 ** min(tries - 1, 10), RETRY_LONGEST_SECONDS)
            expected = isinstance(error, OSError | RuntimeFailure | ApiError)
            _log.log(
                logging.WARNING if expected else logging.ERROR,
                "step failed %s",
                pairs(pod=record.pod.metadata.name, step=key, again_in=f"{wait:g}s", error=error),
                exc_info=tries == 1 and not expected,
            )
            self._remember(record, key, error, wait)
            # the operation stays under way while it waits, so that nobody begins it anew
            await self._tools.clock.sleep(wait)
            self._forget_failure(record, key)
        finally:
            if record.operations.get(key) is me:
                del record.operations[key]
                self._queue.add(record.uid)

    def _remember(self, record: PodRecord, key: str, error: Exception, wait: float) -> None:
        kind, _, name = key.partition(":")
        if kind in ("image", "start"):
            failure = Failure("FailedSync", str(error), self._tools.clock.monotonic() + wait)
            record.failures[name] = failure
            self._queue.add(record.uid)

    def _forget_failure(self, record: PodRecord, key: str) -> None:
        kind, _, name = key.partition(":")
        if kind == "stop":
            record.stop_deadlines.pop(name, None)
        elif kind == "release":
            record.released = Work.NONE

    async def _start(self, record: PodRecord, name: str, attempt: int) -> None:
        await start_container(self._tools, record, name, attempt)
        latest = record.latest(name)
        if latest is not None and latest.id in record.hooked:
            self._begin(record, f"hook:{latest.id}", lambda: self._post_start(record, name, latest.id))

    async def _post_start(self, record: PodRecord, name: str, container_id: str) -> None:
        container = find_container(record.pod, name)
        assert container is not None
        assert container.lifecycle is not None
        assert container.lifecycle.post_start is not None
        hidden = False
        try:
            await self._tools.hooks.run(record, container, container_id, container.lifecycle.post_start)
        except HookFailure as failure:
            # until it has ended: a container whose hook failed never counts as running
            hidden = True
            # what the hook wrote may hold secrets: the Pod's status says it, events are read by more people
            self._tools.events(record).warning("FailedPostStartHook", "PostStartHook failed", name)
            now = self._tools.clock.monotonic()
            record.failures[name] = Failure(POST_START_HOOK_ERROR, str(failure), now + 10.0)
            record.hook_kills[container_id] = Kill("FailedPostStartHook", "FailedPostStartHook")
            self._queue.add(record.uid)
        finally:
            if not hidden:
                record.hooked.discard(container_id)

    async def _stop(
        self, record: PodRecord, container_id: str, grace_seconds: float, message: str, *, hook: bool
    ) -> None:
        await stop_container(self._tools, record, container_id, grace_seconds, message, hook=hook)
        record.stop_deadlines.pop(container_id, None)

    async def _release(self, record: PodRecord) -> None:
        await release(self._tools, record)
        record.prepared = None
        record.released = Work.READY

    async def _erase(self, record: PodRecord, done: Callable[[], None]) -> None:
        await erase(self._tools, record)
        for failed in [failed for failed in self._failed if failed[0] == record.uid]:
            del self._failed[failed]
        done()

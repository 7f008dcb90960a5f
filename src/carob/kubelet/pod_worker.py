"""One look at one Pod: refresh what is known, decide, begin what is due, tell the status. Never waits for long work.

Long work (sandbox, image, start, stop, hook, release) runs as operations: tasks of which each Pod has at most one per
key. An operation that ends makes the Pod dirty again, so a Pod's next step begins the moment the last one is done.
One look per Pod at a time is the work queue's promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from carob.kubelet import actions, resize
from carob.kubelet.actions import Work
from carob.kubelet.backoff import Backoff
from carob.kubelet.decide import decide
from carob.kubelet.observe import pod_view, refresh
from carob.kubelet.operations import Operations
from carob.kubelet.pod_record import REDEFINED, find_container, snapshot
from carob.kubelet.restart_all import cause
from carob.kubelet.security import pod_description
from carob.kubelet.status import TERMINAL, pod_status, with_foreign
from carob.kubelet.steps.resize import due
from carob.kubelet.tools import pod_ips
from carob.runtime.types import ContainerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.types import core_v1
    from carob.client.workqueue import WorkQueue
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.status_manager import StatusManager
    from carob.kubelet.tools import Tools

DEFAULT_GRACE_SECONDS = 30.0
SHORTEST_FORCED_GRACE_SECONDS = 1.0


class PodWorker:
    """`look` is the reconcile function of the Pods' work queue."""

    def __init__(self, tools: Tools, statuses: StatusManager, queue: WorkQueue, records: dict[str, PodRecord]) -> None:
        self._tools = tools
        self._statuses = statuses
        self._queue = queue
        self._records = records
        self.forgotten: Callable[[PodRecord], None] = lambda record: None
        """Called when nothing of a Pod is left."""
        self.operations = Operations(tools, queue)
        self._on_start: Callable[[], None] = lambda: None
        self._on_sized: Callable[[], None] = lambda: None

    def on_start(self, callback: Callable[[], None]) -> None:
        """Call it whenever a container is about to be started."""
        self._on_start = callback

    def on_sized(self, callback: Callable[[], None]) -> None:
        """Call it whenever what the Pods together are allocated has changed."""
        self._on_sized = callback

    async def look(self, uid: str) -> None:
        """Bring one Pod on."""
        record = self._records.get(uid)
        if record is None:
            return
        await refresh(self._tools, record)
        self._deadline(record)
        clock = self._tools.clock
        if record.terminating and record.ends_at is None:
            record.ends_at = clock.monotonic() + self._grace(record)
        if record.terminating:
            self.operations.cancel_starts(record)
        self._sync_probes(record)
        self._size(record)
        view = snapshot(
            record,
            now=clock.monotonic(),
            wall=clock.now(),
            grace_seconds=self._remaining_grace(record),
            kills={**self._tools.probes.kills, **record.resize_kills, **record.hook_kills}
            if record.resize_kills or record.hook_kills
            else self._tools.probes.kills,
            started=[s.id for s in record.containers.values() if self._tools.probes.is_started(s.id)],
        )
        decision = decide(view)
        for action in decision.actions:
            self._begin(record, action)
        restarting = bool(cause(view)) and not view.terminating
        self._tell(record, over=decision.finished and not record.running(), restarting=restarting)
        self._finish(record, decision)
        self._wake_later(record, decision)

    # -- sizes

    def _size(self, record: PodRecord) -> None:
        """Allocate what the spec asks for, if it fits, and have it actuated."""
        if not record.admitted or record.terminating or record.failed is not None:
            return
        wanted = resize.sizes_of(record.pod)
        if record.allocated is None:
            told = resize.told_sizes(record.pod) if record.containers else None
            record.allocated, record.actuated = told if told is not None else (wanted, {})
            self._on_sized()
        if record.allocated != wanted:
            self._allocate(record, wanted)
        else:
            record.resize_refusal = None
        for container_id in [one for one in record.resize_kills if not _runs(record, one)]:
            del record.resize_kills[container_id]
        if not due(record):
            record.resize_error = ""
            if record.resizing and not record.resize_kills:
                self._tell_resize(record, "completed", "ResizeCompleted", record.resizing)
                record.resizing = 0
        elif (wait := record.resize_retry_at - self._tools.clock.monotonic()) > 0 and record.resize_error:
            self._queue.add_after(record.uid, wait)
        else:
            self.operations.resize(record)

    def _allocate(self, record: PodRecord, wanted: resize.Sizes) -> None:
        others = [r.sized_pod for r in self._records.values() if r.admitted and not r.terminating and r is not record]
        node = self._tools.node()
        refusal = resize.refusal(record.pod, others, node.allocatable)
        told, record.resize_refusal = record.resize_refusal, refusal
        generation = record.pod.metadata.generation
        if refusal is not None:
            if refusal != told:
                words = resize.message(refusal.reason, record.pod, generation, refusal.message)
                self._tools.events(record).warning(f"Resize{refusal.reason}", words)
        else:
            record.allocated = wanted
            record.resize_error = ""
            record.resizing = generation
            self._tell_resize(record, "started", "ResizeStarted", generation)
            self._on_sized()
            self._room_again(record)

    def _tell_resize(self, record: PodRecord, what: str, reason: str, generation: int) -> None:
        self._tools.events(record).normal(reason, resize.message(what, record.sized_pod, generation))

    def _room_again(self, record: PodRecord) -> None:
        """A Pod that may have become smaller, or goes: others may have waited for that."""
        for other in self._records.values():
            if other is not record and other.resize_refusal is not None:
                self._queue.add(other.uid)

    # -- what is due

    def _begin(self, record: PodRecord, action: actions.Action) -> None:
        operations = self.operations
        if isinstance(action, actions.StartSandbox):
            operations.start_sandbox(record, action.attempt)
        elif isinstance(action, actions.PrepareVolumes):
            operations.prepare_volumes(record)
        elif isinstance(action, actions.EnsureImage):
            operations.ensure_image(record, action.name)
        elif isinstance(action, actions.StartContainer):
            latest = record.latest(action.name)
            if latest is None or not record.begins_anew(latest):
                self._count_crash(record, action.name)
            self._on_start()
            operations.start_container(record, action.name, action.attempt)
        elif isinstance(action, actions.StopContainer):
            if action.reason == REDEFINED:
                record.redefined.add(action.container_id)
            grace = self._grace(record) if action.grace_seconds is None else action.grace_seconds
            operations.stop_container(record, action.container_id, grace, action.message)
        elif isinstance(action, actions.RestartAll):
            self._count_crash(record, action.name)
            operations.restart_all(record)
        elif isinstance(action, actions.Release):
            operations.release(record)
        else:
            self._back_off(record, action.name)

    def _count_crash(self, record: PodRecord, name: str) -> None:
        latest = record.latest(name)
        if latest is None:
            return
        now = self._tools.clock.now()
        record.crashes.setdefault(name, Backoff()).advance(latest.finished_at or now, now)

    def _back_off(self, record: PodRecord, name: str) -> None:
        latest = record.latest(name)
        failure = record.failures.get(name)
        now = self._tools.clock.monotonic()
        if failure is not None and failure.retry_at > now:
            # the error itself is shown for a moment before the wait
            self._queue.add_after(record.uid, failure.retry_at - now)
            return
        record.failures.pop(name, None)
        if latest is None or latest.id in record.backing_off:
            return
        record.backing_off.add(latest.id)
        self._tools.events(record).warning(
            "BackOff",
            f"Back-off restarting failed container {name} in pod {pod_description(record.pod)}",
            name,
        )

    # -- the end

    def _grace(self, record: PodRecord) -> float:
        """The Pod's grace period. Source: `calculateEffectiveGracePeriod`."""
        metadata = record.pod.metadata
        if metadata.deletion_timestamp is not None and metadata.deletion_grace_period_seconds is not None:
            seconds = float(metadata.deletion_grace_period_seconds)
            return max(seconds, SHORTEST_FORCED_GRACE_SECONDS) if record.removed else seconds
        configured = record.pod.spec.termination_grace_period_seconds
        return DEFAULT_GRACE_SECONDS if configured is None else float(configured)

    def _remaining_grace(self, record: PodRecord) -> float:
        """What is left of it; a later and shorter grace period wins."""
        if record.ends_at is None:
            return self._grace(record)
        now = self._tools.clock.monotonic()
        record.ends_at = min(record.ends_at, now + self._grace(record))
        return max(0.0, record.ends_at - now)

    def _deadline(self, record: PodRecord) -> None:
        seconds = record.pod.spec.active_deadline_seconds
        if seconds is None or record.start_time is None or record.terminating:
            return
        left = record.start_time + seconds - self._tools.clock.now()
        if left > 0:
            self._queue.add_after(record.uid, left)
            return
        text = "Pod was active on the node longer than the specified deadline"
        record.failed = ("DeadlineExceeded", text)
        self._tools.events(record).normal("DeadlineExceeded", text)

    def _finish(self, record: PodRecord, decision: actions.Decision) -> None:
        if not (decision.finished and record.released is Work.READY):
            return
        if record.removed:
            self.operations.erase(record, lambda: self._forget(record))
        elif record.deleting:
            self._statuses.delete(record.pod)

    def _forget(self, record: PodRecord) -> None:
        self._records.pop(record.uid, None)
        self._room_again(record)
        self._on_sized()
        self._statuses.forget(record.uid)
        self.forgotten(record)

    # -- telling

    def _tell(self, record: PodRecord, *, over: bool, restarting: bool) -> None:
        pod = record.pod
        if record.removed or (pod.status.phase in TERMINAL and not record.containers):
            # nobody to tell, or nothing to tell that the API does not know better
            return
        known = self._statuses.known(pod)
        status = pod_status(
            _with_status(pod, known),
            pod_view(self._tools, record, over=over, restarting=restarting),
            self._tools.clock.now(),
        )
        self._statuses.set(pod, status)

    def _sync_probes(self, record: PodRecord) -> None:
        running = {}
        for status in record.containers.values():
            if status.state is ContainerState.RUNNING and status.id not in record.hooked:
                container = find_container(record.pod, status.name)
                if container is not None:
                    running[status.id] = container
        addresses = pod_ips(record, self._tools.node())
        self._tools.probes.sync(record.pod, addresses[0] if addresses else "", running, terminating=record.terminating)

    def _wake_later(self, record: PodRecord, decision: actions.Decision) -> None:
        if decision.wake_in_seconds is not None:
            self._queue.add_after(record.uid, decision.wake_in_seconds)
        if record.prepared is None or record.terminating:
            # what a Pod that ends has mounted stays as it is
            return
        if record.stale_volumes:
            failure = record.volume_failure
            wait = failure.retry_at - self._tools.clock.monotonic() if failure is not None else 0.0
            if wait > 0:
                self._queue.add_after(record.uid, wait)
            else:
                self.operations.prepare_volumes(record)
        elif record.prepared.renew_at:
            wait = record.prepared.renew_at - self._tools.clock.now()
            if wait <= 0:
                record.stale_volumes = True
                self._queue.add(record.uid)
            else:
                # each time: an earlier look has taken the place of this one, and the wall clock may have been set
                self._queue.add_after(record.uid, wait)


def _runs(record: PodRecord, container_id: str) -> bool:
    status = record.containers.get(container_id)
    return status is not None and status.state is ContainerState.RUNNING


def _with_status(pod: core_v1.Pod, status: core_v1.PodStatus) -> core_v1.Pod:
    """The Pod as if the API had this status already, with what others have written since; neither is changed."""
    if pod.status is status:
        return pod
    return msgspec.structs.replace(pod, status=with_foreign(status, pod.status))

"""Pods that wait for a node: those to be tried now, those that were tried too lately, those that nothing could help yet.

- *active*: to be tried, highest priority first, then the one that has waited longest.
- *backing off*: to be tried again, but each failure makes the pause longer. When nothing is active, a Pod that an event
  woke is tried at once; one whose binding failed waits its whole pause.
- *unschedulable*: sleeps until an event that could help it.
- *gated*: has scheduling gates; not tried at all.

Pure but for the monotonic time that is handed in. Bounded by the number of Pods in the cluster.
Source: scheduler `backend/queue`.
"""

from __future__ import annotations

import heapq
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from carob.scheduler.pods import PodInfo

# Source: podInitialBackoffSeconds, podMaxBackoffSeconds.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0


class Place(Enum):
    ACTIVE = "active"
    BACKING_OFF = "backing off"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    IN_FLIGHT = "in flight"


class Waiting(Struct):
    """A Pod in the queue. `rejected_by`: the filters that said no last time; empty if none was asked."""

    pod: PodInfo
    place: Place = Place.ACTIVE
    attempts: int = 0
    tried_at: float = 0.0
    ready_at: float = 0.0
    rejected_by: frozenset[str] = field(default_factory=frozenset)
    sort: Hashable = None
    """While it sleeps: equal for those that the same events wake."""
    ticket: int = 0
    """Number of its newest heap entry; older entries are stale."""
    failed: bool = False
    """Its binding failed: no short-cut out of the pause."""


class SchedulingQueue:
    """See the module's docstring. Keys are `namespace/name`."""

    def __init__(
        self, first_pause_seconds: float = FIRST_PAUSE_SECONDS, longest_pause_seconds: float = LONGEST_PAUSE_SECONDS
    ) -> None:
        self._first_pause_seconds = first_pause_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._waiting: dict[str, Waiting] = {}
        self._asleep: dict[Hashable, dict[str, Waiting]] = {}
        self._active: list[tuple[int, int, str]] = []
        self._woken: list[tuple[float, int, str]] = []
        self._failed: list[tuple[float, int, str]] = []
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def get(self, key: str) -> Waiting | None:
        """The Pod of this key, if it waits or is in flight."""
        return self._waiting.get(key)

    def add(self, pod: PodInfo, *, heed_gates: bool = True) -> None:
        """A Pod without a node came, or changed: try it (a changed one after its pause), unless it is gated."""
        gated = heed_gates and bool(pod.view.spec.scheduling_gates)
        waiting = self._waiting.get(pod.key)
        if waiting is None or waiting.pod.uid != pod.uid:
            self.delete(pod.key)
            waiting = self._waiting[pod.key] = Waiting(pod)
            self._put(waiting, Place.GATED if gated else Place.ACTIVE)
            return
        changed = waiting.place is Place.GATED or _matters(waiting.pod, pod)
        waiting.pod = pod
        if gated:
            self._put(waiting, Place.GATED)
        elif changed and waiting.place in (Place.UNSCHEDULABLE, Place.GATED):
            self._put(waiting, Place.ACTIVE)

    def delete(self, key: str) -> None:
        """The Pod is gone, or has a node now."""
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            self._rise(waiting)

    def pop(self, now: float) -> Waiting | None:
        """The next Pod to try; None when there is none now (`next_ready` says when there will be)."""
        self._release(now)
        # nothing is active: no reason to let a Pod wait that an event woke. Source: SchedulerPopFromBackoffQ
        waiting = self._pop(self._active, Place.ACTIVE) or self._pop(self._woken, Place.BACKING_OFF)
        if waiting is None:
            return None
        waiting.place = Place.IN_FLIGHT
        waiting.attempts += 1
        waiting.tried_at = now
        return waiting

    def sleep(self, waiting: Waiting, rejected_by: frozenset[str], sort: Hashable) -> None:
        """No node could take it: wait for an event. Pods of one `sort` are woken by the same events."""
        waiting.rejected_by = rejected_by
        waiting.sort = sort
        waiting.failed = False
        self._put(waiting, Place.UNSCHEDULABLE)

    def hold(self, waiting: Waiting, rejected_by: frozenset[str]) -> None:
        """It was not even tried: something that it needs is about to come."""
        waiting.attempts -= 1
        waiting.tried_at = -self._longest_pause_seconds
        self.sleep(waiting, rejected_by, waiting.pod.key)

    def again(self, waiting: Waiting) -> None:
        """What was decided for it is no longer true: at once, without counting as a try."""
        if self._waiting.get(waiting.pod.key) is waiting:
            waiting.attempts -= 1
            self._put(waiting, Place.ACTIVE)

    def retry(self, waiting: Waiting) -> None:
        """Its binding failed: again after the whole pause."""
        if self._waiting.get(waiting.pod.key) is not waiting:
            return
        waiting.failed = True
        waiting.ready_at = waiting.tried_at + self._pause_seconds(waiting)
        self._put(waiting, Place.BACKING_OFF)

    def wake(self, now: float, could_fit: Callable[[Waiting], bool]) -> int:
        """Something happened: try those sleepers again that `could_fit` says yes to; how many these are.

        One of each sort is asked about, and speaks for all of its sort.
        """
        sorts = [list(alike.values()) for alike in self._asleep.values() if could_fit(next(iter(alike.values())))]
        return sum(self._wake(alike, now) for alike in sorts)

    def wake_each(self, now: float, could_fit: Callable[[Waiting], bool]) -> int:
        """As `wake`, but every sleeper is asked about."""
        return self._wake([one for alike in self._asleep.values() for one in alike.values() if could_fit(one)], now)

    def nudge(self, key: str, now: float) -> None:
        """What kept this one Pod away is gone."""
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.place is Place.UNSCHEDULABLE:
            self._wake([waiting], now)

    def wake_late(self, now: float, seconds: float) -> int:
        """Try those sleepers again that were not tried for so long; how many these are."""
        return self.wake_each(now, lambda waiting: waiting.tried_at <= now - seconds)

    def _wake(self, woken: list[Waiting], now: float) -> int:
        for waiting in woken:
            waiting.ready_at = waiting.tried_at + self._pause_seconds(waiting)
            self._put(waiting, Place.ACTIVE if waiting.ready_at <= now else Place.BACKING_OFF)
        return len(woken)

    def _pause_seconds(self, waiting: Waiting) -> float:
        """How long it may not be tried after its last try."""
        # a hundred doublings are more than anybody waits
        doubled = self._first_pause_seconds * 2.0 ** min(max(waiting.attempts - 1, 0), 100)
        return min(doubled, self._longest_pause_seconds)

    def _rise(self, waiting: Waiting) -> None:
        """It sleeps no longer."""
        alike = self._asleep.get(waiting.sort)
        if alike is not None and alike.get(waiting.pod.key) is waiting:
            del alike[waiting.pod.key]
            if not alike:
                del self._asleep[waiting.sort]

    def next_ready(self) -> float | None:
        """When the next pause that must be kept ends; None when there is none."""
        return self._first(self._failed)

    def _first(self, paused: list[tuple[float, int, str]]) -> float | None:
        while paused:
            ready_at, ticket, key = paused[0]
            if self._is_current(key, ticket, Place.BACKING_OFF):
                return ready_at
            heapq.heappop(paused)
        return None

    def _put(self, waiting: Waiting, place: Place) -> None:
        self._tickets += 1
        waiting.place = place
        waiting.ticket = self._tickets
        key = waiting.pod.key
        if place is Place.UNSCHEDULABLE:
            self._asleep.setdefault(waiting.sort, {})[key] = waiting
            return
        self._rise(waiting)
        if place is Place.ACTIVE:
            heapq.heappush(self._active, (-waiting.pod.priority, self._tickets, key))
        elif place is Place.BACKING_OFF:
            heapq.heappush(self._failed if waiting.failed else self._woken, (waiting.ready_at, self._tickets, key))

    def _is_current(self, key: str, ticket: int, place: Place) -> bool:
        waiting = self._waiting.get(key)
        return waiting is not None and waiting.ticket == ticket and waiting.place is place

    def _release(self, now: float) -> None:
        """Those whose pause is over are active again."""
        for paused in (self._woken, self._failed):
            while (ready_at := self._first(paused)) is not None and ready_at <= now:
                _, _, key = heapq.heappop(paused)
                self._put(self._waiting[key], Place.ACTIVE)

    def _pop(self, heap: list[tuple[Any, int, str]], place: Place) -> Waiting | None:
        while heap:
            _, ticket, key = heapq.heappop(heap)
            if self._is_current(key, ticket, place):
                return self._waiting[key]
        return None


def _matters(old: PodInfo, new: PodInfo) -> bool:
    """Whether the change of a Pod could make it fit."""
    before, after = old.view, new.view
    return (
        old.requests != new.requests
        or before.spec.tolerations != after.spec.tolerations
        or before.spec.node_selector != after.spec.node_selector
        or before.spec.affinity != after.spec.affinity
        or before.metadata.labels != after.metadata.labels
        or before.status.resource_claim_statuses != after.status.resource_claim_statuses
    )

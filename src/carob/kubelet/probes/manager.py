"""All probes of the node on one timer: which are due, what their outcomes mean for the container.

Level-triggered: `sync` is told which containers of a Pod run now; probes of others end. One heap of due times, one
task that waits for the earliest, a bounded number of tries at once. Touches the runtime and the network (the tries).
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.base.tasks import Signal, TaskGroup
from carob.kubelet.actions import Kill
from carob.kubelet.events import PodEvents
from carob.kubelet.probes.check import check
from carob.kubelet.probes.counts import Counts
from carob.kubelet.probes.outcome import Outcome
from carob.kubelet.probes.state import ProbeState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.runtime.types import Runtime

AT_ONCE = 64
DEFAULT_PERIOD_SECONDS = 10
HEAP_SLACK = 64
# probes that are due so close to each other are begun by one wake-up
TOGETHER_SECONDS = 0.01
READINESS, LIVENESS, STARTUP = "Readiness", "Liveness", "Startup"

# Most servers listen a moment after their process has begun. Upstream's first try comes up to a second later than the
# start; ours comes at once and twice more within that second, and only success counts: a Pod is not kept waiting a
# whole period because it was asked too early.
EARLY_TRIES_SECONDS = (0.0, 0.1, 0.3)
FIRST_COUNTED_SECONDS = 1.0


class _Probed(Struct):
    """One running container with its probes."""

    pod: core_v1.Pod
    container: core_v1.Container
    container_id: str
    pod_ip: str
    began: float
    states: dict[str, ProbeState] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    early: dict[str, int] = field(default_factory=dict)
    """How many early tries of a probe have been made; gone once tries count."""
    due: dict[str, float] = field(default_factory=dict)
    """When the first try of a probe may be made."""
    ended: bool = False


class Probes:
    """`is_ready`, `is_started` and `kills` are what the Pod's worker looks at."""

    def __init__(self, runtime: Runtime, clock: Clock, recorder: EventRecorder, changed: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._recorder = recorder
        self._changed = changed
        self._probed: dict[str, _Probed] = {}
        self._by_pod: dict[str, set[str]] = {}
        self._heap: list[tuple[float, int, str, str]] = []
        self._sequence = 0
        self._signal = Signal()
        self._timer: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.counts = Counts()
        self.kills: dict[str, Kill] = {}
        """Containers that must be ended because a probe failed, by id."""

    def sync(
        self, pod: core_v1.Pod, pod_ip: str, running: Mapping[str, core_v1.Container], *, terminating: bool
    ) -> None:
        """These containers (by id) of the Pod run now. While it is ended only readiness is asked on."""
        uid = pod.metadata.uid
        before = self._by_pod.get(uid)
        if before is None and not running:
            return
        for container_id in (before or set()) - running.keys():
            self._end(container_id)
        for container_id, container in running.items():
            probed = self._probed.get(container_id)
            if probed is None:
                if not terminating:
                    self._begin(pod, pod_ip, container_id, container)
            else:
                probed.pod, probed.pod_ip = pod, pod_ip
                if terminating:
                    probed.states.pop(LIVENESS, None)
        now_probed = {one for one in running if one in self._probed}
        if now_probed:
            self._by_pod[uid] = now_probed
        else:
            self._by_pod.pop(uid, None)

    def is_ready(self, container_id: str) -> bool:
        """Whether its readiness probe, if it has one, says that it may get traffic."""
        probed = self._probed.get(container_id)
        if probed is None:
            return True
        state = probed.states.get(READINESS)
        return state is None or state.passing is True

    def is_started(self, container_id: str) -> bool:
        """Whether its startup probe, if it has one, has succeeded."""
        probed = self._probed.get(container_id)
        if probed is None:
            return True
        state = probed.states.get(STARTUP)
        return state is None or state.passing is True

    async def run(self) -> None:
        """Try what is due, until cancelled."""
        async with TaskGroup() as group:
            while True:
                now = self._clock.monotonic()
                while self._heap and self._heap[0][0] <= now + TOGETHER_SECONDS:
                    _, _, container_id, kind = heapq.heappop(self._heap)
                    probed = self._probed.get(container_id)
                    if probed is not None and kind in probed.states and kind not in probed.busy:
                        probed.busy.add(kind)
                        group.spawn(self._try(probed, kind, now), f"{kind} probe {container_id[:12]}")
                await self._wait(self._heap[0][0] - now if self._heap else None)

    async def _wait(self, seconds: float | None) -> None:
        """Return when the earliest probe is due, or when an earlier one has come."""
        if seconds is None:
            await self._signal.wait()
            return
        self._timer = asyncio.create_task(self._clock.sleep(seconds), name="probe timer")
        try:
            await asyncio.wait((self._timer,))
        finally:
            self._timer.cancel()
            self._timer = None

    def _begin(self, pod: core_v1.Pod, pod_ip: str, container_id: str, container: core_v1.Container) -> None:
        states = {}
        was_ready, was_started = _told(pod, container_id)
        if container.readiness_probe is not None:
            states[READINESS] = ProbeState(container.readiness_probe, was_ready)
        if container.liveness_probe is not None:
            states[LIVENESS] = ProbeState(container.liveness_probe, True)
        if container.startup_probe is not None:
            states[STARTUP] = ProbeState(container.startup_probe, was_started or None)
        if not states:
            return
        probed = _Probed(pod, container, container_id, pod_ip, self._clock.monotonic(), states)
        self._probed[container_id] = probed
        starting = STARTUP in states and not was_started
        for kind in [STARTUP] if starting else [kind for kind in states if kind != STARTUP]:
            self._arm_first(probed, kind)

    def _arm_first(self, probed: _Probed, kind: str) -> None:
        delay = probed.states[kind].probe.initial_delay_seconds
        due = probed.due[kind] = max(self._clock.monotonic(), probed.began + delay)
        if kind == LIVENESS:
            self._arm(probed, kind, max(due, probed.began + FIRST_COUNTED_SECONDS))
            return
        probed.early[kind] = 0
        self._arm(probed, kind, due)

    def _arm_early(self, probed: _Probed, kind: str) -> None:
        """After an early try that failed: once more soon, then the tries that count."""
        probed.early[kind] += 1
        made = probed.early[kind]
        if made < len(EARLY_TRIES_SECONDS):
            wait = EARLY_TRIES_SECONDS[made]
        else:
            del probed.early[kind]
            wait = FIRST_COUNTED_SECONDS
        self._arm(probed, kind, probed.due[kind] + wait)

    def _end(self, container_id: str) -> None:
        probed = self._probed.pop(container_id, None)
        if probed is not None:
            probed.ended = True
        self.kills.pop(container_id, None)
        self.counts.forget(container_id)

    def _arm(self, probed: _Probed, kind: str, due: float) -> None:
        self._sequence += 1
        if len(self._heap) > HEAP_SLACK + 4 * len(self._probed):
            # entries of containers that have gone stay until they are due; of many short ones there may be many
            self._heap = [entry for entry in self._heap if entry[2] in self._probed]
            heapq.heapify(self._heap)
        first = not self._heap or due < self._heap[0][0]
        heapq.heappush(self._heap, (due, self._sequence, probed.container_id, kind))
        if first:
            if self._timer is not None:
                self._timer.cancel()
            else:
                self._signal.set()

    async def _try(self, probed: _Probed, kind: str, due: float) -> None:
        state = probed.states[kind]
        async with self._slots:
            outcome, text = await check(
                self._runtime, probed.container, state.probe, probed.container_id, probed.pod_ip
            )
        probed.busy.discard(kind)
        if probed.ended or kind not in probed.states:
            return
        if outcome is Outcome.WARNING:
            PodEvents(self._recorder, probed.pod).warning(
                "ProbeWarning", f"{kind} probe warning: {text}", probed.container.name
            )
            outcome = Outcome.SUCCESS
        self.counts.add(probed.container_id, probed.pod, probed.container.name, kind, outcome)
        if kind in probed.early:
            if outcome is not Outcome.SUCCESS:
                self._arm_early(probed, kind)
                return
            del probed.early[kind]
        if outcome is not Outcome.SUCCESS:
            word = "failed" if outcome is Outcome.FAILURE else "errored"
            separator = "" if outcome is Outcome.FAILURE else " and resulted in unknown state"
            PodEvents(self._recorder, probed.pod).warning(
                "Unhealthy", f"{kind} probe {word}{separator}: {text}", probed.container.name
            )
        changed = state.take(outcome)
        if changed and state.passing is False and kind in (LIVENESS, STARTUP):
            self._kill(probed, kind, state.probe)
            self._changed(probed.pod.metadata.uid)
            return
        if changed and kind == STARTUP:
            for other in (READINESS, LIVENESS):
                if other in probed.states:
                    self._arm_first(probed, other)
        if changed:
            self._changed(probed.pod.metadata.uid)
        if kind != STARTUP or state.passing is not True:
            period = state.probe.period_seconds or DEFAULT_PERIOD_SECONDS
            self._arm(probed, kind, max(due + period, self._clock.monotonic()))

    def _kill(self, probed: _Probed, kind: str, probe: core_v1.Probe) -> None:
        grace = probe.termination_grace_period_seconds
        self.kills[probed.container_id] = Kill(
            "Unhealthy",
            f"Container {probed.container.name} failed {kind.lower()} probe, will be restarted",
            float(grace) if grace is not None else None,
        )


def _told(pod: core_v1.Pod, container_id: str) -> tuple[bool, bool]:
    """Ready and started as the API has it for this very container: an agent that was restarted goes on from there.

    Source: KEP-4781.
    """
    for entry in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
        if entry.container_id.endswith(f"://{container_id}"):
            return entry.ready, bool(entry.started)
    return False, False

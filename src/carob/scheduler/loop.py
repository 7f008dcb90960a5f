"""The scheduler at work: hear of Pods and nodes, decide, bind, say what happened.

Everything between "a Pod without a node is seen" and "its binding is on its way" happens in one turn of the event
loop. Many bindings are under way at once; a decision counts in the snapshot before its binding is confirmed.

May touch: the API through `client`. Invariants: level-triggered (a lost connection only delays); a Pod is bound at most
once, because the API server refuses a second binding; the number of requests under way is bounded.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.base.log import get_logger
from carob.base.tasks import Signal, TaskGroup
from carob.scheduler.binding import Binder
from carob.scheduler.conditions import SCHEDULER_ERROR, UNSCHEDULABLE, condition_patch
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.devices.inventory import Devices
from carob.scheduler.devices.pod_devices import NAME as DEVICES
from carob.scheduler.eviction import evict
from carob.scheduler.filter.node_resources_fit import NAME as FIT
from carob.scheduler.fitting import rejection_of
from carob.scheduler.hearing import Hearing
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pod_volumes import BINDING
from carob.scheduler.pods import PodInfo
from carob.scheduler.queue import Place, SchedulingQueue, Waiting
from carob.scheduler.selecting_informers import SelectingInformers
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.storage import BindingFailed, Storage
from carob.scheduler.voice import Voice
from carob.scheduler.wakeups import Happenings, sort_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.scheduler.devices.pod_devices import DevicePlan
    from carob.scheduler.extenders import Extender, Extenders
    from carob.scheduler.pod_volumes import Plan
    from carob.scheduler.profiles import Configuration
    from carob.scheduler.room import Nomination

MAX_REQUESTS = 64
"""Bindings and status patches under way at once."""
TURN_PODS = 32
"""Decisions before other tasks may run."""
# Wake-ups are exact, so this is only for what no event tells of. Source: podMaxInUnschedulablePodsDuration.
RETRY_SECONDS = 300.0

_log = get_logger("scheduler")


class SchedulingLoop:
    """One life of the scheduler: what it knows begins empty and is never used after `run` has ended."""

    def __init__(self, client: Client, clock: Clock, randomness: Randomness, configuration: Configuration) -> None:
        profiles = configuration.profiles
        self.ready = False
        """Whether it knows of everything."""
        self._client = client
        self._clock = clock
        self._snapshot = Snapshot()
        self._snapshot.profiles = dict(profiles)
        self._queue = SchedulingQueue(configuration.first_pause_seconds, configuration.longest_pause_seconds)
        self._happenings = Happenings(self._snapshot)
        self._signal = Signal()
        self._requests = 0
        self._timer: asyncio.Task[None] | None = None
        self._voice = Voice(client, clock, randomness, profiles)
        self._hearing = Hearing(client, clock, self._snapshot, self._queue, self._happenings, self._signal)
        self._storage = Storage(client, clock, self._storage_changed)
        self._storage_woke = False
        self._selecting = SelectingInformers(client, clock, self._snapshot.selecting)
        self._devices = Devices(client, clock, randomness, self._devices_changed)
        self._devices_woke = False
        self._binder = Binder(client, clock, self._snapshot, self._storage, self._devices, self._voice)
        self._extenders: Extenders | None = None
        if configuration.extenders:
            from carob.scheduler.extenders import Extenders

            self._extenders = Extenders(configuration.extenders, client, clock)

    async def run(self) -> None:
        """Schedule until cancelled."""
        informers: tuple[Informer[Any], ...] = (
            *self._hearing.informers,
            *self._storage.informers,
            *self._selecting.informers,
            *self._devices.informers,
        )
        if self._extenders is not None and self._extenders.nodes is not None:
            informers = (*informers, self._extenders.nodes)
        async with TaskGroup() as group:
            for name, recorder in self._voice.recorders.items():
                group.spawn(recorder.run(), f"{name} events")
            group.spawn(self._retry_sleepers(), "scheduler retries")
            for informer in informers:
                group.spawn(informer.run(), informer.name)
            # deciding before every Pod that has a node is counted could overfill a node
            for informer in informers:
                await informer.wait_synced()
            self.ready = True
            try:
                while True:
                    await self._signal.wait()
                    await self._work(group)
            finally:
                self.ready = False
                if self._extenders is not None:
                    await self._extenders.close()

    async def explain(self, namespace: str, name: str, profile: str) -> dict[str, Any]:
        """Why the Pod goes where it goes, or would if a profile of that name judged it. Raises: ApiError."""
        from carob.scheduler.explain import explain

        return await explain(self._client, self._snapshot, self._look, self._extenders, namespace, name, profile)

    # what the informers of claims and devices tell

    def _storage_changed(self) -> None:
        """A Pod that waits for its claims may fit now."""
        self._storage_woke = True
        self._signal.set()

    def _devices_changed(self) -> None:
        """A Pod that waits for devices may fit now."""
        self._devices_woke = True
        self._signal.set()

    # deciding

    async def _work(self, group: TaskGroup) -> None:
        """Decide until nobody waits, or until enough requests are under way (each wakes us when it ends)."""
        decided = 0
        self._wake_sleepers()
        while self._requests < MAX_REQUESTS:
            waiting = self._queue.pop(self._clock.monotonic())
            if waiting is None:
                self._set_timer(group)
                return
            if self._extenders is None:
                self._decide(waiting, group)
            else:
                await self._decide_extended(self._extenders, waiting, group)
            decided += 1
            if decided % TURN_PODS == 0:
                await asyncio.sleep(0)
                self._wake_sleepers()

    def _decide(self, waiting: Waiting, group: TaskGroup) -> None:
        if not self._is_wanted(waiting.pod):
            return
        self._look(waiting.pod)
        if not self._must_hold(waiting):
            self._decided(waiting, waiting.pod, decide(waiting.pod, self._snapshot), None, group)

    async def _decide_extended(self, extenders: Extenders, waiting: Waiting, group: TaskGroup) -> None:
        from carob.scheduler.extended_decision import decide_with
        from carob.scheduler.extenders import ExtenderError

        pod = waiting.pod
        if not self._is_wanted(pod):
            return
        self._look(pod)
        if self._must_hold(waiting):
            return
        try:
            asked, whole = await extenders.interested(pod)
            found = await decide_with(extenders, asked, whole, pod, self._snapshot)
        except (ApiError, ConnectionError, ExtenderError) as error:
            if self._queue.get(pod.key) is waiting:
                self._queue.retry(waiting)
                self._say_why(pod, SCHEDULER_ERROR, str(error), group)
            return
        # the world has moved on: the Pod may be gone, or the node no longer fit
        if self._queue.get(pod.key) is not waiting:
            return
        if isinstance(found, NodeInfo) and (
            self._snapshot.get(found.name) is not found or rejection_of(pod, found, self._snapshot) is not None
        ):
            self._queue.again(waiting)
            return
        self._decided(waiting, pod, found, next((one for one in asked if one.binds), None), group)

    def _must_hold(self, waiting: Waiting) -> bool:
        devices = waiting.pod.devices
        if devices is None or not devices.waiting:
            return False
        self._queue.hold(waiting, frozenset((DEVICES,)))
        return True

    def _is_wanted(self, pod: PodInfo) -> bool:
        if pod.view.metadata.deletion_timestamp is None:
            return True
        self._voice.event(pod, "Warning", "FailedScheduling", f"skip schedule deleting pod: {pod.key}")
        self._queue.delete(pod.key)
        return False

    def _decided(
        self,
        waiting: Waiting,
        pod: PodInfo,
        found: NodeInfo | Unschedulable,
        binder: Extender | None,
        group: TaskGroup,
    ) -> None:
        if isinstance(found, Unschedulable):
            promised = found.nomination is not None or found.keep
            self._queue.sleep(waiting, found.plugins, sort_of(pod, found.plugins, self._snapshot, promised=promised))
            self._find_none(waiting, found, group)
            return
        self._snapshot.assume(pod, found.name)
        self._happenings.moved(pod)
        binds = pod.volumes is not None and BINDING not in self._snapshot.profile(pod).disabled_filters
        plan = pod.volumes.plan(found) if pod.volumes is not None and binds else None
        if plan is not None:
            self._storage.assume(plan, found.name)
        devices = pod.devices.plan(found) if pod.devices is not None and not pod.devices.empty else None
        pod.devices = None
        if devices is not None:
            self._devices.assume(devices)
        self._requests += 1
        group.spawn(self._bind(waiting, found.name, plan, devices, binder, group), f"bind {pod.key}")

    def _look(self, pod: PodInfo) -> None:
        """At what the Pod's claims say now."""
        profile = self._snapshot.profile(pod)
        pod.devices = self._devices.look(pod) if DEVICES not in profile.disabled_filters else None
        if not pod.claims:
            return
        single = {key for key, _ in pod.claims if self._storage.is_single(key)}
        users: dict[str, int] = {}
        if single:
            others = (one for node in self._snapshot.nodes() for one in node.pods.values() if one.claims)
            for key in (key for one in others if one.key != pod.key for key, _ in one.claims if key in single):
                users[key] = users.get(key, 0) + 1
        pod.volumes = self._storage.look(pod, users)

    def _find_none(self, waiting: Waiting, found: Unschedulable, group: TaskGroup) -> None:
        pod, nomination = waiting.pod, found.nomination
        if pod.devices is not None and pod.devices.left_over is not None:
            group.spawn(self._devices.remove(pod.devices.left_over), f"a claim of an earlier try for {pod.key}")
        if pod.devices is not None and not pod.devices.refusal:
            if pod.devices.error:
                words = f'running "{DEVICES}" filter plugin: {pod.devices.error}'
                self._say_why(pod, SCHEDULER_ERROR, words, group)
                return
            idle = pod.devices.after_filters(pod.uid)[1]
            if idle is not None and DEVICES in self._snapshot.profile(pod).post_filters:
                group.spawn(self._devices.free(idle), f"free a claim for {pod.key}")
            pod.devices.forget()
        if nomination is None:
            nominated = None if found.keep else ""
            if not found.keep:
                self._hearing.touch(self._snapshot.nominations.withdraw(pod.key))
            self._say_why(pod, UNSCHEDULABLE, found.message, group, nominated)
            return
        self._snapshot.nominations.promise(pod, nomination.node)
        for victim in nomination.victims:
            self._snapshot.leave(victim)
        for other in self._snapshot.nominations.on(nomination.node):
            if other.priority < pod.priority:
                # less important: its promise no longer holds, it may find room elsewhere
                self._snapshot.nominations.withdraw(other.key)
                self._queue.nudge(other.key, self._clock.monotonic())
        self._say_why(pod, UNSCHEDULABLE, found.message, group, nomination.node)
        if nomination.victims:
            self._requests += 1
            group.spawn(self._preempt(waiting, nomination), f"preempt for {pod.key}")
        else:
            self._queue.nudge(pod.key, self._clock.monotonic())

    async def _preempt(self, waiting: Waiting, nomination: Nomination) -> None:
        pod = waiting.pod
        try:
            await evict(
                self._client, pod.view.spec.scheduler_name, pod, nomination, partial(self._voice.tell_victim, pod)
            )
        except (ApiError, ConnectionError) as error:
            _log.warning("cannot make room for %s on %s: %s", pod.key, nomination.node, error)
            for victim in nomination.victims:
                self._snapshot.stay(victim)
            self._hearing.touch(self._snapshot.nominations.withdraw(pod.key))
            self._queue.retry(waiting)
        finally:
            self._requests -= 1
            self._signal.set()

    def _wake_sleepers(self) -> None:
        """Try those sleepers again that what happened could help."""
        if self._storage_woke:
            self._storage_woke = False
            self._queue.wake_each(self._clock.monotonic(), self._claims_changed)
        if self._devices_woke:
            self._devices_woke = False
            helps = self._devices.happened()
            self._queue.wake_each(self._clock.monotonic(), lambda one: self._devices_help(one, helps))
        could_fit = self._happenings.test(self._look)
        if could_fit is not None:
            self._queue.wake(self._clock.monotonic(), could_fit)

    def _claims_changed(self, waiting: Waiting) -> bool:
        """Whether what the claims of a sleeper say is worth another try."""
        pod = waiting.pod
        before = pod.volumes.refusal if pod.volumes is not None else ""
        self._look(pod)
        return pod.volumes is not None and (not pod.volumes.refusal or pod.volumes.refusal != before)

    def _devices_help(self, waiting: Waiting, helps: Callable[[PodInfo], bool]) -> bool:
        pod = waiting.pod
        # a new class may stand for an extended resource that no node has
        if waiting.rejected_by.isdisjoint((DEVICES, FIT)) or not helps(pod):
            return False
        found = self._devices.look(pod)
        return found is None or not found.waiting

    def _set_timer(self, group: TaskGroup) -> None:
        ready_at = self._queue.next_ready()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ready_at is not None:
            self._timer = group.spawn(self._ring_at(ready_at), "scheduler timer")

    async def _ring_at(self, ready_at: float) -> None:
        await self._clock.sleep(ready_at - self._clock.monotonic())
        self._signal.set()

    async def _retry_sleepers(self) -> None:
        while True:
            await self._clock.sleep(RETRY_SECONDS)
            if self._queue.wake_late(self._clock.monotonic(), RETRY_SECONDS):
                self._signal.set()

    # acting

    async def _bind(
        self,
        waiting: Waiting,
        node_name: str,
        plan: Plan | None,
        devices: DevicePlan | None,
        extender: Extender | None,
        group: TaskGroup,
    ) -> None:
        pod = waiting.pod
        if devices is not None or (plan is not None and not plan.empty):
            # others need not wait for that
            self._requests -= 1
            self._signal.set()
            try:
                await self._binder.claims(pod, node_name, plan, devices)
            except (ApiError, ConnectionError, BindingFailed) as error:
                self._binding_failed(waiting, error, group)
                self._signal.set()
                return
            self._requests += 1
        try:
            await self._binder.bind(pod, node_name, devices, extender)
        except (ApiError, ConnectionError, BindingFailed) as error:
            self._binding_failed(waiting, error, group)
        else:
            if self._queue.get(pod.key) is waiting:
                self._queue.delete(pod.key)
            message = f"Successfully assigned {pod.key} to {node_name}"
            self._voice.event(pod, "Normal", "Scheduled", message)
        finally:
            self._requests -= 1
            self._signal.set()

    def _binding_failed(
        self, waiting: Waiting, error: ApiError | ConnectionError | BindingFailed, group: TaskGroup
    ) -> None:
        pod = waiting.pod
        self._happenings.moved(pod)
        self._hearing.touch(self._snapshot.forget(pod))
        if isinstance(error, BindingFailed):
            self._queue.retry(waiting)
            if waiting.place is Place.BACKING_OFF:
                stage = f'running PreBind plugin "{error.plugin}"' if error.plugin else "binding rejected"
                self._say_why(pod, SCHEDULER_ERROR, f"{stage}: {error}", group)
            return
        if isinstance(error, ApiError) and error.code == 404:
            _log.debug("%s went before it was bound", pod.key)
            if self._queue.get(pod.key) is waiting:
                self._queue.delete(pod.key)
            return
        _log.warning("cannot bind %s: %s", pod.key, error)
        view = self._hearing.pod(pod.key)
        if view is not None and view.metadata.uid == pod.uid and not view.spec.node_name:
            # it may have changed while its binding was under way
            waiting.pod = PodInfo(view)
        self._queue.retry(waiting)
        if waiting.place is Place.BACKING_OFF and isinstance(error, ApiError):
            self._say_why(
                pod, SCHEDULER_ERROR, f'binding rejected: running Bind plugin "DefaultBinder": {error}', group
            )

    def _say_why(self, pod: PodInfo, reason: str, message: str, group: TaskGroup, nominated: str | None = None) -> None:
        self._voice.event(pod, "Warning", "FailedScheduling", message)
        patch = condition_patch(pod.view, reason, message, self._clock.now(), nominated)
        if patch is not None:
            self._requests += 1
            group.spawn(self._patch_condition(pod, patch), f"status of {pod.key}")

    async def _patch_condition(self, pod: PodInfo, patch: dict[str, Any]) -> None:
        try:
            await self._voice.patch(pod, patch)
        finally:
            self._requests -= 1
            self._signal.set()

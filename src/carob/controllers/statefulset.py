"""StatefulSets: Pods with names that stay, one after the other. Pure.

Never two Pods of one name: the name is the key, and a new one is asked for only when the old one is gone.
Source: kube-controller-manager `statefulset/stateful_set_control.go`, `stateful_set_utils.go`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api import int_or_string
from carob.api.types import apps_v1
from carob.controllers.replicaset import next_available
from carob.controllers.revisions import HASH_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.controllers.views import PodView
    from carob.controllers.workload_views import StatefulSetView

_NAME = re.compile(r"(.*)-([0-9]+)", re.ASCII)


class NewPod(Struct, frozen=True):
    """A Pod to make, of the update's template or of the current one."""

    ordinal: int
    updated: bool


class Plan(Struct):
    """What is to be done. `condemn` are Pods that go because the set has become smaller (their claims may go, too)."""

    status: apps_v1.StatefulSetStatus
    create: list[NewPod] = field(default_factory=list)
    delete: list[PodView] = field(default_factory=list)
    condemn: list[PodView] = field(default_factory=list)
    recreated: list[PodView] = field(default_factory=list)
    """Those of `delete` that had ended."""
    recheck_seconds: float | None = None

    @property
    def acts(self) -> bool:
        """Whether a Pod comes or goes."""
        return bool(self.create or self.delete or self.condemn)


def ordinal_of(set_name: str, pod_name: str) -> int | None:
    """The Pod's number, if its name is one of the set's."""
    match = _NAME.fullmatch(pod_name)
    return int(match[2]) if match and match[1] == set_name else None


def start_of(owner: StatefulSetView) -> int:
    """The first ordinal."""
    return owner.spec.ordinals.start


def ordinals_of(owner: StatefulSetView) -> range:
    """The ordinals of the Pods that there should be."""
    first = start_of(owner)
    return range(first, first + owner.spec.replicas)


def partition_of(owner: StatefulSetView) -> int:
    """Below which ordinal Pods keep the current template."""
    rolling = owner.spec.update_strategy.rolling_update
    return (rolling.partition or 0) if rolling is not None else 0


def max_unavailable(owner: StatefulSetView) -> int:
    """How many Pods a rolling update may take away at a time."""
    rolling = owner.spec.update_strategy.rolling_update
    if rolling is None or rolling.max_unavailable is None:
        return 1
    return max(int_or_string.scaled(rolling.max_unavailable, owner.spec.replicas, round_up=False), 1)


def reconcile(owner: StatefulSetView, pods: Iterable[PodView], current: str, update: str, now: float) -> Plan:
    """The next step.

    Shape: `current` and `update` are names of the revisions before and after an update (the same when there is none).
    """
    return _Sync(owner, pods, current, update, now).plan()


class _Sync:
    """One look at one set."""

    def __init__(self, owner: StatefulSetView, pods: Iterable[PodView], current: str, update: str, now: float) -> None:
        self.owner, self.spec, self.now = owner, owner.spec, now
        self.current, self.update = current, update
        self.rolls = owner.spec.update_strategy.type == "RollingUpdate"
        self.one_by_one = owner.spec.pod_management_policy != "Parallel"
        self.range = ordinals_of(owner)
        self.pods: dict[int, PodView] = {}
        for pod in pods:
            ordinal = ordinal_of(owner.metadata.name, pod.metadata.name)
            if ordinal is not None:
                self.pods[ordinal] = pod
        self._plan = Plan(self._status())

    def plan(self) -> Plan:
        if not self.owner.is_ending:
            self._plan.recheck_seconds = next_available(self.pods.values(), self.spec.min_ready_seconds, self.now)
            if self._fill() and self._shrink() and self.rolls:
                self._roll()
        return self._plan

    def _works(self, pod: PodView) -> bool:
        """Running, ready, and for long enough."""
        return (
            pod.status.phase == "Running"
            and not pod.is_ending
            and pod.is_available(self.spec.min_ready_seconds, self.now)
        )

    def _is_updated(self, pod: PodView) -> bool:
        return pod.metadata.labels.get(HASH_LABEL) == self.update

    def _status(self) -> apps_v1.StatefulSetStatus:
        old, pods = self.owner.status, list(self.pods.values())
        alive = [pod for pod in pods if not pod.is_ending]
        running = [p for p in pods if p.status.phase == "Running" and p.is_ready]
        current = [p for p in alive if p.metadata.labels.get(HASH_LABEL) == self.current]
        status = apps_v1.StatefulSetStatus(
            observed_generation=self.owner.metadata.generation,
            replicas=len(pods),
            ready_replicas=len(running),
            available_replicas=sum(p.is_available(self.spec.min_ready_seconds, self.now) for p in running),
            current_replicas=len(current),
            updated_replicas=sum(self._is_updated(p) for p in alive),
            current_revision=self.current,
            update_revision=self.update,
            collision_count=old.collision_count,
            conditions=old.conditions,
        )
        if self.rolls and status.updated_replicas == status.replicas == status.ready_replicas == self.spec.replicas:
            # the update is complete
            status.current_revision, status.current_replicas = self.update, status.updated_replicas
        return status

    def _keeps_current(self, ordinal: int) -> bool:
        return self.rolls and ordinal < start_of(self.owner) + partition_of(self.owner)

    def _fill(self) -> bool:
        """Make what is missing; False if the rest has to wait for it."""
        for ordinal in self.range:
            pod = self.pods.get(ordinal)
            if pod is None:
                self._plan.create.append(NewPod(ordinal, updated=not self._keeps_current(ordinal)))
            elif pod.has_ended and not pod.is_ending:
                self._plan.delete.append(pod)
                self._plan.recreated.append(pod)
            elif self._works(pod) or not self.one_by_one:
                continue
            if self.one_by_one:
                return False
        return not self._plan.acts

    def _shrink(self) -> bool:
        """Take away what is too much, highest ordinal first; False if the rest has to wait for it."""
        condemned = [self.pods[o] for o in sorted(self.pods, reverse=True) if o not in self.range]
        if not self.one_by_one:
            self._plan.condemn.extend(pod for pod in condemned if not pod.is_ending)
            return not condemned
        if not condemned:
            return True
        # what has ended never gets well again, so nobody waits for it (upstream would, forever)
        unwell = [pod for pod in reversed(condemned) if not self._works(pod) and not pod.has_ended]
        pod = condemned[0]
        # an unwell Pod stops the others from going, but the first unwell one may go itself
        if not pod.is_ending and (self._works(pod) or pod.has_ended or pod is unwell[0]):
            self._plan.condemn.append(pod)
        return False

    def _roll(self) -> None:
        """Replace what is not updated, highest ordinal first, no more at a time than may be missing."""
        first = start_of(self.owner) + partition_of(self.owner)
        may_go = max_unavailable(self.owner)
        missing = sum(not self._works(self.pods[o]) for o in self.range if o in self.pods)
        for ordinal in reversed(self.range):
            pod = self.pods.get(ordinal)
            if ordinal < first or pod is None:
                continue
            if not self._is_updated(pod) and not pod.is_ending:
                sick = not self._works(pod)
                if not sick and missing >= may_go:
                    return
                self._plan.delete.append(pod)
                missing += not sick
                if missing >= may_go:
                    return
            elif not self._works(pod) and may_go == 1:
                return

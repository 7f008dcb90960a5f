"""Deployments: what is the next step of a rollout, as a pure function of what is there.

`reconcile` gives one step at a time; each step's outcome comes back through the informers and asks for the next.
Source: kube-controller-manager `deployment/deployment_controller.go`, `sync.go`, `rolling.go`, `recreate.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from carob.controllers import deployment_sets as sizes
from carob.controllers import deployment_status as told
from carob.controllers.deployment_sets import REVISION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.api.types import apps_v1
    from carob.controllers.views import PodView
    from carob.controllers.workload_views import DeploymentView, ReplicaSetView

KEEP_ALL = 2**31 - 1


class Change(Struct, frozen=True):
    """A set that gets another size (None: keeps it) or other annotations; `min_ready_seconds` None: as it is."""

    set: ReplicaSetView
    replicas: int | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    min_ready_seconds: int | None = None


class Plan(Struct):
    """One step. `create`: the size of a new set with `create_annotations`; `revision`: what the Deployment must tell."""

    status: apps_v1.DeploymentStatus
    create: int | None = None
    create_annotations: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    delete: list[ReplicaSetView] = field(default_factory=list)
    revision: str | None = None
    recheck_seconds: float | None = None

    @property
    def acts(self) -> bool:
        """Whether sets change."""
        return self.create is not None or bool(self.changes)


def reconcile(deployment: DeploymentView, sets: Sequence[ReplicaSetView], pods: Iterable[PodView], now: float) -> Plan:
    """The next step. Shape: `sets` are those it controls, `pods` all that the sets own (read at most once)."""
    ordered = sorted(sets, key=sizes.age_order)
    new = sizes.new_set(deployment, ordered)
    olds = [one for one in ordered if one is not new]
    if deployment.is_ending:
        return Plan(told.counts(deployment, ordered, new, now))
    base = told.paused_conditions(deployment, deployment.status.conditions, now)
    if base is not deployment.status.conditions:
        status = msgspec.structs.replace(deployment.status, conditions=base)
        deployment = msgspec.structs.replace(deployment, status=status)
    if deployment.spec.paused or _was_scaled(deployment, ordered):
        return _scale(deployment, ordered, new, olds, now)
    if deployment.spec.strategy.type == "Recreate":
        return _recreate(deployment, ordered, new, olds, pods, now)
    return _roll(deployment, ordered, new, olds, pods, now)


def _was_scaled(deployment: DeploymentView, sets: Iterable[ReplicaSetView]) -> bool:
    desired = str(deployment.spec.replicas)
    return any(
        one.spec.replicas > 0 and one.metadata.annotations.get(sizes.DESIRED, desired) != desired for one in sets
    )


def _sync_new(
    deployment: DeploymentView, new: ReplicaSetView | None, olds: Sequence[ReplicaSetView], all_spec: int, now: float
) -> Plan | None:
    """The step that makes the new set, or brings it up to date; None if it is there and right."""
    revision = sizes.max_revision(olds) + 1
    if new is None:
        size = sizes.new_size(deployment, 0, all_spec)
        annotations = {
            **sizes.new_set_annotations(deployment, {}, revision),
            **sizes.replicas_annotations(deployment),
        }
        return Plan(
            told.rollout(deployment, list(olds), None, now),
            create=size,
            create_annotations=annotations,
            revision=str(revision),
        )
    change = sizes.new_set_annotations(deployment, new.metadata.annotations, revision)
    seconds = deployment.spec.min_ready_seconds
    wait = seconds if new.spec.min_ready_seconds != seconds else None
    if change or wait is not None:
        plan = Plan(told.rollout(deployment, [*olds, new], new, now))
        plan.changes.append(Change(new, annotations=change, min_ready_seconds=wait))
        plan.revision = change.get(REVISION, new.metadata.annotations.get(REVISION))
        return plan
    return None


def _roll(
    deployment: DeploymentView,
    sets: Sequence[ReplicaSetView],
    new: ReplicaSetView | None,
    olds: Sequence[ReplicaSetView],
    pods: Iterable[PodView],
    now: float,
) -> Plan:
    occupied = _occupied(sets, pods) if new is None or new.spec.replicas < deployment.spec.replicas else 0
    step = _sync_new(deployment, new, olds, occupied, now)
    if step is not None:
        return step
    assert new is not None
    plan = _settled(deployment, sets, new, now)
    desired = deployment.spec.replicas
    size = desired
    if new.spec.replicas < desired:
        size = sizes.new_size(deployment, new.spec.replicas, occupied)
    if size != new.spec.replicas:
        plan.changes.append(_resize(deployment, new, size))
        return plan
    plan.changes.extend(_scale_down_old(deployment, new, olds))
    if not plan.changes and told.is_complete(deployment, deployment.status):
        plan.delete = surplus(deployment, olds)
    return plan


def _occupied(sets: Iterable[ReplicaSetView], pods: Iterable[PodView]) -> int:
    """How many Pods there are or will be: a set that was made smaller still has those that nobody has ended yet.

    Differs: upstream counts what sets are to have, and so exceeds the surge for a moment.
    """
    alive: dict[str, int] = {}
    for pod in pods:
        if pod.is_active:
            for reference in pod.metadata.owner_references:
                alive[reference.uid] = alive.get(reference.uid, 0) + 1
    return sum(max(one.spec.replicas, alive.get(one.metadata.uid, 0)) for one in sets)


def _scale_down_old(deployment: DeploymentView, new: ReplicaSetView, olds: Sequence[ReplicaSetView]) -> list[Change]:
    """Sick Pods of old sets first, then as many healthy ones as availability allows."""
    everyone = [*olds, new]
    if not sizes.total_spec(olds):
        return []
    min_available = deployment.spec.replicas - sizes.max_unavailable(deployment)
    new_unavailable = max(new.spec.replicas - new.status.available_replicas, 0)
    may_go = sizes.total_spec(everyone) - min_available - new_unavailable
    if may_go <= 0:
        return []
    wanted = {one.metadata.uid: one.spec.replicas for one in olds}
    for one in olds:
        sick = min(may_go, max(one.spec.replicas - one.status.available_replicas, 0))
        wanted[one.metadata.uid] -= sick
        may_go -= sick
    healthy = sizes.total_available(everyone) - min_available
    for one in olds:
        count = min(max(healthy, 0), wanted[one.metadata.uid])
        wanted[one.metadata.uid] -= count
        healthy -= count
    return [
        _resize(deployment, one, wanted[one.metadata.uid])
        for one in olds
        if wanted[one.metadata.uid] != one.spec.replicas
    ]


def _recreate(
    deployment: DeploymentView,
    sets: Sequence[ReplicaSetView],
    new: ReplicaSetView | None,
    olds: Sequence[ReplicaSetView],
    pods: Iterable[PodView],
    now: float,
) -> Plan:
    plan = _settled(deployment, sets, new, now)
    plan.changes.extend(_resize(deployment, one, 0) for one in olds if one.spec.replicas > 0)
    if plan.changes:
        return plan
    ours = new.metadata.uid if new is not None else ""
    if any(not pod.has_ended and not any(r.uid == ours for r in pod.metadata.owner_references) for pod in pods):
        return plan
    step = _sync_new(deployment, new, olds, 0, now)
    if step is not None:
        return step
    assert new is not None
    if new.spec.replicas != deployment.spec.replicas:
        plan.changes.append(_resize(deployment, new, deployment.spec.replicas))
    elif told.is_complete(deployment, deployment.status):
        plan.delete = surplus(deployment, olds)
    return plan


def _scale(
    deployment: DeploymentView,
    sets: Sequence[ReplicaSetView],
    new: ReplicaSetView | None,
    olds: Sequence[ReplicaSetView],
    now: float,
) -> Plan:
    """A Deployment that is paused, or got another size: only sizes change, and nothing is rolled."""
    plan = Plan(told.counts(deployment, sets, new, now))
    if new is not None:
        change = sizes.new_set_annotations(deployment, new.metadata.annotations, sizes.max_revision(olds) + 1)
        if change:
            plan.changes.append(Change(new, annotations=change))
            plan.revision = change.get(REVISION)
            return plan
        plan.revision = new.metadata.annotations.get(REVISION)
    plan.changes.extend(_scaling(deployment, new, olds))
    if deployment.spec.paused and not plan.changes:
        plan.delete = surplus(deployment, olds)
    return plan


def _scaling(deployment: DeploymentView, new: ReplicaSetView | None, olds: Sequence[ReplicaSetView]) -> list[Change]:
    desired = deployment.spec.replicas
    everyone = [*olds, *([new] if new is not None else [])]
    active = [one for one in everyone if one.spec.replicas > 0]
    if len(active) <= 1:
        single = active[0] if active else new if new is not None else olds[-1] if olds else None
        if single is None:
            return []
        stale = sizes.stale_annotations(single, sizes.replicas_annotations(deployment)) if active else {}
        return [_resize(deployment, single, desired)] if single.spec.replicas != desired or stale else []
    if new is not None and _is_saturated(deployment, new):
        return [_resize(deployment, one, 0) for one in olds if one.spec.replicas > 0]
    if deployment.spec.strategy.type != "RollingUpdate":
        return []
    shares = sizes.proportions(deployment, active)
    changes = [_resize(deployment, one, shares[one.metadata.uid]) for one in active]
    return [c for c in changes if c.replicas is not None or c.annotations]


def _is_saturated(deployment: DeploymentView, new: ReplicaSetView) -> bool:
    desired = deployment.spec.replicas
    return (
        new.spec.replicas == desired
        and new.metadata.annotations.get(sizes.DESIRED) == str(desired)
        and new.status.available_replicas == desired
    )


def _resize(deployment: DeploymentView, one: ReplicaSetView, size: int) -> Change:
    stale = sizes.stale_annotations(one, sizes.replicas_annotations(deployment))
    return Change(one, size if size != one.spec.replicas else None, stale)


def _settled(
    deployment: DeploymentView, sets: Sequence[ReplicaSetView], new: ReplicaSetView | None, now: float
) -> Plan:
    """The plan of a rollout that only tells how it goes."""
    status = told.rollout(deployment, sets, new, now)
    if new is not None and told.has_deadline(deployment) and told.find(status.conditions, told.PROGRESSING) is None:
        found = f'Found new replica set "{new.metadata.name}"'
        status.conditions = told.put(status.conditions, told.PROGRESSING, "True", "FoundNewReplicaSet", found, now)
    revision = new.metadata.annotations.get(REVISION) if new is not None else None
    return Plan(status, revision=revision, recheck_seconds=told.stuck_check_seconds(deployment, status, now))


def surplus(deployment: DeploymentView, olds: Sequence[ReplicaSetView]) -> list[ReplicaSetView]:
    """The old sets beyond the history's limit, oldest revision first; none that still has or may have Pods."""
    limit = deployment.spec.revision_history_limit
    if limit is None or limit == KEEP_ALL:
        return []
    alive = sorted(
        (one for one in olds if not one.is_ending),
        key=lambda one: (sizes.revision_of(one.metadata.annotations), sizes.age_order(one)),
    )
    return [
        one
        for one in alive[: max(len(alive) - limit, 0)]
        if not one.spec.replicas
        and not one.status.replicas
        and one.metadata.generation <= one.status.observed_generation
    ]

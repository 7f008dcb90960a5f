"""What a Deployment says of itself: counts and the conditions Available, Progressing, ReplicaFailure.

Pure. Source: kube-controller-manager `deployment/sync.go` (calculateStatus), `deployment/progress.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from carob.api.types import apps_v1
from carob.base.clock import parse_rfc3339, rfc3339
from carob.controllers.deployment_sets import max_unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.controllers.workload_views import DeploymentView, ReplicaSetView

Condition = apps_v1.DeploymentCondition

PROGRESSING, AVAILABLE, REPLICA_FAILURE = "Progressing", "Available", "ReplicaFailure"
NEW_AVAILABLE, TIMED_OUT, UPDATED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "ReplicaSetUpdated"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
NEVER_SECONDS = 2**31 - 1


def has_deadline(deployment: DeploymentView) -> bool:
    """Whether slow progress is to be told."""
    deadline = deployment.spec.progress_deadline_seconds
    return deadline is not None and deadline != NEVER_SECONDS


def find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """The condition of a type."""
    return next((c for c in conditions if c.type == kind), None)


def put(conditions: list[Condition], kind: str, status: str, reason: str, message: str, now: float) -> list[Condition]:
    """The conditions with this one in; unchanged if it says the same status and reason already."""
    old = find(conditions, kind)
    if old is not None and old.status == status and old.reason == reason:
        return conditions
    stamp = rfc3339(now)
    since = old.last_transition_time if old is not None and old.status == status else stamp
    made = Condition(
        type=kind, status=status, reason=reason, message=message, last_update_time=stamp, last_transition_time=since
    )
    return [*(c for c in conditions if c.type != kind), made]


def without(conditions: Sequence[Condition], kind: str) -> list[Condition]:
    """The conditions but those of a type."""
    return [c for c in conditions if c.type != kind]


def is_complete(deployment: DeploymentView, status: apps_v1.DeploymentStatus) -> bool:
    """Whether exactly the wanted Pods run, all of them new and available."""
    desired = deployment.spec.replicas
    return (
        status.updated_replicas == desired
        and status.replicas == desired
        and status.available_replicas == desired
        and status.observed_generation >= deployment.metadata.generation
    )


def is_progressing(old: apps_v1.DeploymentStatus, new: apps_v1.DeploymentStatus) -> bool:
    """Whether anything went forward between two statuses."""
    return (
        new.updated_replicas > old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
    )


def has_timed_out(deployment: DeploymentView, conditions: Sequence[Condition], now: float) -> bool:
    """Whether the last progress is longer ago than the deadline allows."""
    condition = find(conditions, PROGRESSING)
    if condition is None or condition.reason == NEW_AVAILABLE or not condition.last_update_time:
        return False
    if condition.reason == TIMED_OUT:
        return True
    deadline = deployment.spec.progress_deadline_seconds
    assert deadline is not None
    return parse_rfc3339(condition.last_update_time) + deadline < now


def counts(
    deployment: DeploymentView, sets: Sequence[ReplicaSetView], new: ReplicaSetView | None, now: float
) -> apps_v1.DeploymentStatus:
    """The status with its counts and the condition Available; other conditions as they were."""
    old = deployment.status
    total = sum(one.status.replicas for one in sets)
    available = sum(one.status.available_replicas for one in sets)
    status = apps_v1.DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=total,
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(one.status.ready_replicas for one in sets),
        available_replicas=available,
        unavailable_replicas=max(total - available, 0),
        terminating_replicas=sum(one.status.terminating_replicas or 0 for one in sets),
        collision_count=old.collision_count,
    )
    enough = available >= deployment.spec.replicas - max_unavailable(deployment)
    status.conditions = put(
        [msgspec.structs.replace(c) for c in old.conditions],
        AVAILABLE,
        "True" if enough else "False",
        "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "Deployment has minimum availability." if enough else "Deployment does not have minimum availability.",
        now,
    )
    return status


def rollout(
    deployment: DeploymentView, sets: Sequence[ReplicaSetView], new: ReplicaSetView | None, now: float
) -> apps_v1.DeploymentStatus:
    """The status during a rollout: also Progressing and ReplicaFailure."""
    status = counts(deployment, sets, new, now)
    conditions = status.conditions
    if not has_deadline(deployment):
        conditions = without(conditions, PROGRESSING)
    current = find(deployment.status.conditions, PROGRESSING)
    done_before = status.replicas == status.updated_replicas and current is not None and current.reason == NEW_AVAILABLE
    if has_deadline(deployment) and not done_before:
        conditions = _progress(deployment, status, conditions, new, now)
    failed = next((c for one in sets for c in one.status.conditions if c.type == REPLICA_FAILURE), None)
    if failed is not None:
        conditions = put(conditions, REPLICA_FAILURE, failed.status, failed.reason, failed.message, now)
    else:
        conditions = without(conditions, REPLICA_FAILURE)
    status.conditions = conditions
    return status


def _progress(
    deployment: DeploymentView,
    status: apps_v1.DeploymentStatus,
    conditions: list[Condition],
    new: ReplicaSetView | None,
    now: float,
) -> list[Condition]:
    name = deployment.metadata.name
    who = f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{name}"'
    if is_complete(deployment, status):
        return put(conditions, PROGRESSING, "True", NEW_AVAILABLE, f"{who} has successfully progressed.", now)
    if is_progressing(deployment.status, status):
        current = find(conditions, PROGRESSING)
        made = put(without(conditions, PROGRESSING), PROGRESSING, "True", UPDATED, f"{who} is progressing.", now)
        if current is not None and current.status == "True":
            made[-1].last_transition_time = current.last_transition_time
        return made
    if has_timed_out(deployment, conditions, now):
        return put(conditions, PROGRESSING, "False", TIMED_OUT, f"{who} has timed out progressing.", now)
    return conditions


def stuck_check_seconds(deployment: DeploymentView, status: apps_v1.DeploymentStatus, now: float) -> float | None:
    """When to look whether the deadline has passed; None if that cannot happen."""
    current = find(status.conditions, PROGRESSING)
    if not has_deadline(deployment) or current is None or is_complete(deployment, status):
        return None
    if current.reason in (TIMED_OUT, NEW_AVAILABLE) or not current.last_update_time:
        return None
    deadline = deployment.spec.progress_deadline_seconds
    assert deadline is not None
    return max(parse_rfc3339(current.last_update_time) + deadline - now, 0) + 1


def paused_conditions(deployment: DeploymentView, conditions: list[Condition], now: float) -> list[Condition]:
    """The conditions with a pause or its end told, so that the deadline does not count a pause."""
    current = find(conditions, PROGRESSING)
    if not has_deadline(deployment) or (current is not None and current.reason == TIMED_OUT):
        return conditions
    told = current is not None and current.reason == PAUSED
    if deployment.spec.paused and not told:
        return put(conditions, PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now)
    if not deployment.spec.paused and told:
        return put(conditions, PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now)
    return conditions

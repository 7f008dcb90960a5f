"""A Deployment's ReplicaSets: which is the new one, their revisions, annotations and sizes.

Pure. Source: kube-controller-manager `deployment/util/deployment_util.go`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from carob.api import int_or_string
from carob.controllers.templates import bare, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from carob.controllers.workload_views import DeploymentView, ReplicaSetView

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
MAX_HISTORY_CHARACTERS = 2000
_OWN = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        DESIRED,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    }
)


def age_order(one: ReplicaSetView) -> tuple[str, str]:
    """Oldest first."""
    return one.metadata.creation_timestamp or "", one.metadata.name


def new_set(deployment: DeploymentView, sets: Iterable[ReplicaSetView]) -> ReplicaSetView | None:
    """The oldest set that has the Deployment's template."""
    wanted = bare(tree_of(deployment.spec.template))
    for one in sorted(sets, key=age_order):
        if bare(tree_of(one.spec.template)) == wanted:
            return one
    return None


def revision_of(annotations: Mapping[str, str]) -> int:
    """The revision that annotations tell; 0 for none."""
    return int_or_string.number_or_zero(annotations.get(REVISION, "0"))


def max_revision(sets: Iterable[ReplicaSetView]) -> int:
    """The highest revision of any."""
    return max((revision_of(one.metadata.annotations) for one in sets), default=0)


def limits(deployment: DeploymentView, replicas: int | None = None) -> tuple[int, int]:
    """`maxSurge` and `maxUnavailable` as numbers of Pods, at least one of them above 0.

    Recreate has neither. Admission refused what is no number.
    """
    rolling = deployment.spec.strategy.rolling_update
    if deployment.spec.strategy.type != "RollingUpdate":
        return 0, 0
    desired = deployment.spec.replicas if replicas is None else replicas
    surge_wish = rolling.max_surge if rolling is not None and rolling.max_surge is not None else 0
    down_wish = rolling.max_unavailable if rolling is not None and rolling.max_unavailable is not None else 0
    surge = int_or_string.scaled(surge_wish, desired, round_up=True)
    unavailable = int_or_string.scaled(down_wish, desired, round_up=False)
    if not surge and not unavailable:
        unavailable = 1
    return surge, unavailable


def max_unavailable(deployment: DeploymentView) -> int:
    """How many Pods may be missing."""
    return min(limits(deployment)[1], deployment.spec.replicas)


def total_spec(sets: Iterable[ReplicaSetView]) -> int:
    """How many Pods the sets are to have."""
    return sum(one.spec.replicas for one in sets)


def total_available(sets: Iterable[ReplicaSetView]) -> int:
    """How many available Pods the sets report and will keep: one that was just made smaller tells of more for a while."""
    return sum(min(one.status.available_replicas, one.spec.replicas) for one in sets)


def new_size(deployment: DeploymentView, current: int, all_replicas: int) -> int:
    """The size that the new set of size `current` may grow to; `all_replicas` counts it in."""
    desired = deployment.spec.replicas
    if deployment.spec.strategy.type != "RollingUpdate":
        return desired
    room = desired + limits(deployment)[0] - all_replicas
    if room <= 0:
        return current
    return current + min(room, desired - current)


def replicas_annotations(deployment: DeploymentView) -> dict[str, str]:
    """What every set remembers of the Deployment's size, for proportional scaling."""
    desired = deployment.spec.replicas
    return {DESIRED: str(desired), MAX_REPLICAS: str(desired + limits(deployment)[0])}


def stale_annotations(one: ReplicaSetView, wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of `wanted` that the set does not have so."""
    there = one.metadata.annotations
    return {key: value for key, value in wanted.items() if there.get(key) != value}


def inherited_annotations(deployment: DeploymentView) -> dict[str, str]:
    """The Deployment's annotations that its sets carry too."""
    return {key: value for key, value in deployment.metadata.annotations.items() if key not in _OWN}


def new_set_annotations(deployment: DeploymentView, there: Mapping[str, str], revision: int) -> dict[str, str]:
    """What the new set's annotations need; `there` is what it has."""
    change = {k: v for k, v in inherited_annotations(deployment).items() if there.get(k) != v}
    if revision_of(there) < revision:
        change[REVISION] = str(revision)
        former = there.get(REVISION)
        if former is not None:
            change[HISTORY] = history(there.get(HISTORY, ""), former)
    return change


def history(past: str, former: str) -> str:
    """The revisions that a set has been, the oldest dropped when the list grows too long."""
    revisions = [one for one in past.split(",") if one]
    if former in revisions[-1:]:
        return past
    revisions.append(former)
    while len(",".join(revisions)) > MAX_HISTORY_CHARACTERS:
        revisions.pop(0)
    return ",".join(revisions)


def proportions(deployment: DeploymentView, sets: Sequence[ReplicaSetView]) -> dict[str, int]:
    """New sizes, by uid, when a Deployment is scaled while several sets are active: each its share.

    Shape: `sets` are the active ones. Source: `deployment/sync.go` scale.
    """
    desired = deployment.spec.replicas
    allowed = desired + limits(deployment)[0] if desired > 0 else 0
    to_add = allowed - total_spec(sets)
    # growing begins with the newer, shrinking with the older of two sets of one size
    by_age = sorted(sets, key=age_order, reverse=to_add > 0)
    ordered = sorted(by_age, key=lambda one: one.spec.replicas, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for one in ordered:
        share = _share(deployment, one, to_add, added)
        sizes[one.metadata.uid] = one.spec.replicas + share
        added += share
    if ordered and to_add:
        first = ordered[0].metadata.uid
        sizes[first] = max(sizes[first] + to_add - added, 0)
    return sizes


def _share(deployment: DeploymentView, one: ReplicaSetView, to_add: int, added: int) -> int:
    size = one.spec.replicas
    if not size or not to_add or to_add == added:
        return 0
    left = to_add - added
    fraction = _fraction(deployment, one)
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(deployment: DeploymentView, one: ReplicaSetView) -> int:
    size, desired = one.spec.replicas, deployment.spec.replicas
    if desired == 0:
        return -size
    before = int_or_string.number_or_zero(one.metadata.annotations.get(MAX_REPLICAS, "0"))
    before = before or deployment.status.replicas
    if not before:
        return 0
    # halves away from zero, as Go rounds
    return math.floor(size * (desired + limits(deployment)[0]) / before + 0.5) - size

"""Defaults of Deployments, DaemonSets, StatefulSets and ReplicaSets. Source: `pkg/apis/apps/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.defaulting import core, pod
from carob.api.types import apps_v1

if TYPE_CHECKING:
    from collections.abc import Callable

ROLLING_UPDATE = "RollingUpdate"


def _deployment(obj: apps_v1.Deployment) -> None:
    spec = obj.spec
    if spec.replicas is None:
        spec.replicas = 1
    strategy = spec.strategy
    strategy.type = strategy.type or ROLLING_UPDATE
    if strategy.type == ROLLING_UPDATE:
        rolling = strategy.rolling_update = strategy.rolling_update or apps_v1.RollingUpdateDeployment()
        if rolling.max_unavailable is None:
            rolling.max_unavailable = "25%"
        if rolling.max_surge is None:
            rolling.max_surge = "25%"
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    if spec.progress_deadline_seconds is None:
        spec.progress_deadline_seconds = 600
    pod.pod_template(spec.template)


def _daemon_set(obj: apps_v1.DaemonSet) -> None:
    # the server counts in it; converting a DaemonSet without it gives it this beginning
    obj.metadata.annotations.setdefault("deprecated.daemonset.template.generation", "0")
    spec = obj.spec
    strategy = spec.update_strategy
    strategy.type = strategy.type or ROLLING_UPDATE
    if strategy.type == ROLLING_UPDATE:
        rolling = strategy.rolling_update = strategy.rolling_update or apps_v1.RollingUpdateDaemonSet()
        if rolling.max_unavailable is None:
            rolling.max_unavailable = 1
        if rolling.max_surge is None:
            rolling.max_surge = 0
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    pod.pod_template(spec.template)


def _stateful_set(obj: apps_v1.StatefulSet) -> None:
    spec = obj.spec
    spec.pod_management_policy = spec.pod_management_policy or "OrderedReady"
    strategy = spec.update_strategy
    if not strategy.type:
        strategy.type = ROLLING_UPDATE
    if strategy.type == ROLLING_UPDATE:
        rolling = strategy.rolling_update = strategy.rolling_update or apps_v1.RollingUpdateStatefulSetStrategy()
        if rolling.partition is None:
            rolling.partition = 0
    policy = spec.persistent_volume_claim_retention_policy
    if policy is None:
        policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy()
        spec.persistent_volume_claim_retention_policy = policy
    policy.when_deleted = policy.when_deleted or "Retain"
    policy.when_scaled = policy.when_scaled or "Retain"
    if spec.replicas is None:
        spec.replicas = 1
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    pod.pod_template(spec.template)
    for claim in spec.volume_claim_templates:
        core.persistent_volume_claim(claim)


def _replica_set(obj: apps_v1.ReplicaSet) -> None:
    if obj.spec.replicas is None:
        obj.spec.replicas = 1
    pod.pod_template(obj.spec.template)


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    apps_v1.Deployment: _deployment,
    apps_v1.DaemonSet: _daemon_set,
    apps_v1.StatefulSet: _stateful_set,
    apps_v1.ReplicaSet: _replica_set,
}

"""Rules of Deployments, ReplicaSets, DaemonSets, StatefulSets, ControllerRevisions. Pure. Source: `pkg/apis/apps/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api import selectors
from carob.api.types import apps_v1, core_v1
from carob.api.validation import counts, field, meta, names, pod, quantities

if TYPE_CHECKING:
    from carob.api.types import meta_v1
    from carob.api.validation.field import Cause

MISMATCH = "`selector` does not match template `labels`"
_STATEFUL_UPDATES = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def parsed(selector: meta_v1.LabelSelector | None) -> selectors.LabelSelector | None:
    """The selector as controllers use it; None if it is broken."""
    try:
        return selectors.from_struct(selector)
    except selectors.SelectorError:
        return None


def _selector(out: list[Cause], selector: meta_v1.LabelSelector | None, kind: str) -> selectors.LabelSelector | None:
    """The usual rules; None if the selector cannot be used."""
    if selector is None:
        out.append(field.required("spec.selector"))
    else:
        meta.label_selector(out, "spec.selector", selector)
        if not selector.match_labels and not selector.match_expressions:
            out.append(field.invalid("spec.selector", selector, f"empty selector is invalid for {kind}"))
    return parsed(selector)


def _template(
    out: list[Cause], template: core_v1.PodTemplateSpec, selector: selectors.LabelSelector | None, kind: str
) -> None:
    labels = template.metadata.labels
    if selector is not None and not selector.empty and not selector.matches(labels):
        out.append(field.invalid("spec.template.metadata.labels", field.map_or_null(labels), MISMATCH))
    pod.template(out, "spec.template", template)
    _always(out, template, kind)


def _always(out: list[Cause], template: core_v1.PodTemplateSpec, kind: str) -> None:
    """What runs for ever cannot have a Pod that ends."""
    policy = template.spec.restart_policy
    if policy != "Always":
        out.append(field.not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if template.spec.active_deadline_seconds is not None:
        words = f"activeDeadlineSeconds in {kind} is not Supported"
        out.append(field.forbidden("spec.template.spec.activeDeadlineSeconds", words))


def deployment(out: list[Cause], obj: apps_v1.Deployment) -> None:
    """A new Deployment."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _deployment_spec(out, obj.spec)


def _deployment_spec(out: list[Cause], spec: apps_v1.DeploymentSpec) -> None:
    meta.non_negative(out, "spec.replicas", spec.replicas or 0)
    selector = _selector(out, spec.selector, "deployment")
    if selector is None:
        out.append(field.invalid("spec.selector", spec.selector, "invalid label selector"))
    else:
        _template(out, spec.template, selector, "ReplicaSet")
    _deployment_strategy(out, spec.strategy)
    meta.non_negative(out, "spec.minReadySeconds", spec.min_ready_seconds)
    meta.non_negative(out, "spec.revisionHistoryLimit", spec.revision_history_limit or 0)
    seconds = spec.progress_deadline_seconds
    if seconds is not None:
        meta.non_negative(out, "spec.progressDeadlineSeconds", seconds)
        if seconds <= spec.min_ready_seconds:
            words = "must be greater than minReadySeconds"
            out.append(field.invalid("spec.progressDeadlineSeconds", seconds, words))


def _deployment_strategy(out: list[Cause], strategy: apps_v1.DeploymentStrategy) -> None:
    here, rolling = "spec.strategy.rollingUpdate", strategy.rolling_update
    if strategy.type == "Recreate":
        if rolling is not None:
            out.append(field.forbidden(here, "may not be specified when strategy `type` is 'Recreate'"))
    elif strategy.type != "RollingUpdate":
        out.append(field.not_supported("spec.strategy", strategy, ("Recreate", "RollingUpdate")))
    elif rolling is None:
        out.append(field.required(here, "this should be defaulted and never be nil"))
    else:
        unavailable, surge = rolling.max_unavailable or 0, rolling.max_surge or 0
        quantities.positive(out, f"{here}.maxUnavailable", unavailable)
        quantities.positive(out, f"{here}.maxSurge", surge)
        if not quantities.number(unavailable) and not quantities.number(surge) and not _not_a_percent(unavailable):
            out.append(field.invalid(f"{here}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
        quantities.at_most_all(out, f"{here}.maxUnavailable", unavailable)


def _not_a_percent(value: int | str) -> bool:
    return isinstance(value, str) and bool(names.percent(value))


def deployment_update(out: list[Cause], new: apps_v1.Deployment, old: apps_v1.Deployment) -> None:
    """A changed Deployment; its selector stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    _deployment_spec(out, new.spec)
    meta.immutable(out, "spec.selector", new.spec.selector, old.spec.selector)


def replica_set(out: list[Cause], obj: apps_v1.ReplicaSet) -> None:
    """A new ReplicaSet."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _replica_set_spec(out, obj.spec)


def _replica_set_spec(out: list[Cause], spec: apps_v1.ReplicaSetSpec) -> None:
    meta.non_negative(out, "spec.replicas", spec.replicas or 0)
    meta.non_negative(out, "spec.minReadySeconds", spec.min_ready_seconds)
    selector = _selector(out, spec.selector, "deployment")
    if selector is None:
        out.append(field.invalid("spec.selector", spec.selector, "invalid label selector"))
    else:
        _template(out, spec.template, selector, "ReplicaSet")


def replica_set_update(out: list[Cause], new: apps_v1.ReplicaSet, old: apps_v1.ReplicaSet) -> None:
    """A changed ReplicaSet; its selector stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    _replica_set_spec(out, new.spec)
    meta.immutable(out, "spec.selector", new.spec.selector, old.spec.selector)


def daemon_set(out: list[Cause], obj: apps_v1.DaemonSet) -> None:
    """A new DaemonSet."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _daemon_set_spec(out, obj.spec)


def _daemon_set_spec(out: list[Cause], spec: apps_v1.DaemonSetSpec) -> None:
    meta.label_selector(out, "spec.selector", spec.selector)
    selector, labels = parsed(spec.selector), spec.template.metadata.labels
    if selector is not None and not selector.matches(labels):
        out.append(field.invalid("spec.template.metadata.labels", field.map_or_null(labels), MISMATCH))
    if spec.selector is not None and not spec.selector.match_labels and not spec.selector.match_expressions:
        out.append(field.invalid("spec.selector", spec.selector, "empty selector is invalid for daemonset"))
    pod.template(out, "spec.template", spec.template)
    _always(out, spec.template, "DaemonSet")
    meta.non_negative(out, "spec.minReadySeconds", spec.min_ready_seconds)
    strategy, here = spec.update_strategy, "spec.updateStrategy"
    if strategy.type == "RollingUpdate":
        if strategy.rolling_update is None:
            out.append(field.required(f"{here}.rollingUpdate"))
        else:
            _rolling_daemons(out, f"{here}.rollingUpdate", strategy.rolling_update)
    elif strategy.type != "OnDelete":
        out.append(field.not_supported(here, strategy, ("RollingUpdate", "OnDelete")))
    meta.non_negative(out, "spec.revisionHistoryLimit", spec.revision_history_limit or 0)


def _rolling_daemons(out: list[Cause], path: str, rolling: apps_v1.RollingUpdateDaemonSet) -> None:
    unavailable, surge = rolling.max_unavailable or 0, rolling.max_surge or 0
    quantities.positive(out, f"{path}.maxUnavailable", unavailable)
    quantities.positive(out, f"{path}.maxSurge", surge)
    if quantities.number(unavailable) and quantities.number(surge):
        out.append(field.invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif not quantities.number(unavailable) and not quantities.number(surge):
        out.append(field.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    quantities.at_most_all(out, f"{path}.maxUnavailable", unavailable)
    quantities.at_most_all(out, f"{path}.maxSurge", surge)


def daemon_set_update(out: list[Cause], new: apps_v1.DaemonSet, old: apps_v1.DaemonSet) -> None:
    """A changed DaemonSet; its selector stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    _daemon_set_spec(out, new.spec)
    meta.immutable(out, "spec.selector", new.spec.selector, old.spec.selector)


def stateful_set(out: list[Cause], obj: apps_v1.StatefulSet) -> None:
    """A new StatefulSet."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _stateful_set_spec(out, obj.spec)
    if obj.spec.service_name:
        meta.wrong_name(out, "spec.serviceName", obj.spec.service_name, names.dns_label(obj.spec.service_name))


def _stateful_set_spec(out: list[Cause], spec: apps_v1.StatefulSetSpec) -> None:
    policy = spec.pod_management_policy
    if not policy:
        out.append(field.required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        out.append(field.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    _stateful_strategy(out, spec.update_strategy)
    retention = spec.persistent_volume_claim_retention_policy
    if retention is not None:
        for name, value in (("whenDeleted", retention.when_deleted), ("whenScaled", retention.when_scaled)):
            if value not in ("Retain", "Delete"):
                here = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
                out.append(field.not_supported(here, value, ("Retain", "Delete")))
    meta.non_negative(out, "spec.replicas", spec.replicas or 0)
    meta.non_negative(out, "spec.minReadySeconds", spec.min_ready_seconds)
    if spec.ordinals is not None:
        meta.non_negative(out, "spec.ordinals.start", spec.ordinals.start)
    selector = _selector(out, spec.selector, "statefulset")
    if selector is None:
        out.append(field.invalid("spec.selector", spec.selector, ""))
        _always(out, spec.template, "StatefulSet")
    else:
        _template(out, _with_claims(spec), selector, "StatefulSet")


def _with_claims(spec: apps_v1.StatefulSetSpec) -> core_v1.PodTemplateSpec:
    """The template with the volumes that its Pods get from the claim templates, so that mounts can be judged."""
    own = spec.template.spec
    claims = {claim.metadata.name: claim for claim in spec.volume_claim_templates if claim.metadata.name}
    if not claims:
        return spec.template
    volumes = [volume for volume in own.volumes if volume.name not in claims]
    volumes += [
        core_v1.Volume(name=name, persistent_volume_claim=core_v1.PersistentVolumeClaimVolumeSource(claim_name=name))
        for name in claims
    ]
    return msgspec.structs.replace(spec.template, spec=msgspec.structs.replace(own, volumes=volumes))


def _stateful_strategy(out: list[Cause], strategy: apps_v1.StatefulSetUpdateStrategy) -> None:
    here, rolling = "spec.updateStrategy", strategy.rolling_update
    if not strategy.type:
        out.append(field.required(here))
    elif strategy.type == "OnDelete":
        if rolling is not None:
            words = "only allowed for updateStrategy 'RollingUpdate'"
            out.append(field.invalid(f"{here}.rollingUpdate", rolling, words))
    elif strategy.type != "RollingUpdate":
        out.append(field.invalid(here, strategy, "must be 'RollingUpdate' or 'OnDelete'"))
    elif rolling is not None:
        meta.non_negative(out, f"{here}.rollingUpdate.partition", rolling.partition or 0)
        if rolling.max_unavailable is not None:
            quantities.positive(out, f"{here}.rollingUpdate.maxUnavailable", rolling.max_unavailable)
            if not quantities.number(rolling.max_unavailable):
                words = "cannot be 0"
                out.append(field.invalid(f"{here}.rollingUpdate.maxUnavailable", rolling.max_unavailable, words))
            quantities.at_most_all(out, f"{here}.rollingUpdate.maxUnavailable", rolling.max_unavailable)


def stateful_set_update(out: list[Cause], new: apps_v1.StatefulSet, old: apps_v1.StatefulSet) -> None:
    """A changed StatefulSet: only part of its spec may change."""
    meta.core_updated(out, new.metadata, old.metadata)
    _stateful_set_spec(out, new.spec)
    ours, theirs = new.spec, old.spec
    rest = msgspec.structs.replace(
        ours,
        replicas=theirs.replicas,
        ordinals=theirs.ordinals,
        template=theirs.template,
        update_strategy=theirs.update_strategy,
        revision_history_limit=theirs.revision_history_limit,
        persistent_volume_claim_retention_policy=theirs.persistent_volume_claim_retention_policy,
        min_ready_seconds=theirs.min_ready_seconds,
    )
    if rest != theirs:
        out.append(field.forbidden("spec", _STATEFUL_UPDATES))


def _deployment_status(out: list[Cause], new: apps_v1.Deployment, old: apps_v1.Deployment) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    counted = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
    counts.replicas(out, new.status, *counted, "terminatingReplicas")
    counts.collisions(out, new, old)


def _replica_set_status(out: list[Cause], new: apps_v1.ReplicaSet, old: apps_v1.ReplicaSet) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    counted = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "terminatingReplicas")
    counts.replicas(out, new.status, *counted)


def _daemon_set_status(out: list[Cause], new: apps_v1.DaemonSet, old: apps_v1.DaemonSet) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    counted = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    later = ("updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount")
    counts.not_negative(out, new.status, *counted, "observedGeneration", *later)
    counts.collisions(out, new, old)


def _stateful_set_status(out: list[Cause], new: apps_v1.StatefulSet, old: apps_v1.StatefulSet) -> None:
    counted = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    counts.replicas(out, new.status, *counted, stateful=True)
    meta.core_updated(out, new.metadata, old.metadata)
    counts.collisions(out, new, old)


def controller_revision(out: list[Cause], obj: apps_v1.ControllerRevision) -> None:
    """A kept state of a workload."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    if obj.data is None:
        out.append(field.required("data", "data is mandatory"))
    meta.non_negative(out, "revision", obj.revision)


def controller_revision_update(
    out: list[Cause], new: apps_v1.ControllerRevision, old: apps_v1.ControllerRevision
) -> None:
    """Only the number of a kept state may change."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.non_negative(out, "revision", new.revision)
    meta.immutable(out, "data", new.data, old.data)


CREATE: dict[type[Any], Any] = {
    apps_v1.Deployment: deployment,
    apps_v1.ReplicaSet: replica_set,
    apps_v1.DaemonSet: daemon_set,
    apps_v1.StatefulSet: stateful_set,
    apps_v1.ControllerRevision: controller_revision,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (apps_v1.Deployment, ""): deployment_update,
    (apps_v1.ReplicaSet, ""): replica_set_update,
    (apps_v1.DaemonSet, ""): daemon_set_update,
    (apps_v1.StatefulSet, ""): stateful_set_update,
    (apps_v1.ControllerRevision, ""): controller_revision_update,
    (apps_v1.Deployment, "status"): _deployment_status,
    (apps_v1.ReplicaSet, "status"): _replica_set_status,
    (apps_v1.DaemonSet, "status"): _daemon_set_status,
    (apps_v1.StatefulSet, "status"): _stateful_set_status,
}

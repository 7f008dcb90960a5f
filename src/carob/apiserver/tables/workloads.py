"""Rows of apps, batch, autoscaling and policy.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.human import human_duration
from carob.apiserver.tables.text import (
    NONE,
    UNKNOWN,
    UNSET,
    age,
    boolean,
    containers,
    labels,
    selector,
    shortened,
    since,
)
from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from carob.api.types import apps_v1, autoscaling_v1, autoscaling_v2, batch_v1, policy_v1

SHOWN_METRICS = 2


def _deployment(obj: apps_v1.Deployment, now: float) -> list[Any]:
    status = obj.status
    return [
        obj.metadata.name,
        f"{status.ready_replicas}/{obj.spec.replicas or 0}",
        status.updated_replicas,
        status.available_replicas,
        age(obj, now),
        *containers(obj.spec.template.spec),
        selector(obj.spec.selector),
    ]


def _replica_set(obj: apps_v1.ReplicaSet, now: float) -> list[Any]:
    return [
        obj.metadata.name,
        obj.spec.replicas or 0,
        obj.status.replicas,
        obj.status.ready_replicas,
        age(obj, now),
        *containers(obj.spec.template.spec),
        selector(obj.spec.selector),
    ]


def _daemon_set(obj: apps_v1.DaemonSet, now: float) -> list[Any]:
    status = obj.status
    return [
        obj.metadata.name,
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled,
        status.number_available,
        labels(obj.spec.template.spec.node_selector),
        age(obj, now),
        *containers(obj.spec.template.spec),
        selector(obj.spec.selector),
    ]


def _stateful_set(obj: apps_v1.StatefulSet, now: float) -> list[Any]:
    ready = f"{obj.status.ready_replicas}/{obj.spec.replicas or 0}"
    return [obj.metadata.name, ready, age(obj, now), *containers(obj.spec.template.spec)]


def _controller_revision(obj: apps_v1.ControllerRevision, now: float) -> list[Any]:
    owner = next((one for one in obj.metadata.owner_references if one.controller), None)
    name = NONE
    if owner is not None:
        group = owner.api_version.rpartition("/")[0]
        kind = f"{owner.kind}.{group}" if group else owner.kind
        name = f"{kind.lower()}/{owner.name}"
    return [obj.metadata.name, name, obj.revision, age(obj, now)]


_JOB_WORDS = (("Complete", "Complete"), ("Failed", "Failed"))
_LATER_JOB_WORDS = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job(obj: batch_v1.Job, now: float) -> list[Any]:
    status, spec = obj.status, obj.spec
    if spec.completions is not None:
        completions = f"{status.succeeded}/{spec.completions}"
    elif (spec.parallelism or 0) > 1:
        completions = f"{status.succeeded}/1 of {spec.parallelism}"
    else:
        completions = f"{status.succeeded}/1"
    duration = ""
    if status.start_time:
        end = parse_rfc3339(status.completion_time) if status.completion_time else now
        duration = human_duration(end - parse_rfc3339(status.start_time))
    return [
        obj.metadata.name,
        _job_word(obj),
        completions,
        duration,
        age(obj, now),
        *containers(spec.template.spec),
        selector(spec.selector),
    ]


def _job_word(obj: batch_v1.Job) -> str:
    true = {one.type for one in obj.status.conditions if one.status == "True"}
    for kind, word in _JOB_WORDS:
        if kind in true:
            return word
    if obj.metadata.deletion_timestamp is not None:
        return "Terminating"
    return next((kind for kind in _LATER_JOB_WORDS if kind in true), "Running")


def _cron_job(obj: batch_v1.CronJob, now: float) -> list[Any]:
    last = obj.status.last_schedule_time
    job = obj.spec.job_template.spec
    return [
        obj.metadata.name,
        obj.spec.schedule,
        obj.spec.time_zone or NONE,
        boolean(obj.spec.suspend),
        len(obj.status.active),
        since(last, now) if last else NONE,
        age(obj, now),
        *containers(job.template.spec),
        selector(job.selector),
    ]


def _autoscaler(obj: autoscaling_v2.HorizontalPodAutoscaler, now: float) -> list[Any]:
    spec = obj.spec
    return [
        obj.metadata.name,
        f"{spec.scale_target_ref.kind}/{spec.scale_target_ref.name}",
        _metrics(spec.metrics, obj.status.current_metrics or []),
        UNSET if spec.min_replicas is None else str(spec.min_replicas),
        spec.max_replicas,
        obj.status.current_replicas,
        age(obj, now),
    ]


def _autoscaler_v1(obj: autoscaling_v1.HorizontalPodAutoscaler, now: float) -> list[Any]:
    spec = obj.spec
    targets = NONE
    if spec.target_cpu_utilization_percentage is not None:
        current = obj.status.current_cpu_utilization_percentage
        shown = UNKNOWN if current is None else f"{current}%"
        targets = f"cpu: {shown}/{spec.target_cpu_utilization_percentage}%"
    return [
        obj.metadata.name,
        f"{spec.scale_target_ref.kind}/{spec.scale_target_ref.name}",
        targets,
        UNSET if spec.min_replicas is None else str(spec.min_replicas),
        spec.max_replicas,
        obj.status.current_replicas,
        age(obj, now),
    ]


def _metrics(wanted: list[autoscaling_v2.MetricSpec], seen: list[autoscaling_v2.MetricStatus]) -> str:
    shown = [_metric(one, seen[i] if i < len(seen) else None) for i, one in enumerate(wanted)]
    return shortened(shown, SHOWN_METRICS, ", ") if shown else NONE


_METRIC_FIELDS = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "container_resource",
}


def _metric(wanted: Any, seen: Any) -> str:
    field = _METRIC_FIELDS.get(wanted.type)
    source = getattr(wanted, field) if field else None
    if source is None:
        return "<unknown type>"
    status = getattr(seen, field or "", None) if seen is not None else None
    current = status.current if status is not None else None
    target = source.target
    if field in ("resource", "container_resource"):
        if target.average_value is not None:
            return f"{source.name}: {_seen(current, 'average_value')}/{target.average_value}"
        goal = "<auto>" if target.average_utilization is None else f"{target.average_utilization}%"
        utilization = current.average_utilization if current is not None else None
        return f"{source.name}: {UNKNOWN if utilization is None else f'{utilization}%'}/{goal}"
    if field == "pods":
        return f"{_seen(current, 'average_value')}/{target.average_value}"
    if target.average_value is not None:
        return f"{_seen(current, 'average_value')}/{target.average_value} (avg)"
    return f"{_seen(current, 'value')}/{target.value}"


def _seen(current: Any, field: str) -> str:
    value = getattr(current, field, None) if current is not None else None
    return UNKNOWN if value is None else str(value)


def _disruption_budget(obj: policy_v1.PodDisruptionBudget, now: float) -> list[Any]:
    low, high = obj.spec.min_available, obj.spec.max_unavailable
    return [
        obj.metadata.name,
        "N/A" if low is None else str(low),
        "N/A" if high is None else str(high),
        obj.status.disruptions_allowed,
        age(obj, now),
    ]


CELLS = {
    "controllerrevisions.apps": _controller_revision,
    "cronjobs.batch": _cron_job,
    "daemonsets.apps": _daemon_set,
    "deployments.apps": _deployment,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "horizontalpodautoscalers.autoscaling/v1": _autoscaler_v1,
    "jobs.batch": _job,
    "poddisruptionbudgets.policy": _disruption_budget,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
}

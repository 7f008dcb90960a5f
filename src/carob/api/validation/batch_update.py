"""What an update of a Job or a CronJob, or of their status, may change. Pure. Source: `pkg/apis/batch/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api.types import batch_v1, core_v1
from carob.api.validation import batch, field, meta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause


def job_update(out: list[Cause], new: batch_v1.Job, old: batch_v1.Job) -> None:
    """A changed Job; nearly all of its spec stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    ours, theirs = new.spec, old.spec
    batch.job_spec(out, "spec", ours)
    if ours.completion_mode != batch.INDEXED:
        meta.immutable(out, "spec.completions", ours.completions, theirs.completions)
    elif (
        ours.completions is not None and theirs.completions is not None and ours.completions != theirs.completions
    ) and ours.completions != ours.parallelism:
        words = "can only be modified in tandem with spec.parallelism"
        out.append(field.invalid("spec.completions", ours.completions, words))
    meta.immutable(out, "spec.selector", ours.selector, theirs.selector)
    template = theirs.template
    if theirs.suspend and not (old.status.start_time and old.status.active):
        template = _rescheduled(template, ours.template)
    meta.immutable(out, "spec.template", ours.template, template)
    for name, value, was in (
        ("completionMode", ours.completion_mode, theirs.completion_mode),
        ("podFailurePolicy", ours.pod_failure_policy, theirs.pod_failure_policy),
        ("backoffLimitPerIndex", ours.backoff_limit_per_index, theirs.backoff_limit_per_index),
        ("managedBy", ours.managed_by, theirs.managed_by),
        ("successPolicy", ours.success_policy, theirs.success_policy),
    ):
        meta.immutable(out, f"spec.{name}", value, was)


def _rescheduled(old: core_v1.PodTemplateSpec, new: core_v1.PodTemplateSpec) -> core_v1.PodTemplateSpec:
    """The old template with what may still change while a Job is suspended: where its Pods may run, and on how much."""
    wanted, was = new.spec.affinity, old.spec.affinity
    if wanted is None and was is not None:
        was = msgspec.structs.replace(was, node_affinity=None)
        was = None if was == core_v1.Affinity() else was
    elif wanted is not None:
        was = msgspec.structs.replace(was or core_v1.Affinity(), node_affinity=wanted.node_affinity)
    spec = msgspec.structs.replace(
        old.spec,
        affinity=was,
        node_selector=new.spec.node_selector,
        tolerations=new.spec.tolerations,
        scheduling_gates=new.spec.scheduling_gates,
        containers=_resized(old.spec.containers, new.spec.containers),
        init_containers=_resized(old.spec.init_containers, new.spec.init_containers),
    )
    metadata = msgspec.structs.replace(old.metadata, labels=new.metadata.labels, annotations=new.metadata.annotations)
    return msgspec.structs.replace(old, spec=spec, metadata=metadata)


def _resized(old: Sequence[core_v1.Container], new: Sequence[core_v1.Container]) -> list[core_v1.Container]:
    if len(old) != len(new):
        return list(old)
    return [msgspec.structs.replace(a, resources=b.resources) for a, b in zip(old, new, strict=True)]


def job_status(out: list[Cause], new: batch_v1.Job, old: batch_v1.Job) -> None:
    """What a Job came to; an end cannot be taken back."""
    meta.core_updated(out, new.metadata, old.metadata)
    status, was = new.status, old.status
    for name, value in (
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready or 0),
        ("terminating", status.terminating or 0),
    ):
        meta.non_negative(out, f"status.{name}", value)
    if status.ready is not None and status.ready > status.active:
        out.append(field.invalid("status.ready", status.ready, "cannot set more ready pods than active"))
    uncounted = status.uncounted_terminated_pods
    if uncounted is not None:
        _uncounted(out, uncounted)
    _ended(out, new)
    true, before = _true(status), _true(was)
    for kind in ("Failed", "Complete", "FailureTarget", "SuccessCriteriaMet"):
        if kind in before and kind not in true:
            terminal = "terminal " if kind in ("Failed", "Complete") else ""
            out.append(field.omitted("status.conditions", f"cannot disable the {terminal}{kind}=True condition"))
    for name, value, previous in (
        ("failed", status.failed, was.failed),
        ("succeeded", status.succeeded, was.succeeded),
    ):
        if value < previous:
            out.append(field.invalid(f"status.{name}", value, f"cannot decrease the {name} counter"))


def _true(status: batch_v1.JobStatus) -> set[str]:
    return {condition.type for condition in status.conditions if condition.status == "True"}


def _uncounted(out: list[Cause], uncounted: batch_v1.UncountedTerminatedPods) -> None:
    seen: set[str] = set()
    for name, uids in (("succeeded", uncounted.succeeded), ("failed", uncounted.failed)):
        for i, uid in enumerate(uids):
            here = f"status.uncountedTerminatedPods.{name}[{i}]"
            if not uid:
                out.append(field.invalid(here, uid, "must not be empty"))
            elif uid in seen:
                out.append(field.duplicate(here, uid))
            seen.add(uid)


def _ended(out: list[Cause], obj: batch_v1.Job) -> None:
    """A Job's conditions must agree with each other and with its times and counters."""
    status, true = obj.status, _true(obj.status)
    complete, failed = "Complete" in true, "Failed" in true
    if complete and failed:
        out.append(field.omitted("status.conditions", "cannot set Complete=True and Failed=True conditions"))
    if complete and "FailureTarget" in true:
        out.append(field.omitted("status.conditions", "cannot set Complete=True and FailureTarget=true conditions"))
    here, end = "status.completionTime", status.completion_time
    if end is not None and not complete:
        words = "cannot set completionTime when there is no Complete=True condition"
        out.append(field.invalid(here, end, words))
    if complete and end is None:
        out.append(field.required(here, "completionTime is required for Complete jobs"))
    if end is not None and status.start_time is not None and end < status.start_time:
        out.append(field.invalid(here, end, "completionTime cannot be set before startTime"))
    for kind, first in (("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")):
        if kind in true and first not in true:
            words = f"cannot set {kind}=True condition without the {first}=true condition"
            out.append(field.omitted("status.conditions", words))
    if not (complete or failed):
        return
    if status.active > 0:
        out.append(field.invalid("status.active", status.active, "active>0 is invalid for finished job"))
    if (status.terminating or 0) > 0:
        words = "terminating>0 is invalid for finished job"
        out.append(field.invalid("status.terminating", status.terminating, words))
    if status.start_time is None:
        out.append(field.required("status.startTime", "startTime is required for finished job"))
    uncounted = status.uncounted_terminated_pods
    if uncounted is not None and (uncounted.failed or uncounted.succeeded):
        words = "uncountedTerminatedPods needs to be empty for finished job"
        out.append(field.invalid("status.uncountedTerminatedPods", uncounted, words))


def cron_job_update(out: list[Cause], new: batch_v1.CronJob, old: batch_v1.CronJob) -> None:
    """A changed CronJob."""
    meta.core_updated(out, new.metadata, old.metadata)
    batch.cron_job_spec(out, new.spec, old.spec)


CREATE: dict[type[Any], Any] = {}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (batch_v1.Job, ""): job_update,
    (batch_v1.Job, "status"): job_status,
    (batch_v1.CronJob, ""): cron_job_update,
}

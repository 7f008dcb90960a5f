"""Rules of Jobs and CronJobs, when they are made.

Pure. Source: `pkg/apis/batch/validation`. What an update may change is in `batch_update`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.api import cron, time_zones
from carob.api.types import batch_v1
from carob.api.validation import apps, field, meta, names, pod

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from carob.api.validation.field import Cause

INDEXED = "Indexed"
LABEL_PREFIX = "batch.kubernetes.io/"
MAX_RULES = 20
MAX_INDEXES = 100_000
MAX_BUSY_INDEXES = 10_000
_NOT_INDEXED = "requires indexed completion mode"
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_ZONE_FORM = re.compile(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")


def job(out: list[Cause], obj: batch_v1.Job) -> None:
    """A new Job, with its generated selector."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    generated_selector(out, obj)
    job_spec(out, "spec", obj.spec)
    spec = obj.spec
    if spec.completion_mode == INDEXED and (spec.completions or 0) > 0:
        last = f"{obj.metadata.name}-{(spec.completions or 0) - 1}"
        if names.dns_label(last):
            words = f"will not able to create pod with invalid DNS label: {last}"
            out.append(field.invalid("metadata.name", obj.metadata.name, words))


def generated_selector(out: list[Cause], obj: batch_v1.Job) -> None:
    """Unless it is told otherwise, a Job selects by its own uid and by nothing else."""
    spec = obj.spec
    if spec.manual_selector or spec.selector is None:
        return
    uid, labels = obj.metadata.uid, spec.template.metadata.labels
    if not uid:
        out.append(field.required("metadata.uid"))
    for prefix in (LABEL_PREFIX, ""):
        for key, value in ((f"{prefix}controller-uid", uid), (f"{prefix}job-name", obj.metadata.name)):
            here, words = f"spec.template.metadata.labels[{key}]", f"must be '{value}'"
            if key not in labels:
                out.append(field.required(here, words))
            if labels.get(key, "") != value:
                out.append(field.invalid(here, field.map_or_null(labels), words))
    ours = [{prefix + "controller-uid": uid} for prefix in (LABEL_PREFIX, "")]
    if spec.selector.match_labels not in ours or spec.selector.match_expressions:
        out.append(field.invalid("spec.selector", spec.selector, "`selector` not auto-generated"))


def job_spec(out: list[Cause], path: str, spec: batch_v1.JobSpec) -> None:
    """What a Job does."""
    _job_template_spec(out, path, spec)
    if spec.selector is None:
        out.append(field.required(f"{path}.selector"))
    else:
        meta.label_selector(out, f"{path}.selector", spec.selector)
    selector, labels = apps.parsed(spec.selector), spec.template.metadata.labels
    if selector is not None and not selector.matches(labels):
        out.append(field.invalid(f"{path}.template.metadata.labels", field.map_or_null(labels), apps.MISMATCH))


def _job_template_spec(out: list[Cause], path: str, spec: batch_v1.JobSpec) -> None:
    for name, value in (
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ):
        meta.non_negative(out, f"{path}.{name}", value or 0)
    if spec.max_failed_indexes is not None and spec.backoff_limit_per_index is None:
        out.append(field.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.managed_by is not None:
        meta.domain_prefixed(out, f"{path}.managedBy", spec.managed_by)
        if len(spec.managed_by) > 63:
            out.append(field.too_long(f"{path}.managedBy", 63))
    mode = spec.completion_mode
    if mode is not None and mode not in ("NonIndexed", INDEXED):
        out.append(field.not_supported(f"{path}.completionMode", mode, ("NonIndexed", INDEXED)))
    if mode == INDEXED:
        _indexed(out, path, spec)
    elif mode in (None, "NonIndexed"):
        for name, value in (
            ("backoffLimitPerIndex", spec.backoff_limit_per_index),
            ("maxFailedIndexes", spec.max_failed_indexes),
        ):
            if value is not None:
                out.append(field.invalid(f"{path}.{name}", value, _NOT_INDEXED))
    if spec.pod_failure_policy is not None:
        _failure_policy(out, f"{path}.podFailurePolicy.rules", spec, spec.pod_failure_policy)
    if spec.success_policy is not None:
        if mode != INDEXED:
            out.append(field.invalid(f"{path}.successPolicy", spec.success_policy, _NOT_INDEXED))
        else:
            _success_policy(out, f"{path}.successPolicy.rules", spec, spec.success_policy)
    if spec.pod_replacement_policy is not None:
        supported = ("Failed",) if spec.pod_failure_policy is not None else ("Failed", "TerminatingOrFailed")
        if spec.pod_replacement_policy not in supported:
            out.append(field.not_supported(f"{path}.podReplacementPolicy", spec.pod_replacement_policy, supported))
    pod.template(out, f"{path}.template", spec.template)
    _restart_policy(out, f"{path}.template.spec.restartPolicy", spec)


def _restart_policy(out: list[Cause], path: str, spec: batch_v1.JobSpec) -> None:
    """What shall end cannot be restarted for ever."""
    policy = spec.template.spec.restart_policy
    if policy in ("", "Always"):
        out.append(field.required(path, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        out.append(field.not_supported(path, policy, ("OnFailure", "Never")))
    elif spec.pod_failure_policy is not None and policy != "Never":
        out.append(field.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified'))


def _indexed(out: list[Cause], path: str, spec: batch_v1.JobSpec) -> None:
    completions, parallelism, failed = spec.completions, spec.parallelism or 0, spec.max_failed_indexes
    if completions is None:
        out.append(field.required(f"{path}.completions", f"when completion mode is {INDEXED}"))
    if parallelism > MAX_INDEXES:
        words = f"must be less than or equal to {MAX_INDEXES} when completion mode is {INDEXED}"
        out.append(field.invalid(f"{path}.parallelism", parallelism, words))
    if completions is not None and failed is not None and failed > completions:
        out.append(field.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions"))
    if failed is not None and failed > MAX_INDEXES:
        words = f"must be less than or equal to {MAX_INDEXES}"
        out.append(field.invalid(f"{path}.maxFailedIndexes", failed, words))
    if (completions or 0) > MAX_INDEXES and spec.backoff_limit_per_index is not None:
        busy = (
            f"must be less than or equal to {MAX_BUSY_INDEXES} when completions are above {MAX_INDEXES} and used with "
            "backoff limit per index"
        )
        if failed is None:
            words = f"must be specified when completions is above {MAX_INDEXES}"
            out.append(field.required(f"{path}.maxFailedIndexes", words))
        if parallelism > MAX_BUSY_INDEXES:
            out.append(field.invalid(f"{path}.parallelism", parallelism, busy))
        if failed is not None and failed > MAX_BUSY_INDEXES:
            out.append(field.invalid(f"{path}.maxFailedIndexes", failed, busy))


def _one_of(out: list[Cause], path: str, value: str, supported: Sequence[str]) -> None:
    if not value:
        listed = " ".join(field.quoted(s) for s in supported)
        out.append(field.required(path, f"valid values: [{listed}]"))
    elif value not in supported:
        out.append(field.not_supported(path, value, supported))


def _failure_policy(out: list[Cause], path: str, spec: batch_v1.JobSpec, policy: batch_v1.PodFailurePolicy) -> None:
    if len(policy.rules) > MAX_RULES:
        out.append(field.too_many(path, len(policy.rules), MAX_RULES))
    template = spec.template.spec
    known = {container.name for container in [*template.containers, *template.init_containers]}
    for i, rule in enumerate(policy.rules):
        here = f"{path}[{i}]"
        if rule.action == "FailIndex":
            if spec.backoff_limit_per_index is None:
                words = "requires the backoffLimitPerIndex to be set"
                out.append(field.invalid(f"{here}.action", rule.action, words))
        else:
            _one_of(out, f"{here}.action", rule.action, _ACTIONS)
        if rule.on_exit_codes is not None:
            _exit_codes(out, f"{here}.onExitCodes", rule.on_exit_codes, known)
        conditions = rule.on_pod_conditions
        if len(conditions) > MAX_RULES:
            out.append(field.too_many(f"{here}.onPodConditions", len(conditions), MAX_RULES))
        for j, pattern in enumerate(conditions):
            there = f"{here}.onPodConditions[{j}]"
            meta.wrong_name(out, f"{there}.type", pattern.type, names.qualified_name(pattern.type))
            _one_of(out, f"{there}.status", pattern.status, ("False", "True", "Unknown"))
        if rule.on_exit_codes is not None and conditions:
            words = "specifying both OnExitCodes and OnPodConditions is not supported"
            out.append(field.omitted(here, words))
        if rule.on_exit_codes is None and not conditions:
            out.append(field.omitted(here, "specifying one of OnExitCodes and OnPodConditions is required"))


def _exit_codes(
    out: list[Cause], path: str, codes: batch_v1.PodFailurePolicyOnExitCodesRequirement, known: Collection[str]
) -> None:
    _one_of(out, f"{path}.operator", codes.operator, ("In", "NotIn"))
    if codes.container_name is not None and codes.container_name not in known:
        words = "must be one of the container or initContainer names in the pod template"
        out.append(field.invalid(f"{path}.containerName", codes.container_name, words))
    if not codes.values:
        out.append(field.invalid(f"{path}.values", codes.values, "at least one value is required"))
    elif len(codes.values) > 255:
        out.append(field.too_many(f"{path}.values", len(codes.values), 255))
    again = field.repeated(codes.values)
    for j, value in enumerate(codes.values):
        if codes.operator == "In" and value == 0:
            out.append(field.invalid(f"{path}.values[{j}]", value, "must not be 0 for the In operator"))
        if again[j]:
            out.append(field.duplicate(f"{path}.values[{j}]", value))
    if codes.values != sorted(codes.values):
        out.append(field.invalid(f"{path}.values", codes.values, "must be ordered"))


def _success_policy(out: list[Cause], path: str, spec: batch_v1.JobSpec, policy: batch_v1.SuccessPolicy) -> None:
    if not policy.rules:
        words = "at least one rules must be specified when the successPolicy is specified"
        out.append(field.required(path, words))
    if len(policy.rules) > MAX_RULES:
        out.append(field.too_many(path, len(policy.rules), MAX_RULES))
    completions = spec.completions or 0
    for i, rule in enumerate(policy.rules):
        here, indexes, count = f"{path}[{i}]", rule.succeeded_indexes, rule.succeeded_count
        if indexes is None and count is None:
            words = "at least one of the succeededCount or succeededIndexes must be specified"
            out.append(field.required(here, words))
        total = 0
        if indexes is not None:
            if len(indexes) > 64 * 1024:
                out.append(field.too_long(f"{here}.succeededIndexes", 64 * 1024))
            try:
                total = count_indexes(indexes, completions)
            except ValueError as error:
                words = f"error parsing succeededIndexes: {error}"
                out.append(field.invalid(f"{here}.succeededIndexes", indexes, words))
        if count is not None:
            meta.non_negative(out, f"{here}.succeededCount", count)
            limits = [(completions, "the number of specified completions")]
            if indexes is not None:
                limits.append((total, "the number of indexes in the specified succeededIndexes field"))
            for limit, what in limits:
                if count > limit:
                    words = f"must be less than or equal to {limit} ({what})"
                    out.append(field.invalid(f"{here}.succeededCount", count, words))


def count_indexes(text: str, completions: int) -> int:
    """How many indexes a list such as `1,3-5` names; ValueError in upstream's words if it is none."""
    last, total = -1, 0
    for interval in text.split(",") if text else ():
        limits = interval.split("-")
        if len(limits) > 2:
            raise ValueError(
                f"the fragment {field.quoted(interval)} violates the requirement that an index interval can have at "
                "most two parts separated by '-'"
            )
        first, *rest = (_index(limit, completions) for limit in limits)
        end = rest[0] if rest else first
        if rest and first >= end:
            raise ValueError(f"non-increasing order, previous: {first}, current: {end}")
        if last >= first:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
        total, last = total + end - first + 1, end
    return total


def _index(text: str, completions: int) -> int:
    if not text.isdigit() or not text.isascii() or len(text) > 18:
        raise ValueError(f"cannot convert string to integer for index: {field.quoted(text)}")
    if int(text) >= completions:
        raise ValueError(f"too large index: {field.quoted(text)}")
    return int(text)


def cron_job(out: list[Cause], obj: batch_v1.CronJob) -> None:
    """A new CronJob; its Jobs' names must have room for the time."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    cron_job_spec(out, obj.spec, None)
    if len(obj.metadata.name) > 52:
        out.append(field.invalid("metadata.name", obj.metadata.name, "must be no more than 52 characters"))


def cron_job_spec(out: list[Cause], spec: batch_v1.CronJobSpec, old: batch_v1.CronJobSpec | None) -> None:
    """When a CronJob runs what."""
    if not spec.schedule:
        out.append(field.required("spec.schedule"))
    else:
        _schedule(out, "spec.schedule", spec, "TZ" in old.schedule if old is not None else False)
    meta.non_negative(out, "spec.startingDeadlineSeconds", spec.starting_deadline_seconds or 0)
    if spec.time_zone is not None and (old is None or old.time_zone != spec.time_zone):
        _time_zone(out, "spec.timeZone", spec.time_zone)
    policy, supported = spec.concurrency_policy, ("Allow", "Forbid", "Replace")
    if not policy:
        out.append(field.required("spec.concurrencyPolicy"))
    elif policy not in supported:
        out.append(field.not_supported("spec.concurrencyPolicy", policy, supported))
    here, template = "spec.jobTemplate.spec", spec.job_template.spec
    _job_template_spec(out, here, template)
    if template.selector is not None:
        out.append(field.invalid(f"{here}.selector", template.selector, "`selector` will be auto-generated"))
    if template.manual_selector:
        out.append(field.not_supported(f"{here}.manualSelector", True, ("nil", "false")))
    meta.non_negative(out, "spec.successfulJobsHistoryLimit", spec.successful_jobs_history_limit or 0)
    meta.non_negative(out, "spec.failedJobsHistoryLimit", spec.failed_jobs_history_limit or 0)


def _schedule(out: list[Cause], path: str, spec: batch_v1.CronJobSpec, zone_was_there: bool) -> None:
    try:
        cron.parse(spec.schedule)
    except cron.CronError as error:
        out.append(field.invalid(path, spec.schedule, str(error)))
    if "TZ" in spec.schedule:
        if not zone_was_there:
            words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            out.append(field.invalid(path, spec.schedule, words))
        elif spec.time_zone is not None:
            words = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            out.append(field.invalid(path, spec.schedule, words))


def _time_zone(out: list[Cause], path: str, zone: str) -> None:
    if not zone:
        out.append(field.invalid(path, zone, "timeZone must be nil or non-empty string"))
        return
    words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    if zone.lower() == "local":
        out.append(field.invalid(path, zone, words))
    elif not _ZONE_FORM.fullmatch(zone) or zone not in time_zones.known():
        out.append(field.invalid(path, zone, f"unknown time zone {zone}"))


CREATE: dict[type[Any], Any] = {batch_v1.Job: job, batch_v1.CronJob: cron_job}

UPDATE: dict[tuple[type[Any], str], Any] = {}

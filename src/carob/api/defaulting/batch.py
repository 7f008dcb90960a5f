"""Defaults of Jobs and CronJobs. Source: `pkg/apis/batch/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.defaulting import pod
from carob.api.types import batch_v1

if TYPE_CHECKING:
    from collections.abc import Callable

UNLIMITED = 2**31 - 1


def _job(obj: batch_v1.Job) -> None:
    spec = obj.spec
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.parallelism is None:
        spec.parallelism = 1
    if spec.backoff_limit is None:
        spec.backoff_limit = 6 if spec.backoff_limit_per_index is None else UNLIMITED
    if not obj.metadata.labels and spec.template.metadata.labels:
        obj.metadata.labels = dict(spec.template.metadata.labels)
    if spec.completion_mode is None:
        spec.completion_mode = "NonIndexed"
    if spec.suspend is None:
        spec.suspend = False
    if spec.manual_selector is None:
        spec.manual_selector = False
    if spec.pod_failure_policy is not None:
        for rule in spec.pod_failure_policy.rules:
            for pattern in rule.on_pod_conditions:
                pattern.status = pattern.status or "True"
    if spec.pod_replacement_policy is None:
        spec.pod_replacement_policy = "TerminatingOrFailed" if spec.pod_failure_policy is None else "Failed"
    pod.pod_template(spec.template)


def _cron_job(obj: batch_v1.CronJob) -> None:
    spec = obj.spec
    spec.concurrency_policy = spec.concurrency_policy or "Allow"
    if spec.suspend is None:
        spec.suspend = False
    if spec.successful_jobs_history_limit is None:
        spec.successful_jobs_history_limit = 3
    if spec.failed_jobs_history_limit is None:
        spec.failed_jobs_history_limit = 1
    job = spec.job_template.spec
    if job.pod_failure_policy is not None:
        for rule in job.pod_failure_policy.rules:
            for pattern in rule.on_pod_conditions:
                pattern.status = pattern.status or "True"
    pod.pod_template(job.template)


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {batch_v1.Job: _job, batch_v1.CronJob: _cron_job}

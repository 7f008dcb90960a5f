"""CronJobs: what is due now, what is over, what of the past is kept. Pure.

Source: kube-controller-manager `cronjob/cronjob_controllerv2.go`.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from time import gmtime, strftime
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api.cron import CronError, Schedule, parse
from carob.api.types import batch_v1, core_v1
from carob.base.clock import parse_rfc3339, rfc3339
from carob.controllers.job import COMPLETE, condition, is_finished
from carob.controllers.schedules import last_between, next_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.controllers.workload_views import CronJobView, JobView

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_FORBIDDEN = "Not starting job because prior execution is running and concurrency policy is Forbid"
# a little late is sure to be not too early
LATE_SECONDS = 0.1


class Plan(Struct):
    """What is to be done; `start`: the scheduled time of a Job to make."""

    status: batch_v1.CronJobStatus
    start: float | None = None
    delete: list[JobView] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    recheck_seconds: float | None = None


def job_name(cron: CronJobView, at: float) -> str:
    """The name of the Job of a time: so two starts of one time are one."""
    return f"{cron.metadata.name}-{int(at) // 60}"


def reconcile(cron: CronJobView, jobs: Sequence[JobView], now: float) -> Plan:
    """The next step. Shape: `jobs` are those that it controls."""
    plan = Plan(_seen(cron, jobs))
    _say_what_changed(cron, jobs, plan)
    plan.delete = _past(cron, jobs)
    if cron.is_ending or cron.spec.suspend:
        return plan
    zone = _zone(cron)
    if zone is None:
        unknown = f'invalid timeZone: "{cron.spec.time_zone}": unknown time zone {cron.spec.time_zone}'
        plan.events.append(("Warning", "UnknownTimeZone", unknown))
        return plan
    try:
        schedule = parse(cron.spec.schedule)
    except CronError as error:
        why = f'unparseable schedule: "{cron.spec.schedule}" : {error}'
        plan.events.append(("Warning", "UnparseableSchedule", why))
        return plan
    if schedule.zone and not cron.spec.time_zone:
        zone = named_zone(schedule.zone) or zone
    _start(cron, jobs, schedule, zone, now, plan)
    return plan


def named_zone(name: str) -> tzinfo | None:
    """The time zone of a name; None if nobody knows it."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name in ("UTC", "Etc/UTC", ""):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _zone(cron: CronJobView) -> tzinfo | None:
    return UTC if cron.spec.time_zone is None else named_zone(cron.spec.time_zone)


def _seen(cron: CronJobView, jobs: Iterable[JobView]) -> batch_v1.CronJobStatus:
    """The status as the Jobs say: who is active, and the last success."""
    old = cron.status
    active = [job for job in jobs if not is_finished(job)]
    there = {one.uid: one for one in old.active}
    success = old.last_successful_time
    for job in jobs:
        ended = job.status.completion_time
        if condition(job.status, COMPLETE) and ended and (not success or ended > success):
            success = ended
    return batch_v1.CronJobStatus(
        active=[there.get(job.metadata.uid) or reference(job) for job in active],
        last_schedule_time=old.last_schedule_time,
        last_successful_time=success,
    )


def reference(job: JobView) -> core_v1.ObjectReference:
    """How a CronJob names an active Job."""
    m = job.metadata
    return core_v1.ObjectReference(
        kind="Job",
        api_version="batch/v1",
        namespace=m.namespace,
        name=m.name,
        uid=m.uid,
        resource_version=m.resource_version,
    )


def _say_what_changed(cron: CronJobView, jobs: Sequence[JobView], plan: Plan) -> None:
    by_uid = {job.metadata.uid: job for job in jobs}
    for one in cron.status.active:
        job = by_uid.get(one.uid)
        if job is None:
            plan.events.append(("Normal", "MissingJob", f"Active job went missing: {one.name}"))
        elif is_finished(job):
            how = "Complete" if condition(job.status, COMPLETE) else "Failed"
            plan.events.append(("Normal", "SawCompletedJob", f"Saw completed job: {one.name}, condition: {how}"))


def _past(cron: CronJobView, jobs: Iterable[JobView]) -> list[JobView]:
    """The finished Jobs beyond the history's limits, oldest first."""
    done = sorted(
        (job for job in jobs if is_finished(job) and not job.is_ending),
        key=lambda job: (job.status.start_time or "", job.metadata.name),
    )
    good = [job for job in done if condition(job.status, COMPLETE)]
    bad = [job for job in done if not condition(job.status, COMPLETE)]
    surplus: list[JobView] = []
    for kind, limit in (
        (good, cron.spec.successful_jobs_history_limit),
        (bad, cron.spec.failed_jobs_history_limit),
    ):
        if limit is not None:
            surplus += kind[: max(len(kind) - limit, 0)]
    return surplus


def _start(
    cron: CronJobView, jobs: Sequence[JobView], schedule: Schedule, zone: tzinfo, now: float, plan: Plan
) -> None:
    following = next_after(schedule, now, zone)
    plan.recheck_seconds = following - now + LATE_SECONDS if following is not None else None
    deadline = cron.spec.starting_deadline_seconds
    created = cron.metadata.creation_timestamp
    earliest = parse_rfc3339(cron.status.last_schedule_time or created or rfc3339(now))
    # what was missed is judged from here, however long ago the last start was
    searched = max(earliest, now - deadline) if deadline is not None else earliest
    missed = last_between(schedule, searched, now, zone)
    if missed.many:
        why = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        plan.events.append(("Warning", "TooManyMissedTimes", why))
    due = missed.last
    if due is None:
        _say_if_missed(schedule, earliest, searched, zone, plan)
        return
    name = job_name(cron, due)
    if any(job.metadata.name == name for job in jobs):
        plan.status.last_schedule_time = rfc3339(due)
        return
    running = [job for job in jobs if not is_finished(job)]
    if cron.spec.concurrency_policy == "Forbid" and running:
        plan.events.append(("Normal", "JobAlreadyActive", _FORBIDDEN))
        return
    if cron.spec.concurrency_policy == "Replace":
        ended = {job.metadata.uid for job in running}
        plan.delete += [job for job in running if not job.is_ending]
        plan.status.active = [one for one in plan.status.active if one.uid not in ended]
    plan.start = due


def _say_if_missed(schedule: Schedule, earliest: float, searched: float, zone: tzinfo, plan: Plan) -> None:
    """A time that came and is too long ago now. It is told again each time somebody looks; events are counted."""
    late = last_between(schedule, earliest, searched, zone).last if searched > earliest else None
    if late is not None:
        when = strftime("%a, %d %b %Y %H:%M:%S +0000", gmtime(late))
        plan.events.append(("Warning", "MissSchedule", f"Missed scheduled time to start a job: {when}"))

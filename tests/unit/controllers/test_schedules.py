"""The times of schedules, and what a CronJob does at them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api import codec
from carob.api.cron import parse
from carob.base.clock import parse_rfc3339, rfc3339
from carob.controllers import cronjob
from carob.controllers.schedules import last_between, next_after
from carob.controllers.workload_views import CronJobView, JobView
from tests.unit.controllers.workload_objects import job

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/15 * * * *", "2026-01-01T00:14:59Z", "2026-01-01T00:15:00Z"),
        ("*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"),
        ("0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"),
        ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 13 * 5", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"),
        ("0 0 * * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("59 23 31 12 *", "2026-01-01T00:00:00Z", "2026-12-31T23:59:00Z"),
        ("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
    ],
)
def test_the_next_time(schedule: str, after: str, expected: str) -> None:
    found = next_after(parse(schedule), parse_rfc3339(after))
    assert found is not None
    assert rfc3339(found) == expected


def test_a_time_that_never_comes() -> None:
    assert next_after(parse("0 0 31 2 *"), 0.0) is None


def test_an_hour_that_is_skipped_and_one_that_comes_twice() -> None:
    nightly = parse("30 2 * * *")
    # on 29 March 2026 it is never half past two; on 25 October it is twice
    assert next_after(nightly, at("2026-03-28T12:00"), BERLIN) == at("2026-03-30T02:30")
    first = next_after(nightly, at("2026-10-24T12:00"), BERLIN)
    assert first == at("2026-10-25T02:30")
    assert next_after(nightly, first, BERLIN) == first + 3600


@settings(max_examples=50, deadline=None)
@given(st.integers(1_600_000_000, 1_900_000_000), st.sampled_from(["* * * * *", "5 */7 * * *", "0 4 * * 1"]))
def test_the_last_time_is_the_one_before_the_next(now: int, text: str) -> None:
    schedule = parse(text)
    last = last_between(schedule, now - 8 * 86_400, now).last
    assert last is not None
    assert last <= now
    following = next_after(schedule, last)
    assert following is not None
    assert following > now


def test_many_missed_times_are_said() -> None:
    found = last_between(parse("* * * * *"), 0.0, 86_400.0)
    assert found.last == 86_400.0
    assert found.many


def cron(**more: Any) -> CronJobView:
    spec = {"schedule": "0 * * * *", "jobTemplate": {"spec": {}}} | more.pop("spec", {})
    metadata = {"name": "tick", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-01T00:30:00Z"}
    return codec.decode(CronJobView, codec.encode({"metadata": metadata, "spec": spec} | more))


def ran(name: str, *, ended: str = "", how: str = "Complete") -> JobView:
    conditions = [{"type": how, "status": "True"}] if ended else []
    made = job(metadata={"name": name, "uid": name}, status={"conditions": conditions, "startTime": ended or None})
    made.status.completion_time = ended if how == "Complete" and ended else None
    return made


DUE = parse_rfc3339("2026-01-01T02:00:00Z")


def test_a_start_is_due_once() -> None:
    plan = cronjob.reconcile(cron(), [], DUE + 5)
    assert plan.start == DUE
    assert plan.recheck_seconds == pytest.approx(3595.1)
    again = cronjob.reconcile(cron(), [ran(cronjob.job_name(cron(), DUE))], DUE + 5)
    assert again.start is None
    assert again.status.last_schedule_time == rfc3339(DUE)
    known = cron(status={"lastScheduleTime": rfc3339(DUE)})
    assert cronjob.reconcile(known, [], DUE + 5).start is None


@pytest.mark.parametrize(
    ("spec", "starts", "deleted", "reason"),
    [
        ({"concurrencyPolicy": "Allow"}, True, 0, None),
        ({"concurrencyPolicy": "Forbid"}, False, 0, "JobAlreadyActive"),
        ({"concurrencyPolicy": "Replace"}, True, 1, None),
        ({"suspend": True}, False, 0, None),
        ({"startingDeadlineSeconds": 3}, False, 0, "MissSchedule"),
        ({"startingDeadlineSeconds": 30}, True, 0, None),
        ({"timeZone": "Nowhere/Land"}, False, 0, "UnknownTimeZone"),
        ({"schedule": "nonsense"}, False, 0, "UnparseableSchedule"),
        ({"timeZone": "Asia/Kolkata", "startingDeadlineSeconds": 60}, False, 0, "MissSchedule"),
    ],
)
def test_policies(spec: dict[str, Any], starts: bool, deleted: int, reason: str | None) -> None:
    running = ran("tick-1")
    owner = cron(spec=spec, status={"active": [{"name": "tick-1", "uid": "tick-1"}]})
    plan = cronjob.reconcile(owner, [running], DUE + 5)
    assert (plan.start is not None, len(plan.delete)) == (starts, deleted)
    assert [r for _, r, _ in plan.events if r] == ([reason] if reason else [])


def test_the_past_is_limited_and_the_last_success_remembered() -> None:
    good = [ran(f"good-{i}", ended=f"2026-01-01T00:0{i}:00Z") for i in range(5)]
    bad = [ran(f"bad-{i}", ended=f"2026-01-01T00:0{i}:00Z", how="Failed") for i in range(3)]
    plan = cronjob.reconcile(cron(), [*good, *bad], DUE - 3599)
    assert {j.metadata.name for j in plan.delete} == {"good-0", "good-1", "bad-0", "bad-1"}
    assert plan.status.last_successful_time == "2026-01-01T00:04:00Z"
    assert plan.status.active == []

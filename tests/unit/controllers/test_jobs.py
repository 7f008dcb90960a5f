"""Jobs: whole runs in any order of what can happen, crashes between two writes included; and single rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api import codec
from carob.api.types import batch_v1
from carob.controllers import job_failures, job_indexes
from carob.controllers.job import FINALIZER, condition, is_finished, is_tracked, reconcile
from carob.controllers.views import PodView
from tests.unit.controllers.workload_objects import NOW, job, pod


class Run:
    """A Job and its Pods; the truth about which Pods ended how is kept beside what the status says."""

    def __init__(self, **spec: Any) -> None:
        self.job = job(spec=spec)
        self.pods: list[PodView] = []
        self.now = NOW
        self.started: list[int | None] = []
        self.succeeded: list[PodView] = []
        self.failed: list[PodView] = []

    def sync(self, crash_after: int = 9) -> None:
        """The controller looks once; it may die after deleting (1), creating (2), telling (3), half of untracking (4)."""
        self.now += 1000
        plan = reconcile(self.job, self.pods, self.now)
        for doomed in plan.delete:
            doomed.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
        if crash_after <= 1:
            return
        for new in plan.create:
            annotations = {} if new.index is None else {job_indexes.INDEX: str(new.index)}
            if new.index is not None:
                annotations[job_indexes.FAILURES] = str(new.failures)
            made = pod(phase="Pending", metadata={"annotations": annotations, "finalizers": [FINALIZER]})
            self.pods.append(made)
            self.started.append(new.index)
        if crash_after <= 2:
            return
        self.job = msgspec.structs.replace(self.job, status=plan.status)
        if crash_after <= 3:
            return
        for i, done in enumerate(plan.untrack):
            if crash_after <= 4 and i % 2:
                continue
            done.metadata.finalizers = ()

    def end(self, which: int, phase: str) -> None:
        """A Pod's containers end."""
        running = [p for p in self.pods if not p.has_ended]
        if not running:
            return
        ended = running[which % len(running)]
        if ended.is_ending:
            phase = "Failed"
        ended.status.phase = phase
        (self.succeeded if phase == "Succeeded" else self.failed).append(ended)

    def collect(self) -> None:
        """What is to go and is held by nobody is gone."""
        self.pods = [p for p in self.pods if not (p.is_ending and p.has_ended and not is_tracked(p))]

    def finish(self, phase: str = "Succeeded") -> None:
        for _ in range(200):
            self.sync()
            if is_finished(self.job):
                self.sync()
                return
            self.end(0, phase)
            self.collect()
        raise AssertionError("it does not end")


happenings = st.lists(
    st.tuples(st.sampled_from(["sync", "crash", "good", "bad", "collect"]), st.integers(0, 9)), max_size=80
)


def happen(run: Run, what: str, which: int) -> None:
    if what == "sync":
        run.sync()
    elif what == "crash":
        run.sync(crash_after=which % 4 + 1)
    elif what == "collect":
        run.collect()
    else:
        run.end(which, "Succeeded" if what == "good" else "Failed")


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.sampled_from(["Failed", "TerminatingOrFailed"]), happenings)
def test_each_pod_counts_once(
    completions: int, parallelism: int, replacement: str, order: list[tuple[str, int]]
) -> None:
    run = Run(completions=completions, parallelism=parallelism, backoffLimit=1000, podReplacementPolicy=replacement)
    for what, which in order:
        happen(run, what, which)
        status = run.job.status
        uncounted = status.uncounted_terminated_pods or batch_v1.UncountedTerminatedPods()
        assert status.succeeded + len(uncounted.succeeded) <= len(run.succeeded)
        active = [p for p in run.pods if p.is_active]
        assert len(active) <= parallelism
    run.finish()
    status = run.job.status
    assert condition(status, "Complete")
    assert status.succeeded == len(run.succeeded) >= completions
    assert status.failed == len(run.failed)
    assert not any(is_tracked(p) for p in run.pods)
    assert (status.active, status.ready, status.terminating) == (0, 0, 0)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), happenings)
def test_each_index_succeeds_once(completions: int, parallelism: int, order: list[tuple[str, int]]) -> None:
    run = Run(completions=completions, parallelism=parallelism, backoffLimit=1000, completionMode="Indexed")
    for what, which in order:
        happen(run, what, which)
        active = [job_indexes.index_of(p) for p in run.pods if p.is_active]
        assert len(active) == len(set(active))
    run.finish()
    assert run.job.status.succeeded == completions
    assert job_indexes.parse(run.job.status.completed_indexes, completions) == set(range(completions))
    assert sorted(job_indexes.index_of(p) or 0 for p in run.succeeded) == list(range(completions))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), happenings)
def test_a_hopeless_job_tries_as_often_as_it_may(limit: int, order: list[tuple[str, int]]) -> None:
    run = Run(completions=1, parallelism=1, backoffLimit=limit)
    for what, which in order:
        happen(run, what.replace("good", "bad"), which)
    run.finish("Failed")
    assert run.job.status.failed == limit + 1 == len(run.started)
    target = condition(run.job.status, "Failed")
    assert target is not None
    assert target.reason == "BackoffLimitExceeded"


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2), happenings)
def test_each_index_is_tried_as_often_as_it_may(completions: int, limit: int, order: list[tuple[str, int]]) -> None:
    run = Run(
        completions=completions,
        parallelism=2,
        backoffLimit=2**31 - 1,
        completionMode="Indexed",
        backoffLimitPerIndex=limit,
    )
    for what, which in order:
        happen(run, what.replace("good", "bad").replace("collect", "sync"), which)
    run.finish("Failed")
    assert job_indexes.parse(run.job.status.failed_indexes, completions) == set(range(completions))
    assert all(run.started.count(i) == limit + 1 for i in range(completions))


@given(st.sets(st.integers(0, 60)))
def test_indexes_are_spelled_and_read(numbers: set[int]) -> None:
    assert job_indexes.parse(job_indexes.spell(numbers), 61) == numbers


@pytest.mark.parametrize(("numbers", "text"), [((), ""), ((1,), "1"), ((1, 2), "1,2"), ((1, 3, 4, 5, 7), "1,3-5,7")])
def test_indexes_are_spelled_as_upstream_does(numbers: tuple[int, ...], text: str) -> None:
    assert job_indexes.spell(numbers) == text


def _failed(code: int, container: str = "main", **more: Any) -> PodView:
    state = {"terminated": {"exitCode": code, "finishedAt": "2023-11-14T22:13:20Z"}}
    status = {"containerStatuses": [{"name": container, "state": state}]} | more
    return pod("one", phase="Failed", status=status)


@pytest.mark.parametrize(
    ("rule", "failed", "action"),
    [
        ({"onExitCodes": {"operator": "In", "values": [3]}}, _failed(3), "FailJob"),
        ({"onExitCodes": {"operator": "In", "values": [3]}}, _failed(4), "Count"),
        ({"onExitCodes": {"operator": "NotIn", "values": [3]}}, _failed(4), "FailJob"),
        ({"onExitCodes": {"operator": "In", "values": [3], "containerName": "other"}}, _failed(3), "Count"),
        (
            {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            _failed(137, conditions=[{"type": "DisruptionTarget", "status": "True"}]),
            "FailJob",
        ),
        ({"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}, _failed(137), "Count"),
    ],
)
def test_a_failure_policy(rule: dict[str, Any], failed: PodView, action: str) -> None:
    policy = codec.from_tree(batch_v1.PodFailurePolicy, {"rules": [{"action": "FailJob"} | rule]})
    assert job_failures.judge(policy, failed).action == action


def test_ignored_failures_do_not_count() -> None:
    rules = [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]
    run = Run(completions=1, parallelism=1, backoffLimit=0, podFailurePolicy={"rules": rules})
    run.sync()
    run.end(0, "Failed")
    run.pods[0].status.container_statuses = _failed(1).status.container_statuses
    run.sync()
    assert run.job.status.failed == 0
    run.finish()
    assert condition(run.job.status, "Complete")


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (1, 10), (2, 20), (6, 320), (7, 600), (99, 600)])
def test_waits_double(failures: int, seconds: float) -> None:
    assert job_failures.delay_after(failures) == seconds


def test_restarts_in_place_count_against_the_limit() -> None:
    counted = {"containerStatuses": [{"name": "main", "restartCount": 2}]}
    running = pod(status=counted, spec={"restartPolicy": "OnFailure"}, metadata={"finalizers": [FINALIZER]})
    assert not condition(reconcile(job(spec={"backoffLimit": 3}), [running], NOW).status, "FailureTarget")
    assert condition(reconcile(job(spec={"backoffLimit": 2}), [running], NOW).status, "FailureTarget")

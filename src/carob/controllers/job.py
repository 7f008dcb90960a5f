"""Jobs: Pods that run to completion, each counted exactly once.

A Pod that ended is first named in `uncountedTerminatedPods`, then loses its finalizer, then is counted and unnamed: at
every moment the status and the Pods together say how many there were.
Source: kube-controller-manager `job/job_controller.go`.
Differs: the failure count of an index is read from its Pods that still exist; upstream holds finalizers back for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from carob.api.types import batch_v1
from carob.base.clock import parse_rfc3339, rfc3339
from carob.controllers import job_failures as failures
from carob.controllers import job_indexes as indexes
from carob.controllers.ranking import doomed_first
from carob.controllers.slow_start import MAX_BURST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.controllers.views import PodView
    from carob.controllers.workload_views import JobView

FINALIZER = "batch.kubernetes.io/job-tracking"
COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
FAILURE_TARGET, SUCCESS_MET = "FailureTarget", "SuccessCriteriaMet"
MAX_UNCOUNTED = 500


class NewPod(Struct, frozen=True):
    """A Pod to make; `index` None for a Job without indexes."""

    index: int | None = None
    failures: int = 0


class Plan(Struct):
    """What is to be done: in this order, and `untrack` only when `status` is written."""

    status: batch_v1.JobStatus
    delete: list[PodView] = field(default_factory=list)
    create: list[NewPod] = field(default_factory=list)
    untrack: list[PodView] = field(default_factory=list)
    """Pods whose finalizer goes."""
    events: list[tuple[str, str, str]] = field(default_factory=list)
    recheck_seconds: float | None = None

    def recheck(self, seconds: float) -> None:
        """Look again by then."""
        self.recheck_seconds = seconds if self.recheck_seconds is None else min(self.recheck_seconds, seconds)


def condition(status: batch_v1.JobStatus, kind: str) -> batch_v1.JobCondition | None:
    """The condition of a type that is True."""
    return next((c for c in status.conditions if c.type == kind and c.status == "True"), None)


def is_finished(job: JobView) -> bool:
    """Whether it is Complete or Failed."""
    return condition(job.status, COMPLETE) is not None or condition(job.status, FAILED) is not None


def is_tracked(pod: PodView) -> bool:
    """Whether it still waits to be counted."""
    return FINALIZER in pod.metadata.finalizers


def reconcile(job: JobView, pods: Sequence[PodView], now: float) -> Plan:
    """The next step. Shape: `pods` are those that it controls, as they are after all that was written."""
    if is_finished(job) or job.is_ending:
        return Plan(job.status, untrack=[pod for pod in pods if is_tracked(pod)])
    return _Sync(job, pods, now).plan()


class _Sync:
    """One look at one Job: what the Pods say, then what follows."""

    def __init__(self, job: JobView, pods: Sequence[PodView], now: float) -> None:
        self.job, self.spec, self.now = job, job.spec, now
        self.pods = pods
        self.indexed = job.spec.completion_mode == "Indexed"
        self.completions = job.spec.completions
        self.only_failed = job.spec.pod_replacement_policy == "Failed"
        self.active = [pod for pod in pods if pod.is_active]
        self.ending = [pod for pod in pods if pod.metadata.deletion_timestamp is not None and not pod.has_ended]
        self.status = msgspec.structs.replace(job.status, conditions=list(job.status.conditions))
        self._plan = Plan(self.status)
        self._count()

    def plan(self) -> Plan:
        if self.status.start_time is None and not self.spec.suspend:
            self.status.start_time = rfc3339(self.now)
        self._finish_or_go_on()
        self.status.active = len(self.active)
        self.status.ready = sum(pod.is_ready for pod in self.active)
        self.status.terminating = len(self.ending)
        return self._plan

    # counting

    def _has_failed(self, pod: PodView) -> bool:
        if pod.status.phase == "Failed":
            return True
        ending = pod.metadata.deletion_timestamp is not None
        return ending and pod.status.phase != "Succeeded" and not self.only_failed

    def _count(self) -> None:
        uncounted = self.status.uncounted_terminated_pods or batch_v1.UncountedTerminatedPods()
        tracked = {pod.metadata.uid for pod in self.pods if is_tracked(pod)}
        succeeded_waiting = [uid for uid in uncounted.succeeded if uid in tracked]
        failed_waiting = [uid for uid in uncounted.failed if uid in tracked]
        self.status.succeeded += len(uncounted.succeeded) - len(succeeded_waiting)
        self.status.failed += len(uncounted.failed) - len(failed_waiting)
        known = {*succeeded_waiting, *failed_waiting}
        self.done: set[int] = set()
        self.judgements: dict[str, failures.Judgement] = {}
        if self.indexed:
            assert self.completions is not None
            self.done = indexes.parse(self.status.completed_indexes, self.completions)
        room = MAX_UNCOUNTED
        for pod in self.pods:
            if not is_tracked(pod) or room <= 0:
                continue
            uid = pod.metadata.uid
            if uid in known:
                self._plan.untrack.append(pod)
            elif pod.status.phase == "Succeeded":
                self._succeeded(pod, succeeded_waiting)
            elif self._has_failed(pod):
                judgement = self.judgements[uid] = failures.judge(self.spec.pod_failure_policy, pod)
                if judgement.action != failures.IGNORE:
                    failed_waiting.append(uid)
                self._plan.untrack.append(pod)
            else:
                continue
            room -= 1
        self.succeeded = self.status.succeeded + len(succeeded_waiting)
        self.failed = self.status.failed + len(failed_waiting)
        if self.indexed:
            self.status.completed_indexes = indexes.spell(self.done)
            self.status.succeeded = self.succeeded = len(self.done)
            self._count_failed_indexes()
        else:
            self.lost: set[int] = set()
        self.status.uncounted_terminated_pods = batch_v1.UncountedTerminatedPods(
            succeeded=succeeded_waiting, failed=failed_waiting
        )

    def _succeeded(self, pod: PodView, waiting: list[str]) -> None:
        self._plan.untrack.append(pod)
        if not self.indexed:
            waiting.append(pod.metadata.uid)
            return
        index = indexes.index_of(pod)
        assert self.completions is not None
        if index is not None and index < self.completions:
            self.done.add(index)

    def _count_failed_indexes(self) -> None:
        """Which indexes are given up, with a limit for each; `tries` says how often each had failed."""
        limit = self.spec.backoff_limit_per_index
        assert self.completions is not None
        self.lost = indexes.parse(self.status.failed_indexes, self.completions) if limit is not None else set()
        self.tries: dict[int, int] = {}
        self.last_failed: dict[int, float] = {}
        if limit is None:
            return
        for pod in self.pods:
            index = indexes.index_of(pod)
            if index is None or index >= self.completions or not self._has_failed(pod):
                continue
            judgement = failures.judge(self.spec.pod_failure_policy, pod)
            count = indexes.failures_of(pod) + (judgement.action != failures.IGNORE)
            self.tries[index] = max(self.tries.get(index, 0), count)
            ended = failures.finished_at(pod)
            self.last_failed[index] = max(self.last_failed.get(index, 0.0), ended)
            if index not in self.done and (count > limit or judgement.action == failures.FAIL_INDEX):
                self.lost.add(index)
        self.status.failed_indexes = indexes.spell(self.lost)

    # deciding

    def _finish_or_go_on(self) -> None:
        failure = self._failure()
        if failure is not None:
            self._put(FAILURE_TARGET, *failure)
        elif condition(self.status, SUCCESS_MET) is None and not self._meets_success_policy():
            self._go_on()
        if condition(self.status, FAILURE_TARGET) or condition(self.status, SUCCESS_MET):
            self._wind_up()

    def _failure(self) -> tuple[str, str] | None:
        """Why the Job has failed; None if it has not."""
        if condition(self.status, SUCCESS_MET) is not None:
            return None
        target = condition(self.status, FAILURE_TARGET)
        if target is not None:
            return target.reason, target.message
        fatal = next((j for j in self.judgements.values() if j.action == failures.FAIL_JOB), None)
        if fatal is not None:
            return "PodFailurePolicy", fatal.message
        if self.failed > self.spec.backoff_limit or self._restarted_too_often():
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if self._is_past_deadline():
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        return self._failed_by_indexes()

    def _failed_by_indexes(self) -> tuple[str, str] | None:
        if not self.indexed or not self.lost:
            return None
        most = self.spec.max_failed_indexes
        if most is not None and len(self.lost) > most:
            return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
        assert self.completions is not None
        if len(self.done) + len(self.lost) >= self.completions and not self.active:
            return "FailedIndexes", "Job has failed indexes"
        return None

    def _restarted_too_often(self) -> bool:
        restarting = [p for p in self.active if p.spec.restart_policy == "OnFailure"]
        count = sum(
            s.restart_count
            for p in restarting
            for s in (*p.status.container_statuses, *p.status.init_container_statuses)
        )
        return count > 0 and count >= self.spec.backoff_limit

    def _is_past_deadline(self) -> bool:
        seconds, start = self.spec.active_deadline_seconds, self.status.start_time
        if seconds is None or start is None or self.spec.suspend:
            return False
        left = parse_rfc3339(start) + seconds - self.now
        if left > 0:
            self._plan.recheck(left)
        return left <= 0

    def _meets_success_policy(self) -> bool:
        policy = self.spec.success_policy
        if policy is None or not self.indexed:
            return False
        assert self.completions is not None
        for number, rule in enumerate(policy.rules):
            named = rule.succeeded_indexes
            among = self.done if named is None else self.done & indexes.parse(named, self.completions)
            wanted = rule.succeeded_count
            if wanted is None:
                wanted = len(indexes.parse(named, self.completions))
            if len(among) >= wanted:
                self._put(SUCCESS_MET, "SuccessPolicy", f"Matched rules at index {number}")
                return True
        return False

    def _is_complete(self) -> bool:
        if self.completions is None:
            return self.succeeded > 0 and not self.active
        return self.succeeded >= self.completions

    def _go_on(self) -> None:
        if self._is_complete():
            self._put(SUCCESS_MET, "CompletionsReached", "Reached expected number of succeeded pods")
            return
        if self.spec.suspend:
            self._delete(self.active)
            if self._put_suspended("True", "JobSuspended", "Job suspended"):
                self.status.start_time = None
                self._plan.events.append(("Normal", "Suspended", "Job suspended"))
            return
        if any(c.type == SUSPENDED and c.status == "True" for c in self.status.conditions):
            self._put_suspended("False", "JobResumed", "Job resumed")
            self.status.start_time = rfc3339(self.now)
            self._plan.events.append(("Normal", "Resumed", "Job resumed"))
        self._fill()

    def _wanted(self) -> int:
        """How many Pods should be active."""
        if self.completions is None:
            return len(self.active) if self.succeeded else self.spec.parallelism
        return max(min(self.completions - self.succeeded - len(self.lost), self.spec.parallelism), 0)

    def _fill(self) -> None:
        wanted = self._wanted()
        surplus = self._surplus(wanted)
        if surplus:
            self._delete(surplus[:MAX_BURST])
            return
        occupied = len(self.active) + (len(self.ending) if self.only_failed else 0)
        missing = min(wanted - occupied, MAX_BURST)
        if missing <= 0:
            return
        if self.spec.backoff_limit_per_index is None and not self._may_try():
            return
        if not self.indexed:
            self._plan.create = [NewPod()] * missing
            return
        self._plan.create = self._pending(missing)

    def _surplus(self, wanted: int) -> list[PodView]:
        doomed: list[PodView] = []
        kept = self.active
        if self.indexed:
            seen: set[int] = set()
            kept = []
            assert self.completions is not None
            # of two Pods of one index the better one stays
            for pod in reversed(doomed_first(self.active, {}, self.now)):
                index = indexes.index_of(pod)
                if index is None or index >= self.completions or index in seen or index in self.done | self.lost:
                    doomed.append(pod)
                else:
                    seen.add(index)
                    kept.append(pod)
        extra = len(kept) - wanted
        return [*doomed, *(doomed_first(kept, {}, self.now)[:extra] if extra > 0 else [])]

    def _may_try(self) -> bool:
        failed = [pod for pod in self.pods if self._has_failed(pod)]
        counted = [pod for pod in failed if failures.judge(self.spec.pod_failure_policy, pod).action != failures.IGNORE]
        succeeded = [pod for pod in self.pods if pod.status.phase == "Succeeded"]
        left = failures.waits_until(counted, succeeded) - self.now
        if left > 0:
            self._plan.recheck(left)
        return left <= 0

    def _pending(self, count: int) -> list[NewPod]:
        assert self.completions is not None
        busy = {indexes.index_of(p) for p in self.active}
        if self.only_failed:
            busy |= {indexes.index_of(p) for p in self.ending}
        found: list[NewPod] = []
        for index in range(self.completions):
            if len(found) >= count:
                break
            if index in busy or index in self.done or index in self.lost:
                continue
            tries = self.tries.get(index, 0)
            left = self.last_failed.get(index, 0.0) + failures.delay_after(tries) - self.now
            if tries and left > 0:
                self._plan.recheck(left)
                continue
            found.append(NewPod(index, tries))
        return found

    def _wind_up(self) -> None:
        """No more Pods; when the last has ended and is counted, the Job is over."""
        self._plan.create = []
        self._delete(self.active)
        uncounted = self.status.uncounted_terminated_pods
        assert uncounted is not None
        if self.active or self.ending or uncounted.failed or uncounted.succeeded:
            return
        target = condition(self.status, FAILURE_TARGET)
        self._plan.recheck_seconds = None
        if target is not None:
            self._put(FAILED, target.reason, target.message)
            self._plan.events.append(("Warning", target.reason, target.message))
            return
        met = condition(self.status, SUCCESS_MET)
        assert met is not None
        self._put(COMPLETE, met.reason, met.message)
        self.status.completion_time = rfc3339(self.now)
        self._plan.events.append(("Normal", "Completed", "Job completed"))

    # writing

    def _delete(self, pods: Iterable[PodView]) -> None:
        """They count as ending from now on."""
        doomed = list(pods)
        gone = {pod.metadata.uid for pod in doomed}
        self._plan.delete.extend(doomed)
        self.active = [pod for pod in self.active if pod.metadata.uid not in gone]
        self.ending = [*self.ending, *doomed]

    def _put(self, kind: str, reason: str, message: str, status: str = "True") -> None:
        if any(c.type == kind and c.status == status for c in self.status.conditions):
            return
        stamp = rfc3339(self.now)
        made = batch_v1.JobCondition(
            type=kind, status=status, reason=reason, message=message, last_probe_time=stamp, last_transition_time=stamp
        )
        self.status.conditions = [*(c for c in self.status.conditions if c.type != kind), made]

    def _put_suspended(self, status: str, reason: str, message: str) -> bool:
        if any(c.type == SUSPENDED and c.status == status for c in self.status.conditions):
            return False
        self._put(SUSPENDED, reason, message, status)
        return True

"""Runs CronJobs: does what `cronjob.reconcile` plans, at the times that it names.

Source: kube-controller-manager `cronjob/cronjob_controllerv2.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.resources import resource_of
from carob.api.status import ApiError
from carob.base.clock import rfc3339
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.cronjob import SCHEDULED_AT, Plan, job_name, named_zone, reconcile, reference
from carob.controllers.objects import Dependents, reference_to, status_patch
from carob.controllers.ownership import BY_OWNER
from carob.controllers.references import controller_of, reference_tree
from carob.controllers.slow_start import at_once
from carob.controllers.templates import tree_of
from carob.controllers.workload_views import CronJobView, JobView
from carob.controllers.written import Written

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

WORKERS = 4
UNSETTLED_SECONDS = 1.0
# Sleeping clocks drift; a long wait is looked at again
LONGEST_WAIT_SECONDS = 3600.0
_ROW = resource_of(CronJobView)


class CronJobController:
    """Keys are keys of CronJobs."""

    def __init__(
        self,
        client: Client,
        crons: Informer[CronJobView],
        jobs: Informer[JobView],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._crons = crons
        self._jobs = jobs
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._dependents = Dependents(client, JobView, jobs)
        self._written = Written(crons)

    async def run(self) -> None:
        """Until cancelled."""
        await self._crons.wait_synced()
        await self._jobs.wait_synced()
        self._crons.subscribe(self._cron_changed)
        self._jobs.subscribe(self._job_changed)
        await self._queue.work(self._sync, WORKERS, "cron jobs")

    def _cron_changed(self, key: str, old: CronJobView | None, new: CronJobView | None) -> None:
        if new is None:
            self._dependents.written.forget(key)
            self._written.forget(key)
        self._queue.add(key)

    def _job_changed(self, key: str, old: JobView | None, new: JobView | None) -> None:
        for job in (old, new):
            above = controller_of(job) if job is not None else None
            if job is not None and above is not None and above.kind == "CronJob":
                self._queue.add(f"{job.metadata.namespace}/{above.name}")

    async def _sync(self, key: str) -> None:
        cron = self._crons.get(key)
        if cron is None:
            return
        if not self._dependents.written.settled(key) or not self._written.settled(key):
            self._queue.add_after(key, UNSETTLED_SECONDS)
            return
        uid = cron.metadata.uid
        jobs = [
            job
            for job in self._jobs.by_index(BY_OWNER, uid)
            if (above := controller_of(job)) is not None and above.uid == uid
        ]
        plan = reconcile(cron, jobs, self._clock.now())
        for event_type, reason, message in plan.events:
            self._recorder.event(reference_to(cron), event_type, reason, message)
        failure = await at_once(plan.delete, lambda job: self._delete(cron, job))
        if failure is None and plan.start is not None:
            failure = await self._start(cron, plan, plan.start)
        await self._tell(cron, plan)
        if plan.recheck_seconds is not None:
            self._queue.add_after(key, min(plan.recheck_seconds, LONGEST_WAIT_SECONDS))
        if failure is not None:
            raise failure

    async def _delete(self, cron: CronJobView, job: JobView) -> None:
        name = job.metadata.name
        try:
            if await self._dependents.delete(cron, job, propagation_policy="Background"):
                self._recorder.event(reference_to(cron), "Normal", "SuccessfulDelete", f"Deleted job {name}")
        except ApiError as error:
            why = f"Deleted job: {error.message}"
            self._recorder.event(reference_to(cron), "Warning", "FailedDelete", why)
            raise

    async def _start(self, cron: CronJobView, plan: Plan, at: float) -> Exception | None:
        name = job_name(cron, at)
        try:
            job = await self._dependents.create(cron, new_job(cron, at))
        except ApiError as error:
            if error.reason == "Forbidden" and "being terminated" in error.message:
                return None
            if error.reason != "AlreadyExists":
                why = f"Error creating job: {error.message}"
                self._recorder.event(reference_to(cron), "Warning", "FailedCreate", why)
                return error
            job = await self._client.get(JobView, name, cron.metadata.namespace)
            above = controller_of(job)
            if above is None or above.uid != cron.metadata.uid:
                # somebody else's Job has the name: this time cannot be met
                return None
        else:
            self._recorder.event(reference_to(cron), "Normal", "SuccessfulCreate", f"Created job {name}")
        plan.status.active = [*plan.status.active, reference(job)]
        plan.status.last_schedule_time = rfc3339(at)
        return None

    async def _tell(self, cron: CronJobView, plan: Plan) -> None:
        metadata = cron.metadata
        patch = status_patch(cron.status, plan.status, metadata.resource_version)
        if patch is None:
            return
        try:
            written = await self._client.patch(
                CronJobView, metadata.name, metadata.namespace, patch=patch, subresource="status"
            )
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise
            return
        self._written.note(key_of(cron), written.metadata.resource_version)


def new_job(cron: CronJobView, at: float) -> dict[str, Any]:
    """The Job to create, as JSON."""
    from datetime import datetime

    template = tree_of(cron.spec.template)
    own = template.get("metadata") or {}
    zone = named_zone(cron.spec.time_zone or "")
    stamp = datetime.fromtimestamp(at, zone).isoformat().replace("+00:00", "Z")
    metadata: dict[str, Any] = {
        "name": job_name(cron, at),
        "namespace": cron.metadata.namespace,
        "annotations": {**(own.get("annotations") or {}), SCHEDULED_AT: stamp},
        "ownerReferences": [reference_tree(_ROW, cron)],
    }
    if own.get("labels"):
        metadata["labels"] = own["labels"]
    return {"kind": "Job", "apiVersion": "batch/v1", "metadata": metadata, "spec": template.get("spec") or {}}

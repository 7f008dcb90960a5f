"""Runs Jobs: does what `job.reconcile` plans; deletes Jobs whose time after the end is over; frees Pods without a Job.

Source: kube-controller-manager `job/job_controller.go`, `ttlafterfinished/ttlafterfinished_controller.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.resources import resource_of
from carob.api.selectors import NOTHING, LabelSelector, SelectorError, from_struct
from carob.api.status import ApiError
from carob.base.clock import parse_rfc3339
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers import job_indexes as indexes
from carob.controllers.job import (
    COMPLETE,
    FAILED,
    FINALIZER,
    NewPod,
    Plan,
    condition,
    is_finished,
    is_tracked,
    reconcile,
)
from carob.controllers.objects import Dependents, reference_to, status_patch
from carob.controllers.references import controller_of, reference_tree
from carob.controllers.slow_start import at_once, in_batches
from carob.controllers.templates import pod_of, tree_of
from carob.controllers.views import PodView
from carob.controllers.workload_views import BY_NAMESPACE, JobView
from carob.controllers.written import Written

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

WORKERS = 8
UNSETTLED_SECONDS = 1.0
OURS = "kubernetes.io/job-controller"
_ROW = resource_of(JobView)
_POD = "pod "


class JobController:
    """Keys are keys of Jobs, and `pod <key>` for Pods that have lost theirs."""

    def __init__(
        self,
        client: Client,
        jobs: Informer[JobView],
        pods: Informer[PodView],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._pods = pods
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._dependents = Dependents(client, PodView, pods, finalizer=FINALIZER)
        self._written = Written(jobs)

    async def run(self) -> None:
        """Until cancelled."""
        await self._jobs.wait_synced()
        await self._pods.wait_synced()
        self._jobs.subscribe(self._job_changed)
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, WORKERS, "jobs")

    def _job_changed(self, key: str, old: JobView | None, new: JobView | None) -> None:
        if new is None:
            self._dependents.written.forget(key)
            self._written.forget(key)
            for pod in self._pods_left_by(old):
                self._queue.add(_POD + key_of(pod))
            return
        self._queue.add(key)

    def _pods_left_by(self, job: JobView | None) -> list[PodView]:
        from carob.controllers.ownership import BY_OWNER

        return [] if job is None else [p for p in self._pods.by_index(BY_OWNER, job.metadata.uid) if is_tracked(p)]

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        for pod in (old, new):
            job = self._job_of(pod)
            if job is not None:
                self._queue.add(job)
        if new is None:
            return
        reference = controller_of(new)
        if is_tracked(new) and (reference is None or self._job_of(new) is None or self._is_gone(new)):
            self._queue.add(_POD + key)
        if reference is None:
            for one in self._jobs.by_index(BY_NAMESPACE, new.metadata.namespace):
                if not is_finished(one) and _selector_of(one).matches(new.metadata.labels):
                    self._queue.add(key_of(one))

    def _job_of(self, pod: PodView | None) -> str | None:
        reference = controller_of(pod) if pod is not None else None
        if pod is None or reference is None or reference.kind != "Job":
            return None
        return f"{pod.metadata.namespace}/{reference.name}"

    def _is_gone(self, pod: PodView) -> bool:
        reference = controller_of(pod)
        job = self._jobs.get(self._job_of(pod) or "")
        return reference is None or job is None or job.metadata.uid != reference.uid

    async def _sync(self, key: str) -> None:
        if key.startswith(_POD):
            await self._free(key.removeprefix(_POD))
            return
        job = self._jobs.get(key)
        if job is None or (job.spec.managed_by and job.spec.managed_by != OURS):
            return
        if not self._dependents.written.settled(key) or not self._written.settled(key):
            self._queue.add_after(key, UNSETTLED_SECONDS)
            return
        if is_finished(job) and await self._outlived(key, job):
            return
        pods = await self._dependents.claim(job, _selector_of(job))
        plan = reconcile(job, pods, self._clock.now())
        failure = await self._act(job, plan)
        if await self._tell(job, plan):
            untracked = await at_once(plan.untrack, lambda pod: self._untrack(job, pod))
            failure = failure or untracked
        if plan.recheck_seconds is not None:
            self._queue.add_after(key, plan.recheck_seconds)
        if failure is not None:
            raise failure

    async def _free(self, key: str) -> None:
        """Take the finalizer from a Pod that no Job counts; the server is asked, not our copy."""
        pod = self._pods.get(key)
        if pod is None or not is_tracked(pod):
            return
        reference = controller_of(pod)
        if reference is not None and reference.kind == "Job":
            try:
                job = await self._client.get(JobView, reference.name, pod.metadata.namespace)
                if job.metadata.uid == reference.uid:
                    return
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
        # a Job may be adopting it at this moment: then it is another version, which is looked at anew
        patch = _untracking(pod)
        patch["metadata"]["resourceVersion"] = pod.metadata.resource_version
        await self._dependents.patch(pod, pod, patch, "strategic")
        self._dependents.written.forget(key)

    async def _untrack(self, job: JobView, pod: PodView) -> None:
        await self._dependents.patch(job, pod, _untracking(pod), "strategic")

    async def _act(self, job: JobView, plan: Plan) -> Exception | None:
        failure = await at_once(plan.delete, lambda pod: self._delete(job, pod))
        if failure is not None or not plan.create:
            return failure
        template = tree_of(job.spec.template)
        return await in_batches(plan.create, lambda new: self._create(job, template, new))

    async def _delete(self, job: JobView, pod: PodView) -> None:
        regarding, name = reference_to(job), pod.metadata.name
        try:
            if await self._dependents.delete(job, pod):
                self._recorder.event(regarding, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        except ApiError as error:
            self._recorder.event(regarding, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise

    async def _create(self, job: JobView, template: dict[str, Any], new: NewPod) -> None:
        regarding = reference_to(job)
        try:
            made = await self._dependents.create(job, new_pod(job, template, new))
        except ApiError as error:
            if error.reason == "Forbidden" and "being terminated" in error.message:
                return
            self._recorder.event(regarding, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._recorder.event(regarding, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")

    async def _tell(self, job: JobView, plan: Plan) -> bool:
        """Write the status; False if the Job has changed meanwhile, so that nothing may be built on it."""
        # Pods made just now are counted at the next look, when the informer shows them
        metadata = job.metadata
        if plan.create:
            plan.status.active += len(plan.create)
        patch = status_patch(job.status, plan.status, metadata.resource_version)
        if patch is not None:
            try:
                written = await self._client.patch(
                    JobView, metadata.name, metadata.namespace, patch=patch, subresource="status"
                )
            except ApiError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
                return False
            self._written.note(key_of(job), written.metadata.resource_version)
        for event_type, reason, message in plan.events:
            self._recorder.event(reference_to(job), event_type, reason, message)
        return True

    async def _outlived(self, key: str, job: JobView) -> bool:
        """Delete a finished Job when its time is over; True if that was done."""
        seconds = job.spec.ttl_seconds_after_finished
        ended = condition(job.status, COMPLETE) or condition(job.status, FAILED)
        if seconds is None or ended is None or not ended.last_transition_time or job.is_ending:
            return False
        left = parse_rfc3339(ended.last_transition_time) + seconds - self._clock.now()
        if left > 0:
            self._queue.add_after(key, left)
            return False
        metadata = job.metadata
        try:
            await self._client.delete(
                JobView,
                metadata.name,
                metadata.namespace,
                uid=metadata.uid,
                resource_version=metadata.resource_version,
                propagation_policy="Foreground",
            )
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
        return True


def _untracking(pod: PodView) -> dict[str, Any]:
    return {"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}


def new_pod(job: JobView, template: dict[str, Any], new: NewPod) -> dict[str, Any]:
    """The Pod to create, as JSON. An indexed one knows its index by annotation, label, hostname and environment."""
    name = job.metadata.name
    reference = reference_tree(_ROW, job)
    if new.index is None:
        return pod_of(template, reference, job.metadata.namespace, generateName=name + "-", finalizers=[FINALIZER])
    annotations = {indexes.INDEX: str(new.index)}
    if job.spec.backoff_limit_per_index is not None:
        annotations[indexes.FAILURES] = str(new.failures)
    made = pod_of(
        template,
        reference,
        job.metadata.namespace,
        generateName=f"{name}-{new.index}-"[:-1][:56] + "-",
        finalizers=[FINALIZER],
        labels={indexes.INDEX: str(new.index)},
        annotations=annotations,
    )
    spec = made["spec"] = dict(made["spec"])
    spec["hostname"] = f"{name}-{new.index}"[:63]
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{indexes.INDEX}']"}}
    for part in ("containers", "initContainers"):
        if spec.get(part):
            spec[part] = [_with_index(container, source) for container in spec[part]]
    return made


def _with_index(container: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    environment = container.get("env") or []
    if any(one.get("name") == "JOB_COMPLETION_INDEX" for one in environment):
        return container
    return {**container, "env": [*environment, {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]}


def _selector_of(job: JobView) -> LabelSelector:
    try:
        return from_struct(job.spec.selector)
    except SelectorError:
        return NOTHING

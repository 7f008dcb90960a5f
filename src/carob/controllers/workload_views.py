"""The parts of workloads that their controllers look at. Templates stay bytes until somebody needs them.

A Deployment keeps ten ReplicaSets of the past, each with a template: as Structs they would cost more memory than the
Pods. `template` is the JSON as the server wrote it, in a buffer of its own (`keep_small`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct, field

from carob.api.resources import add_view
from carob.api.types import apps_v1, batch_v1, core_v1, meta_v1
from carob.controllers.ownership import BY_OWNER, Owned, owners_of
from carob.controllers.views import BY_ORPHANAGE, WorkloadMeta, orphanage_of

if TYPE_CHECKING:
    from carob.client.informer import Informer

EMPTY = Raw(b"{}")

BY_NAMESPACE = "namespace"
"""The index of workloads by their namespace, for Pods that wait for somebody to adopt them."""


def namespace_of(obj: Any) -> tuple[str]:
    """The value of the index `BY_NAMESPACE`."""
    return (obj.metadata.namespace,)


class ReplicaSetSpecView(Struct, kw_only=True, gc=False):
    replicas: int = 1
    min_ready_seconds: int = field(default=0, name="minReadySeconds")
    selector: meta_v1.LabelSelector | None = None
    template: Raw = EMPTY


class ReplicaSetView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: ReplicaSetSpecView = field(default_factory=ReplicaSetSpecView)
    status: apps_v1.ReplicaSetStatus = field(default_factory=apps_v1.ReplicaSetStatus)


class ControllerSpecView(Struct, kw_only=True, gc=False):
    replicas: int = 1
    min_ready_seconds: int = field(default=0, name="minReadySeconds")
    selector: dict[str, str] = field(default_factory=dict)
    template: Raw = EMPTY


class ReplicationControllerView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: ControllerSpecView = field(default_factory=ControllerSpecView)
    status: core_v1.ReplicationControllerStatus = field(default_factory=core_v1.ReplicationControllerStatus)


class DeploymentSpecView(Struct, kw_only=True, gc=False):
    replicas: int = 1
    selector: meta_v1.LabelSelector | None = None
    template: Raw = EMPTY
    strategy: apps_v1.DeploymentStrategy = field(default_factory=apps_v1.DeploymentStrategy)
    min_ready_seconds: int = field(default=0, name="minReadySeconds")
    revision_history_limit: int | None = field(default=None, name="revisionHistoryLimit")
    paused: bool = False
    progress_deadline_seconds: int | None = field(default=None, name="progressDeadlineSeconds")


class DeploymentView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: DeploymentSpecView = field(default_factory=DeploymentSpecView)
    status: apps_v1.DeploymentStatus = field(default_factory=apps_v1.DeploymentStatus)


class DaemonSetSpecView(Struct, kw_only=True, gc=False):
    selector: meta_v1.LabelSelector | None = None
    template: Raw = EMPTY
    update_strategy: apps_v1.DaemonSetUpdateStrategy = field(
        default_factory=apps_v1.DaemonSetUpdateStrategy, name="updateStrategy"
    )
    min_ready_seconds: int = field(default=0, name="minReadySeconds")
    revision_history_limit: int | None = field(default=None, name="revisionHistoryLimit")


class DaemonSetView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: DaemonSetSpecView = field(default_factory=DaemonSetSpecView)
    status: apps_v1.DaemonSetStatus = field(default_factory=apps_v1.DaemonSetStatus)


class StatefulSetSpecView(Struct, kw_only=True, gc=False):
    replicas: int = 1
    selector: meta_v1.LabelSelector | None = None
    template: Raw = EMPTY
    volume_claim_templates: tuple[Any, ...] = field(default=(), name="volumeClaimTemplates")
    service_name: str = field(default="", name="serviceName")
    pod_management_policy: str = field(default="", name="podManagementPolicy")
    update_strategy: apps_v1.StatefulSetUpdateStrategy = field(
        default_factory=apps_v1.StatefulSetUpdateStrategy, name="updateStrategy"
    )
    revision_history_limit: int | None = field(default=None, name="revisionHistoryLimit")
    min_ready_seconds: int = field(default=0, name="minReadySeconds")
    retention: apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy = field(
        default_factory=apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy,
        name="persistentVolumeClaimRetentionPolicy",
    )
    ordinals: apps_v1.StatefulSetOrdinals = field(default_factory=apps_v1.StatefulSetOrdinals)


class StatefulSetView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: StatefulSetSpecView = field(default_factory=StatefulSetSpecView)
    status: apps_v1.StatefulSetStatus = field(default_factory=apps_v1.StatefulSetStatus)


class JobSpecView(Struct, kw_only=True, gc=False):
    parallelism: int = 1
    completions: int | None = None
    active_deadline_seconds: int | None = field(default=None, name="activeDeadlineSeconds")
    pod_failure_policy: batch_v1.PodFailurePolicy | None = field(default=None, name="podFailurePolicy")
    success_policy: batch_v1.SuccessPolicy | None = field(default=None, name="successPolicy")
    backoff_limit: int = field(default=6, name="backoffLimit")
    backoff_limit_per_index: int | None = field(default=None, name="backoffLimitPerIndex")
    max_failed_indexes: int | None = field(default=None, name="maxFailedIndexes")
    selector: meta_v1.LabelSelector | None = None
    template: Raw = EMPTY
    ttl_seconds_after_finished: int | None = field(default=None, name="ttlSecondsAfterFinished")
    completion_mode: str = field(default="NonIndexed", name="completionMode")
    suspend: bool = False
    pod_replacement_policy: str = field(default="", name="podReplacementPolicy")
    managed_by: str = field(default="", name="managedBy")


class JobView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: JobSpecView = field(default_factory=JobSpecView)
    status: batch_v1.JobStatus = field(default_factory=batch_v1.JobStatus)


class CronJobSpecView(Struct, kw_only=True, gc=False):
    schedule: str = ""
    time_zone: str | None = field(default=None, name="timeZone")
    starting_deadline_seconds: int | None = field(default=None, name="startingDeadlineSeconds")
    concurrency_policy: str = field(default="Allow", name="concurrencyPolicy")
    suspend: bool = False
    template: Raw = field(default=EMPTY, name="jobTemplate")
    successful_jobs_history_limit: int | None = field(default=3, name="successfulJobsHistoryLimit")
    failed_jobs_history_limit: int | None = field(default=1, name="failedJobsHistoryLimit")


class CronJobView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: CronJobSpecView = field(default_factory=CronJobSpecView)
    status: batch_v1.CronJobStatus = field(default_factory=batch_v1.CronJobStatus)


class RevisionView(Owned, kw_only=True, gc=False):
    """A ControllerRevision."""

    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    data: Raw = EMPTY
    revision: int = 0


for _view, _kind in (
    (ReplicaSetView, apps_v1.ReplicaSet),
    (ReplicationControllerView, core_v1.ReplicationController),
    (DeploymentView, apps_v1.Deployment),
    (DaemonSetView, apps_v1.DaemonSet),
    (StatefulSetView, apps_v1.StatefulSet),
    (JobView, batch_v1.Job),
    (CronJobView, batch_v1.CronJob),
    (RevisionView, apps_v1.ControllerRevision),
):
    add_view(_view, _kind)


def keep_small(key: str, old: Any, new: Any) -> None:
    """Handler of a workload's informer, before all others: let go of the answer that the template was a slice of."""
    if new is None:
        return
    holder = new if isinstance(new, RevisionView) else new.spec
    name = "data" if holder is new else "template"
    setattr(holder, name, getattr(holder, name).copy())


def prepare_workload(informer: Informer[Any]) -> None:
    """What the informer needs before it runs."""
    informer.add_index(BY_NAMESPACE, namespace_of)
    informer.add_index(BY_OWNER, owners_of)
    informer.add_index(BY_ORPHANAGE, orphanage_of)
    informer.subscribe(keep_small)

"""The workload controllers of one server: their informers, their recorders, one list of parts to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import autoscaling_v2, policy_v1
from carob.client.events import EventRecorder
from carob.client.informer import Informer
from carob.controllers.autoscaling.controller import AutoscalingController
from carob.controllers.cronjob_controller import CronJobController
from carob.controllers.daemonset_controller import DaemonSetController
from carob.controllers.deployment_controller import DeploymentController
from carob.controllers.disruption_budget import DisruptionController, selection_of
from carob.controllers.job_controller import JobController
from carob.controllers.replicaset import ReplicaSetController
from carob.controllers.selected import BY_SELECTION
from carob.controllers.statefulset_controller import StatefulSetController
from carob.controllers.workload_views import (
    BY_NAMESPACE,
    CronJobView,
    DaemonSetView,
    DeploymentView,
    JobView,
    ReplicaSetView,
    ReplicationControllerView,
    RevisionView,
    StatefulSetView,
    namespace_of,
    prepare_workload,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client
    from carob.controllers.views import PodView


class Workloads:
    """What has to run: `informers`, `recorders` (by name) and `parts` (by name)."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        randomness: Randomness,
        pods: Informer[PodView],
        nodes: Informer[core_v1.Node],
        claims: Informer[core_v1.PersistentVolumeClaim],
    ) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self.informers: list[Informer[Any]] = []
        self.recorders: dict[str, EventRecorder] = {}
        sets = self._informer(ReplicaSetView)
        old_sets = self._informer(ReplicationControllerView)
        deployments = self._informer(DeploymentView)
        of_sets = self._recorder("replicaset-controller")
        of_old_sets = self._recorder("replication-controller")
        of_deployments = self._recorder("deployment-controller")
        jobs = self._informer(JobView)
        crons = self._informer(CronJobView)
        revisions = self._informer(RevisionView)
        daemons = self._informer(DaemonSetView)
        stateful = self._informer(StatefulSetView)
        of_daemons = self._recorder("daemonset-controller")
        of_stateful = self._recorder("statefulset-controller")
        budgets: Informer[policy_v1.PodDisruptionBudget] = Informer(client, policy_v1.PodDisruptionBudget, clock)
        budgets.add_index(BY_NAMESPACE, namespace_of)
        budgets.add_index(BY_SELECTION, selection_of)
        self.informers.append(budgets)
        autoscalers: Informer[autoscaling_v2.HorizontalPodAutoscaler] = Informer(
            client, autoscaling_v2.HorizontalPodAutoscaler, clock
        )
        autoscalers.add_index(BY_NAMESPACE, namespace_of)
        self.informers.append(autoscalers)
        scalable = {
            "ReplicaSet": sets,
            "ReplicationController": old_sets,
            "Deployment": deployments,
            "StatefulSet": stateful,
        }
        of_budgets = self._recorder("controllermanager")
        of_autoscalers = self._recorder("horizontal-pod-autoscaler")
        of_jobs = self._recorder("job-controller")
        of_crons = self._recorder("cronjob-controller")
        self.parts: dict[str, Callable[[], Awaitable[None]]] = {
            "replica sets": ReplicaSetController(client, sets, pods, of_sets, clock, ReplicaSetView).run,
            "replication controllers": ReplicaSetController(
                client, old_sets, pods, of_old_sets, clock, ReplicationControllerView
            ).run,
            "deployments": DeploymentController(client, deployments, sets, pods, of_deployments, clock).run,
            "daemon sets": DaemonSetController(client, daemons, revisions, pods, nodes, of_daemons, clock).run,
            "stateful sets": StatefulSetController(client, stateful, revisions, pods, claims, of_stateful, clock).run,
            "disruption budgets": DisruptionController(client, budgets, pods, scalable, of_budgets, clock).run,
            "autoscalers": AutoscalingController(client, autoscalers, of_autoscalers, clock).run,
            "jobs": JobController(client, jobs, pods, of_jobs, clock).run,
            "cron jobs": CronJobController(client, crons, jobs, of_crons, clock).run,
        }

    def _informer(self, kind: type[Any]) -> Informer[Any]:
        informer: Informer[Any] = Informer(self._client, kind, self._clock)
        prepare_workload(informer)
        self.informers.append(informer)
        return informer

    def _recorder(self, component: str) -> EventRecorder:
        recorder = EventRecorder(self._client, component, self._clock, self._randomness)
        self.recorders[component] = recorder
        return recorder

"""Runs Deployments: claims ReplicaSets, does what `deployment.reconcile` plans, tells of it.

Source: kube-controller-manager `deployment/deployment_controller.go`, `sync.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api.resources import resource_of
from carob.api.selectors import NOTHING, LabelSelector, SelectorError, from_struct
from carob.api.status import ApiError
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers import deployment_status as told
from carob.controllers.deployment import Change, Plan, reconcile
from carob.controllers.deployment_sets import REVISION
from carob.controllers.objects import Dependents, reference_to, status_patch
from carob.controllers.ownership import BY_OWNER
from carob.controllers.references import controller_of, reference_tree
from carob.controllers.slow_start import at_once
from carob.controllers.templates import HASH_LABEL, bare, hash_of, tree_of
from carob.controllers.workload_views import BY_NAMESPACE, DeploymentView, ReplicaSetView

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

WORKERS = 4
UNSETTLED_SECONDS = 1.0
_ROW = resource_of(DeploymentView)


class DeploymentController:
    """Keys are keys of Deployments (`namespace/name`)."""

    def __init__(
        self,
        client: Client,
        deployments: Informer[DeploymentView],
        sets: Informer[ReplicaSetView],
        pods: Informer[PodView],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._deployments = deployments
        self._sets = sets
        self._pods = pods
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._dependents = Dependents(client, ReplicaSetView, sets)

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._deployments, self._sets, self._pods):
            await informer.wait_synced()
        self._deployments.subscribe(self._deployment_changed)
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, WORKERS, "deployments")

    def _deployment_changed(self, key: str, old: DeploymentView | None, new: DeploymentView | None) -> None:
        if new is None:
            self._dependents.written.forget(key)
        self._queue.add(key)

    def _set_changed(self, key: str, old: ReplicaSetView | None, new: ReplicaSetView | None) -> None:
        for one in (old, new):
            reference = controller_of(one) if one is not None else None
            if one is not None and reference is not None and reference.kind == "Deployment":
                self._queue.add(f"{one.metadata.namespace}/{reference.name}")
        if new is not None and controller_of(new) is None:
            for deployment in self._deployments.by_index(BY_NAMESPACE, new.metadata.namespace):
                if _selector_of(deployment).matches(new.metadata.labels):
                    self._queue.add(key_of(deployment))

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        """Recreate waits for the last old Pod to be gone; nobody else needs to hear of Pods."""
        if old is None or (new is not None and not new.has_ended):
            return
        above = controller_of(old)
        if above is None or above.kind != "ReplicaSet":
            return
        one = self._sets.get(f"{old.metadata.namespace}/{above.name}")
        top = controller_of(one) if one is not None else None
        if one is None or top is None or top.kind != "Deployment":
            return
        deployment = self._deployments.get(f"{one.metadata.namespace}/{top.name}")
        if deployment is not None and deployment.spec.strategy.type == "Recreate":
            self._queue.add(key_of(deployment))

    async def _sync(self, key: str) -> None:
        deployment = self._deployments.get(key)
        if deployment is None:
            return
        if not self._dependents.written.settled(key):
            self._queue.add_after(key, UNSETTLED_SECONDS)
            return
        selector = _selector_of(deployment)
        if selector.empty:
            what = "This deployment is selecting all pods. A non-empty selector is required."
            self._recorder.event(reference_to(deployment), "Warning", "SelectingAll", what)
            return
        sets = await self._dependents.claim(deployment, selector)
        pods = (pod for one in sets for pod in self._pods.by_index(BY_OWNER, one.metadata.uid))
        plan = reconcile(deployment, sets, pods, self._clock.now())
        failure = await self._act(deployment, plan)
        await self._tell(deployment, plan)
        if plan.recheck_seconds is not None:
            self._queue.add_after(key, plan.recheck_seconds)
        if failure is not None:
            raise failure

    async def _act(self, deployment: DeploymentView, plan: Plan) -> Exception | None:
        if plan.create is not None:
            return await self._create(deployment, plan)
        failure = await at_once(plan.changes, lambda change: self._change(deployment, change))

        async def delete(one: ReplicaSetView) -> None:
            await self._dependents.delete(deployment, one)

        return failure or await at_once(plan.delete, delete)

    async def _change(self, deployment: DeploymentView, change: Change) -> None:
        one, patch = change.set, dict[str, Any]()
        patch["metadata"] = {"resourceVersion": one.metadata.resource_version}
        if change.annotations:
            patch["metadata"]["annotations"] = change.annotations
        spec = {"replicas": change.replicas, "minReadySeconds": change.min_ready_seconds}
        spec = {name: value for name, value in spec.items() if value is not None}
        if spec:
            patch["spec"] = spec
        changed = await self._dependents.patch(deployment, one, patch)
        if changed and change.replicas is not None:
            self._say_scaled(deployment, one.metadata.name, one.spec.replicas, change.replicas)

    def _say_scaled(self, deployment: DeploymentView, name: str, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {name} from {before} to {after}"
        self._recorder.event(reference_to(deployment), "Normal", "ScalingReplicaSet", message)

    async def _create(self, deployment: DeploymentView, plan: Plan) -> Exception | None:
        """Make the new set; a set of its name with another template counts as a collision of hashes."""
        now = self._clock.now()
        tree = _new_set(deployment, plan)
        name = tree["metadata"]["name"]
        try:
            await self._dependents.create(deployment, tree)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                await self._collided(deployment, plan, name)
                return None
            if error.reason == "Forbidden" and "being terminated" in error.message:
                return None
            if told.has_deadline(deployment):
                plan.status.conditions = told.put(
                    plan.status.conditions, told.PROGRESSING, "False", "ReplicaSetCreateError", error.message, now
                )
            message = f"Failed to create new replica set {name!r}: {error.message}".replace("'", '"')
            self._recorder.event(reference_to(deployment), "Warning", "ReplicaSetCreateError", message)
            return error
        if plan.create:
            self._say_scaled(deployment, name, 0, plan.create)
        if told.has_deadline(deployment):
            plan.status.conditions = told.put(
                plan.status.conditions,
                told.PROGRESSING,
                "True",
                "NewReplicaSetCreated",
                f'Created new replica set "{name}"',
                now,
            )
            plan.recheck_seconds = told.stuck_check_seconds(deployment, plan.status, now)
        return None

    async def _collided(self, deployment: DeploymentView, plan: Plan, name: str) -> None:
        namespace = deployment.metadata.namespace
        there = await self._client.get(ReplicaSetView, name, namespace)
        above = controller_of(there)
        same = bare(tree_of(there.spec.template)) == bare(tree_of(deployment.spec.template))
        if above is not None and above.uid == deployment.metadata.uid and same:
            # ours, and the informer will show it
            self._dependents.written.note(key_of(deployment), there.metadata.resource_version)
            return
        plan.status = msgspec.structs.replace(plan.status, collision_count=(plan.status.collision_count or 0) + 1)
        plan.revision = None

    async def _tell(self, deployment: DeploymentView, plan: Plan) -> None:
        """Write status and revision, for the very version of the Deployment that was judged."""
        metadata = deployment.metadata
        patch = status_patch(deployment.status, plan.status, metadata.resource_version)
        if plan.revision is not None and metadata.annotations.get(REVISION) != plan.revision:
            patch = patch or {"metadata": {"resourceVersion": metadata.resource_version}}
            patch["metadata"]["annotations"] = {REVISION: plan.revision}
        if patch is None:
            return
        try:
            await self._client.patch(
                DeploymentView, metadata.name, metadata.namespace, patch=patch, subresource="status"
            )
        except ApiError as error:
            # a newer Deployment is on its way to the informer, which asks again
            if error.reason not in ("Conflict", "NotFound"):
                raise


def _new_set(deployment: DeploymentView, plan: Plan) -> dict[str, Any]:
    metadata, spec = deployment.metadata, deployment.spec
    template = tree_of(spec.template)
    digest = hash_of(bare(template), deployment.status.collision_count)
    own = template.setdefault("metadata", {})
    labels = own["labels"] = {**(own.get("labels") or {}), HASH_LABEL: digest}
    assert spec.selector is not None
    selector = msgspec.structs.replace(spec.selector, match_labels={**spec.selector.match_labels, HASH_LABEL: digest})
    made: dict[str, Any] = {
        "kind": "ReplicaSet",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": f"{metadata.name}-{digest}",
            "namespace": metadata.namespace,
            "labels": labels,
            "annotations": plan.create_annotations,
            "ownerReferences": [reference_tree(_ROW, deployment)],
        },
        "spec": {
            "replicas": plan.create,
            "selector": msgspec.to_builtins(selector),
            "template": template,
        },
    }
    if spec.min_ready_seconds:
        made["spec"]["minReadySeconds"] = spec.min_ready_seconds
    return made


def _selector_of(deployment: DeploymentView) -> LabelSelector:
    try:
        return from_struct(deployment.spec.selector)
    except SelectorError:
        return NOTHING

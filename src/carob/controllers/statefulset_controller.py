"""Runs StatefulSets: does what `statefulset.reconcile` plans, and makes the claims that Pods keep.

Source: kube-controller-manager `statefulset/stateful_set.go`, `stateful_pod_control.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api.resources import resource_of
from carob.api.selectors import NOTHING, LabelSelector, SelectorError, from_struct
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.objects import Dependents, reference_to, status_patch
from carob.controllers.references import controller_of, reference_tree
from carob.controllers.revision_history import RevisionHistory
from carob.controllers.revisions import HASH_LABEL, template_of
from carob.controllers.slow_start import at_once
from carob.controllers.stateful_claims import StatefulClaims, claim_name, template_name
from carob.controllers.statefulset import NewPod, Plan, ordinal_of, ordinals_of, reconcile
from carob.controllers.templates import pod_of, tree_of
from carob.controllers.views import PodView
from carob.controllers.workload_views import BY_NAMESPACE, RevisionView, StatefulSetView
from carob.controllers.written import Written

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

WORKERS = 4
UNSETTLED_SECONDS = 1.0
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
_ROW = resource_of(StatefulSetView)


class StatefulSetController:
    """Keys are keys of StatefulSets."""

    def __init__(
        self,
        client: Client,
        sets: Informer[StatefulSetView],
        revisions: Informer[RevisionView],
        pods: Informer[PodView],
        claims: Informer[core_v1.PersistentVolumeClaim],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._sets = sets
        self._revisions = revisions
        self._pods = pods
        self._claims = claims
        self._storage = StatefulClaims(client, claims, recorder)
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._dependents = Dependents(client, PodView, pods)
        self._history = RevisionHistory(client, revisions)
        self._written = Written(sets)

    async def run(self) -> None:
        """Until cancelled."""
        informers: list[Informer[Any]] = [self._sets, self._revisions, self._pods, self._claims]
        for informer in informers:
            await informer.wait_synced()
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)
        self._claims.subscribe(self._claim_changed)
        await self._queue.work(self._sync, WORKERS, "stateful sets")

    def _set_changed(self, key: str, old: StatefulSetView | None, new: StatefulSetView | None) -> None:
        if new is None:
            self._dependents.written.forget(key)
            self._history.forget(key)
            self._written.forget(key)
        self._queue.add(key)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        for pod in (old, new):
            above = controller_of(pod) if pod is not None else None
            if pod is not None and above is not None and above.kind == "StatefulSet":
                self._queue.add(f"{pod.metadata.namespace}/{above.name}")
        if new is not None and controller_of(new) is None:
            for owner in self._sets.by_index(BY_NAMESPACE, new.metadata.namespace):
                if ordinal_of(owner.metadata.name, new.metadata.name) is not None:
                    self._queue.add(key_of(owner))

    def _claim_changed(
        self, key: str, old: core_v1.PersistentVolumeClaim | None, new: core_v1.PersistentVolumeClaim | None
    ) -> None:
        for owner in self._storage.owners_of(key, self._sets):
            self._queue.add(key_of(owner))

    async def _sync(self, key: str) -> None:
        owner = self._sets.get(key)
        if owner is None:
            return
        settled = (self._dependents.written.settled(key), self._history.settled(key), self._written.settled(key))
        if not all(settled):
            self._queue.add_after(key, UNSETTLED_SECONDS)
            return
        selector = _selector_of(owner)
        name, template = owner.metadata.name, tree_of(owner.spec.template)
        revisions = await self._history.claim(owner, selector)
        pods = await self._dependents.claim(owner, selector, lambda p: ordinal_of(name, p.metadata.name) is not None)
        if owner.is_ending:
            return
        labels = owner.spec.selector.match_labels if owner.spec.selector is not None else {}
        update, collisions = await self._history.keep(owner, revisions, template, labels)
        by_name = {one.metadata.name: one for one in revisions} | {update.metadata.name: update}
        current = by_name.get(owner.status.current_revision, update)
        names = current.metadata.name, update.metadata.name
        plan = reconcile(owner, pods, *names, self._clock.now())
        if collisions is not None:
            plan.status = msgspec.structs.replace(plan.status, collision_count=collisions)
        if plan.recheck_seconds is not None:
            self._queue.add_after(key, plan.recheck_seconds)
        failure = await self._keep_claims(owner, pods) or await self._act(owner, plan, current, update)
        await self._tell(owner, plan)
        live = {pod.metadata.labels.get(HASH_LABEL, "") for pod in pods}
        await self._history.trim(owner, revisions, {*live, *names})
        if failure is not None:
            raise failure

    async def _keep_claims(self, owner: StatefulSetView, pods: list[PodView]) -> Exception | None:
        """Make what a waiting Pod's claims lack, and see to their owners before any Pod goes."""
        if not owner.spec.volume_claim_templates:
            return None
        ordinals = ordinals_of(owner)

        async def keep(pod: PodView) -> None:
            ordinal = ordinal_of(owner.metadata.name, pod.metadata.name)
            if ordinal is None or pod.is_ending:
                return
            stays = ordinal in ordinals
            if stays and pod.status.phase == "Pending":
                await self._storage.make_missing(owner, ordinal)
            await self._storage.settle_owners(owner, pod, stays=stays)

        return await at_once(pods, keep)

    async def _act(
        self, owner: StatefulSetView, plan: Plan, current: RevisionView, update: RevisionView
    ) -> Exception | None:
        failure = await at_once(plan.create, lambda new: self._create(owner, new, update if new.updated else current))
        if failure is not None:
            return failure
        for pod in plan.recreated:
            who = f"{owner.metadata.namespace}/{owner.metadata.name}"
            what = f"StatefulSet {who} is recreating failed Pod {pod.metadata.name}"
            self._recorder.event(reference_to(owner), "Warning", "RecreatingFailedPod", what)
        return await at_once([*plan.delete, *plan.condemn], lambda pod: self._delete(owner, pod))

    async def _create(self, owner: StatefulSetView, new: NewPod, revision: RevisionView) -> None:
        if self._storage.is_stale(owner, new.ordinal):
            # the garbage collector is about to take the claim; its end asks for this Pod again
            return
        name = f"{owner.metadata.name}-{new.ordinal}"
        regarding = reference_to(owner)
        try:
            await self._storage.make_missing(owner, new.ordinal)
            await self._dependents.create(owner, new_pod(owner, revision, new.ordinal))
        except ApiError as error:
            if error.reason == "Forbidden" and "being terminated" in error.message:
                return
            why = f"create Pod {name} in StatefulSet {owner.metadata.name} failed error: {error.message}"
            self._recorder.event(regarding, "Warning", "FailedCreate", why)
            raise
        what = f"create Pod {name} in StatefulSet {owner.metadata.name} successful"
        self._recorder.event(regarding, "Normal", "SuccessfulCreate", what)

    async def _delete(self, owner: StatefulSetView, pod: PodView) -> None:
        regarding, name = reference_to(owner), pod.metadata.name
        try:
            if await self._dependents.delete(owner, pod):
                what = f"delete Pod {name} in StatefulSet {owner.metadata.name} successful"
                self._recorder.event(regarding, "Normal", "SuccessfulDelete", what)
        except ApiError as error:
            why = f"delete Pod {name} in StatefulSet {owner.metadata.name} failed error: {error.message}"
            self._recorder.event(regarding, "Warning", "FailedDelete", why)
            raise

    async def _tell(self, owner: StatefulSetView, plan: Plan) -> None:
        metadata = owner.metadata
        patch = status_patch(owner.status, plan.status, metadata.resource_version)
        if patch is None:
            return
        try:
            written = await self._client.patch(
                StatefulSetView, metadata.name, metadata.namespace, patch=patch, subresource="status"
            )
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise
            return
        self._written.note(key_of(owner), written.metadata.resource_version)


def new_pod(owner: StatefulSetView, revision: RevisionView, ordinal: int) -> dict[str, Any]:
    """The Pod of an ordinal, as JSON: its name, host name and claims are always the same."""
    name = f"{owner.metadata.name}-{ordinal}"
    made = pod_of(
        template_of(revision),
        reference_tree(_ROW, owner),
        owner.metadata.namespace,
        name=name,
        labels={HASH_LABEL: revision.metadata.name, POD_NAME: name, POD_INDEX: str(ordinal)},
    )
    spec = made["spec"] = dict(made["spec"])
    spec["hostname"] = name
    if owner.spec.service_name:
        spec["subdomain"] = owner.spec.service_name
    claims = {
        template_name(one): {
            "name": template_name(one),
            "persistentVolumeClaim": {"claimName": claim_name(template_name(one), owner.metadata.name, ordinal)},
        }
        for one in owner.spec.volume_claim_templates
    }
    if claims:
        kept = [volume for volume in spec.get("volumes") or [] if volume.get("name") not in claims]
        spec["volumes"] = [*claims.values(), *kept]
    return made


def _selector_of(owner: StatefulSetView) -> LabelSelector:
    try:
        return from_struct(owner.spec.selector)
    except SelectorError:
        return NOTHING

"""ReplicaSets and ReplicationControllers: as many Pods as asked for.

`reconcile` is pure; `ReplicaSetController` runs it for either kind.
Source: kube-controller-manager `replicaset/replica_set.go`, `replica_set_utils.go`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api.resources import resource_of
from carob.api.selectors import NOTHING, SelectorError, from_struct
from carob.api.status import ApiError
from carob.api.types import apps_v1, core_v1, meta_v1
from carob.base.clock import rfc3339
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.objects import Dependents, reference_to, status_patch
from carob.controllers.ownership import BY_OWNER
from carob.controllers.ranking import doomed_first, per_node
from carob.controllers.references import controller_of, reference_tree
from carob.controllers.slow_start import MAX_BURST, at_once, in_batches
from carob.controllers.templates import pod_of, tree_of
from carob.controllers.views import PodView
from carob.controllers.workload_views import BY_NAMESPACE, ReplicaSetView, ReplicationControllerView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.selectors import LabelSelector
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

AnySet = ReplicaSetView | ReplicationControllerView

WORKERS = 8
# the informer is sure to have moved on by then; only a Pod that came and went unseen is waited for so
UNSETTLED_SECONDS = 1.0


class Plan(Struct, frozen=True):
    """What is to be done; `recheck_seconds`: when a Pod will have been ready for long enough."""

    create: int = 0
    delete: list[PodView] = field(default_factory=list)
    recheck_seconds: float | None = None


def reconcile(owner: AnySet, pods: Iterable[PodView], related: Mapping[str, int], now: float) -> Plan:
    """How to come to the wanted number. Shape: `related` counts the active Pods of sister sets by node."""
    active = [pod for pod in pods if pod.is_active]
    missing = owner.spec.replicas - len(active)
    recheck = next_available(active, owner.spec.min_ready_seconds, now)
    if owner.is_ending:
        return Plan()
    if missing > 0:
        return Plan(create=min(missing, MAX_BURST), recheck_seconds=recheck)
    if missing < 0:
        return Plan(delete=doomed_first(active, related, now)[: min(-missing, MAX_BURST)], recheck_seconds=recheck)
    return Plan(recheck_seconds=recheck)


def next_available(pods: Iterable[PodView], min_ready_seconds: int, now: float) -> float | None:
    """In how many seconds the next ready Pod becomes available; None if none will by itself."""
    if not min_ready_seconds:
        return None
    waits = [
        since + min_ready_seconds - now
        for pod in pods
        if (since := pod.ready_since) is not None and since + min_ready_seconds > now
    ]
    return min(waits) if waits else None


def status_of(owner: AnySet, pods: Iterable[PodView], failure: tuple[str, str] | None, now: float) -> Any:
    """The status, of the kind's own class. Shape: `failure` is a reason and a message."""
    everything = list(pods)
    active = [pod for pod in everything if pod.is_active]
    metadata = tree_of(owner.spec.template).get("metadata") or {}
    wanted = set((metadata.get("labels") or {}).items())
    # the Pods of one template share their labels as one object
    distinct = Counter(id(pod.metadata.labels) for pod in active)
    labels = {id(pod.metadata.labels): pod.metadata.labels for pod in active}
    old = owner.status
    status: Any = type(old)(
        replicas=len(active),
        fully_labeled_replicas=sum(distinct[i] for i, found in labels.items() if wanted <= found.items()),
        ready_replicas=sum(pod.is_ready for pod in active),
        available_replicas=sum(pod.is_available(owner.spec.min_ready_seconds, now) for pod in active),
        observed_generation=max(owner.metadata.generation, old.observed_generation),
        conditions=_conditions(old, failure, now),
    )
    if isinstance(status, apps_v1.ReplicaSetStatus):
        ending = (p for p in everything if p.metadata.deletion_timestamp is not None and not p.has_ended)
        status.terminating_replicas = sum(1 for _ in ending)
    return status


def _conditions(old: Any, failure: tuple[str, str] | None, now: float) -> list[Any]:
    kept = [c for c in old.conditions if c.type != "ReplicaFailure"]
    there = [c for c in old.conditions if c.type == "ReplicaFailure"]
    if failure is None:
        return kept
    if there:
        return list(old.conditions)
    of_sets = isinstance(old, apps_v1.ReplicaSetStatus)
    kind: Any = apps_v1.ReplicaSetCondition if of_sets else core_v1.ReplicationControllerCondition
    reason, message = failure
    made = kind(type="ReplicaFailure", status="True", reason=reason, message=message, last_transition_time=rfc3339(now))
    return [*kept, made]


def selector_of(owner: AnySet) -> LabelSelector:
    """What its Pods look like; a selector that cannot be understood, or selects all, selects nothing."""
    selector = owner.spec.selector
    try:
        if isinstance(selector, meta_v1.LabelSelector):
            found = from_struct(selector)
        else:
            found = from_struct(meta_v1.LabelSelector(match_labels=selector or {}))
    except SelectorError:
        return NOTHING
    return NOTHING if found.empty else found


class ReplicaSetController:
    """Keys are keys of the sets (`namespace/name`)."""

    def __init__(
        self,
        client: Client,
        sets: Informer[Any],
        pods: Informer[PodView],
        recorder: EventRecorder,
        clock: Clock,
        kind: type[AnySet],
    ) -> None:
        self._client = client
        self._sets = sets
        self._pods = pods
        self._recorder = recorder
        self._clock = clock
        self._kind = kind
        self._row = resource_of(kind)
        self._queue = WorkQueue(clock)
        self._dependents = Dependents(client, PodView, pods)

    async def run(self) -> None:
        """Until cancelled."""
        await self._sets.wait_synced()
        await self._pods.wait_synced()
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, WORKERS, self._row.plural)

    def _set_changed(self, key: str, old: AnySet | None, new: AnySet | None) -> None:
        if new is None:
            self._dependents.written.forget(key)
        self._queue.add(key)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        before, after = self._owner_key(old), self._owner_key(new)
        if before is not None:
            self._queue.add(before)
        if after is not None:
            self._queue.add(after)
        elif new is not None and controller_of(new) is None and self._sets:
            self._ask_who_adopts(new)

    def _owner_key(self, pod: PodView | None) -> str | None:
        reference = controller_of(pod) if pod is not None else None
        if pod is None or reference is None or reference.kind != self._row.kind:
            return None
        if reference.api_version != self._row.api_version:
            return None
        return f"{pod.metadata.namespace}/{reference.name}"

    def _ask_who_adopts(self, pod: PodView) -> None:
        for owner in self._sets.by_index(BY_NAMESPACE, pod.metadata.namespace):
            if selector_of(owner).matches(pod.metadata.labels):
                self._queue.add(key_of(owner))

    async def _sync(self, key: str) -> None:
        owner: AnySet | None = self._sets.get(key)
        if owner is None:
            return
        if not self._dependents.written.settled(key):
            self._queue.add_after(key, UNSETTLED_SECONDS)
            return
        pods = await self._dependents.claim(owner, selector_of(owner))
        now = self._clock.now()
        plan = reconcile(owner, pods, self._related(owner, pods) if len(pods) > owner.spec.replicas else {}, now)
        failure: Exception | None = None
        if plan.create:
            failure = await self._create(owner, plan.create)
        elif plan.delete:
            failure = await at_once(plan.delete, lambda pod: self._delete(owner, pod))
        if plan.recheck_seconds is not None:
            self._queue.add_after(key, plan.recheck_seconds)
        said = None if failure is None else ("FailedCreate" if plan.create else "FailedDelete", _words(failure))
        await self._report(owner, status_of(owner, pods, said, now))
        if failure is not None:
            raise failure

    def _related(self, owner: AnySet, pods: list[PodView]) -> dict[str, int]:
        """The active Pods of all sets that this one's own owner controls."""
        above = controller_of(owner)
        if above is None:
            return per_node(pods)
        sisters = self._sets.by_index(BY_OWNER, above.uid)
        return per_node(pod for sister in sisters for pod in self._pods.by_index(BY_OWNER, sister.metadata.uid))

    async def _create(self, owner: AnySet, count: int) -> Exception | None:
        metadata = owner.metadata
        tree = pod_of(
            tree_of(owner.spec.template),
            reference_tree(self._row, owner),
            metadata.namespace,
            generateName=metadata.name + "-",
        )
        regarding = reference_to(owner)

        async def one(_: int) -> None:
            try:
                made = await self._dependents.create(owner, tree)
            except ApiError as error:
                if error.reason == "Forbidden" and "being terminated" in error.message:
                    return  # the namespace ends, and this set with it
                self._recorder.event(regarding, "Warning", "FailedCreate", f"Error creating: {error.message}")
                raise
            self._recorder.event(regarding, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")

        return await in_batches(range(count), one)

    async def _delete(self, owner: AnySet, pod: PodView) -> None:
        regarding, name = reference_to(owner), pod.metadata.name
        try:
            if await self._dependents.delete(owner, pod):
                self._recorder.event(regarding, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        except ApiError as error:
            self._recorder.event(regarding, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise

    async def _report(self, owner: AnySet, status: Any) -> None:
        patch = status_patch(owner.status, status, owner.metadata.resource_version)
        if patch is None:
            return
        metadata = owner.metadata
        try:
            await self._client.patch(self._kind, metadata.name, metadata.namespace, patch=patch, subresource="status")
        except ApiError as error:
            # a newer set is on its way to the informer, which asks again
            if error.reason not in ("Conflict", "NotFound"):
                raise


def _words(error: Exception) -> str:
    return error.message if isinstance(error, ApiError) else str(error)

"""Runs DaemonSets: does what `daemonset.reconcile` plans.

Source: kube-controller-manager `daemon/daemon_controller.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api.resources import resource_of
from carob.api.selectors import NOTHING, LabelSelector, SelectorError, from_struct
from carob.api.status import ApiError
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.daemonset import GENERATION_LABEL, Fit, Plan, reconcile, tolerations
from carob.controllers.objects import Dependents, reference_to, status_patch
from carob.controllers.references import controller_of, reference_tree
from carob.controllers.revision_history import RevisionHistory
from carob.controllers.revisions import HASH_LABEL
from carob.controllers.slow_start import at_once, in_batches
from carob.controllers.templates import pod_of, tree_of
from carob.controllers.views import PodView
from carob.controllers.workload_views import BY_NAMESPACE, DaemonSetView, RevisionView

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

WORKERS = 4
UNSETTLED_SECONDS = 1.0
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS = 1.0, 900.0
MAX_HOLDS = 10_000
_ROW = resource_of(DaemonSetView)


class DaemonSetController:
    """Keys are keys of DaemonSets."""

    def __init__(
        self,
        client: Client,
        daemons: Informer[DaemonSetView],
        revisions: Informer[RevisionView],
        pods: Informer[PodView],
        nodes: Informer[core_v1.Node],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._daemons = daemons
        self._revisions = revisions
        self._pods = pods
        self._nodes = nodes
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._dependents = Dependents(client, PodView, pods)
        self._history = RevisionHistory(client, revisions)
        self._holds: dict[tuple[str, str], tuple[float, float]] = {}
        """By the daemon's uid and the node: how long a failed Pod is left alone, and until when."""

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._daemons, self._revisions, self._pods, self._nodes):
            await informer.wait_synced()
        self._daemons.subscribe(self._daemon_changed)
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)
        await self._queue.work(self._sync, WORKERS, "daemon sets")

    def _daemon_changed(self, key: str, old: DaemonSetView | None, new: DaemonSetView | None) -> None:
        if new is None:
            self._dependents.written.forget(key)
            self._history.forget(key)
        self._queue.add(key)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        for pod in (old, new):
            above = controller_of(pod) if pod is not None else None
            if pod is not None and above is not None and above.kind == "DaemonSet":
                self._queue.add(f"{pod.metadata.namespace}/{above.name}")
        if new is not None and controller_of(new) is None:
            for daemon in self._daemons.by_index(BY_NAMESPACE, new.metadata.namespace):
                if _selector_of(daemon).matches(new.metadata.labels):
                    self._queue.add(key_of(daemon))

    def _node_changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if old is not None and new is not None and _placing(old) == _placing(new):
            return
        for daemon in list(self._daemons.keys()):
            self._queue.add(daemon)

    async def _sync(self, key: str) -> None:
        daemon = self._daemons.get(key)
        if daemon is None:
            return
        if not self._dependents.written.settled(key) or not self._history.settled(key):
            self._queue.add_after(key, UNSETTLED_SECONDS)
            return
        selector = _selector_of(daemon)
        if selector.empty:
            what = "This daemon set is selecting all pods. A non-empty selector is required."
            self._recorder.event(reference_to(daemon), "Warning", "SelectingAll", what)
            return
        template = tree_of(daemon.spec.template)
        labels = (template.get("metadata") or {}).get("labels") or {}
        revisions = await self._history.claim(daemon, selector)
        if daemon.is_ending:
            return
        current, collisions = await self._history.keep(daemon, revisions, template, labels)
        digest = current.metadata.labels.get(HASH_LABEL, "")
        pods = await self._dependents.claim(daemon, selector)
        now = self._clock.now()
        uid = daemon.metadata.uid
        held = {node: until for (whose, node), (_, until) in self._holds.items() if whose == uid}
        plan = reconcile(daemon, Fit(template), self._nodes.items(), pods, digest, held, now)
        if collisions is not None:
            plan.status = msgspec.structs.replace(plan.status, collision_count=collisions)
        for event in plan.events:
            self._recorder.event(reference_to(daemon), *event)
        self._hold(uid, plan, now)
        failure = await self._act(daemon, plan, template, digest)
        await self._tell(daemon, plan)
        live = {pod.metadata.labels.get(HASH_LABEL, "") for pod in pods} | {digest}
        await self._history.trim(daemon, revisions, live)
        if plan.recheck_seconds is not None:
            self._queue.add_after(key, plan.recheck_seconds)
        if failure is not None:
            raise failure

    def _hold(self, uid: str, plan: Plan, now: float) -> None:
        """The next failure on these nodes is left alone for twice as long."""
        if len(self._holds) > MAX_HOLDS:
            self._holds = {k: v for k, v in self._holds.items() if v[1] > now}
        for node in plan.killed:
            last, until = self._holds.get((uid, node), (FIRST_HOLD_SECONDS / 2, 0.0))
            # a long time without failures forgives
            length = FIRST_HOLD_SECONDS if now - until > 2 * LONGEST_HOLD_SECONDS else last * 2
            length = min(length, LONGEST_HOLD_SECONDS)
            self._holds[uid, node] = (length, now + length)

    async def _act(self, daemon: DaemonSetView, plan: Plan, template: dict[str, Any], digest: str) -> Exception | None:
        failure = await at_once(plan.delete, lambda pod: self._delete(daemon, pod))
        created = await in_batches(plan.create, lambda node: self._create(daemon, template, digest, node))
        return failure or created

    async def _create(self, daemon: DaemonSetView, template: dict[str, Any], digest: str, node: str) -> None:
        regarding = reference_to(daemon)
        try:
            made = await self._dependents.create(daemon, new_pod(daemon, template, digest, node))
        except ApiError as error:
            if error.reason == "Forbidden" and "being terminated" in error.message:
                return
            self._recorder.event(regarding, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._recorder.event(regarding, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")

    async def _delete(self, daemon: DaemonSetView, pod: PodView) -> None:
        regarding, name = reference_to(daemon), pod.metadata.name
        try:
            if await self._dependents.delete(daemon, pod):
                self._recorder.event(regarding, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        except ApiError as error:
            self._recorder.event(regarding, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise

    async def _tell(self, daemon: DaemonSetView, plan: Plan) -> None:
        metadata = daemon.metadata
        patch = status_patch(daemon.status, plan.status, metadata.resource_version)
        if patch is None:
            return
        try:
            await self._client.patch(
                DaemonSetView, metadata.name, metadata.namespace, patch=patch, subresource="status"
            )
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise


def new_pod(daemon: DaemonSetView, template: dict[str, Any], digest: str, node: str) -> dict[str, Any]:
    """The Pod to create for a node, as JSON: the scheduler binds it, and can bind it nowhere else."""
    labels = {HASH_LABEL: digest}
    generation = daemon.metadata.annotations.get(TEMPLATE_GENERATION)
    if generation:
        labels[GENERATION_LABEL] = generation
    made = pod_of(
        template,
        reference_tree(_ROW, daemon),
        daemon.metadata.namespace,
        generateName=daemon.metadata.name + "-",
        labels=labels,
    )
    spec = made["spec"] = dict(made["spec"])
    affinity = dict(spec.get("affinity") or {})
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity["nodeAffinity"] = {
        **(affinity.get("nodeAffinity") or {}),
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]},
    }
    spec["affinity"] = affinity
    spec["tolerations"] = tolerations(template)
    return made


def _placing(node: core_v1.Node) -> object:
    """What of a node decides about daemons; heartbeats are not among it."""
    return node.metadata.labels, [(t.key, t.value, t.effect) for t in node.spec.taints], node.metadata.uid


def _selector_of(daemon: DaemonSetView) -> LabelSelector:
    try:
        return from_struct(daemon.spec.selector)
    except SelectorError:
        return NOTHING

"""PodDisruptionBudgets: how many Pods may be evicted now, so that enough stay healthy.

`reconcile` is pure; evictions spend what it allows (apiserver `handlers/eviction.py`), and a write of ours that does not
know of the latest eviction is refused by its version: so no budget is spent twice.
Source: kube-controller-manager `disruption/disruption.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api import int_or_string
from carob.api.selectors import NOTHING, LabelSelector, SelectorError, from_struct
from carob.api.status import ApiError
from carob.api.types import meta_v1, policy_v1
from carob.base.clock import parse_rfc3339, rfc3339
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.objects import status_patch
from carob.controllers.references import controller_of
from carob.controllers.selected import label_for, may_select, pods_of
from carob.controllers.workload_views import BY_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.ownership import OwnerReference
    from carob.controllers.views import PodView

Budget = policy_v1.PodDisruptionBudget

WORKERS = 2
# an eviction whose Pod is not even being deleted by then is taken for failed
DELETION_SECONDS = 120.0
ALLOWED = "DisruptionAllowed"
NO_SCALE = "does not implement the scale subresource"


class UnknownScaleError(Exception):
    """Nobody can say how many Pods there should be; the text is upstream's."""


class Plan(Struct):
    """The status, and what is to be told."""

    status: policy_v1.PodDisruptionBudgetStatus
    events: list[tuple[str, str, str]] = field(default_factory=list)
    recheck_seconds: float | None = None


def reconcile(
    budget: Budget, pods: Sequence[PodView], scale_of: Callable[[str, OwnerReference], tuple[str, int]], now: float
) -> Plan:
    """The status of a budget.

    Shape: `pods` are those that it selects; `scale_of(namespace, reference)` gives a controller's uid and its wanted
    number of Pods, of the topmost controller that can be scaled, or raises UnknownScaleError.
    """
    plan = Plan(policy_v1.PodDisruptionBudgetStatus(observed_generation=budget.metadata.generation))
    status = plan.status
    status.conditions = list(budget.status.conditions)
    if not pods:
        plan.events.append(("Normal", "NoPods", "No matching pods found"))
    status.disrupted_pods = _disrupted(budget, pods, now, plan)
    status.current_healthy = sum(
        pod.is_ready and not pod.is_ending and pod.metadata.name not in status.disrupted_pods for pod in pods
    )
    try:
        status.expected_pods, status.desired_healthy = _expected(budget, pods, scale_of, plan)
    except UnknownScaleError as error:
        # safe: nothing may be evicted until we know
        old = budget.status
        status.expected_pods, status.desired_healthy = old.expected_pods, old.desired_healthy
        status.current_healthy = old.current_healthy
        plan.events.append(
            ("Warning", "CalculateExpectedPodCountFailed", f"Failed to calculate the number of expected pods: {error}")
        )
        _put(status, budget, "False", "SyncFailed", str(error), now)
        return plan
    room = status.current_healthy - status.desired_healthy
    status.disruptions_allowed = max(room, 0) if status.expected_pods > 0 else 0
    if status.disruptions_allowed > 0:
        _put(status, budget, "True", "SufficientPods", "", now)
    else:
        _put(status, budget, "False", "InsufficientPods", "", now)
    return plan


def _expected(
    budget: Budget, pods: Sequence[PodView], scale_of: Callable[[str, OwnerReference], tuple[str, int]], plan: Plan
) -> tuple[int, int]:
    """How many Pods there should be, and how many of them must be healthy."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        expected = _scale(budget, pods, scale_of, plan)
        return expected, max(expected - int_or_string.scaled(spec.max_unavailable, expected, round_up=True), 0)
    if spec.min_available is None:
        return 0, 0
    if isinstance(spec.min_available, int):
        return len(pods), spec.min_available
    expected = _scale(budget, pods, scale_of, plan)
    return expected, int_or_string.scaled(spec.min_available, expected, round_up=True)


def _scale(
    budget: Budget, pods: Sequence[PodView], scale_of: Callable[[str, OwnerReference], tuple[str, int]], plan: Plan
) -> int:
    wanted: dict[str, int] = {}
    unmanaged = False
    for pod in pods:
        above = controller_of(pod)
        if above is None:
            unmanaged = True
            continue
        uid, count = scale_of(pod.metadata.namespace, above)
        wanted[uid] = count
    if unmanaged:
        plan.events.append(
            (
                "Warning",
                "UnmanagedPods",
                f"Pods selected by this PodDisruptionBudget (selector: {selector_of(budget)}) were found to be "
                "unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in "
                'undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an '
                "integer value.",
            )
        )
    return sum(wanted.values())


def _disrupted(budget: Budget, pods: Sequence[PodView], now: float, plan: Plan) -> dict[str, Any]:
    """The evictions that were granted and have not begun to show."""
    kept: dict[str, Any] = {}
    for pod in pods:
        name = pod.metadata.name
        since = budget.status.disrupted_pods.get(name)
        if since is None or pod.is_ending:
            continue
        left = parse_rfc3339(since) + DELETION_SECONDS - now
        if left <= 0:
            who = key_of(budget)
            what = f"Pod was expected by PDB {who} to be deleted but it wasn't"
            plan.events.append(("Warning", "NotDeleted", what))
            continue
        kept[name] = since
        plan.recheck_seconds = left if plan.recheck_seconds is None else min(plan.recheck_seconds, left)
    return kept


def _put(
    status: policy_v1.PodDisruptionBudgetStatus, budget: Budget, value: str, reason: str, message: str, now: float
) -> None:
    old = next((c for c in status.conditions if c.type == ALLOWED), None)
    since = old.last_transition_time if old is not None and old.status == value else rfc3339(now)
    made = meta_v1.Condition(
        type=ALLOWED,
        status=value,
        reason=reason,
        message=message,
        observed_generation=budget.metadata.generation,
        last_transition_time=since,
    )
    status.conditions = [*(c for c in status.conditions if c.type != ALLOWED), made]


def selector_of(budget: Budget) -> LabelSelector:
    """What it selects."""
    try:
        return from_struct(budget.spec.selector)
    except SelectorError:
        return NOTHING


def selection_of(budget: Budget) -> tuple[str]:
    """The value of the index `BY_SELECTION`."""
    return (label_for(selector_of(budget), budget.metadata.namespace),)


class DisruptionController:
    """Keys are keys of budgets."""

    def __init__(
        self,
        client: Client,
        budgets: Informer[Budget],
        pods: Informer[PodView],
        scalable: dict[str, Informer[Any]],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        """`scalable`: the informers of the kinds that have a number of replicas, by kind."""
        self._client = client
        self._budgets = budgets
        self._pods = pods
        self._scalable = scalable
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        informers: list[Informer[Any]] = [self._budgets, self._pods, *self._scalable.values()]
        for informer in informers:
            await informer.wait_synced()
        self._budgets.subscribe(lambda key, old, new: self._queue.add(key))
        self._pods.subscribe(self._pod_changed)
        for informer in self._scalable.values():
            informer.subscribe(self._scale_changed)
        await self._queue.work(self._sync, WORKERS, "disruption budgets")

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        for budget in may_select(old, new, self._budgets):
            selector = selector_of(budget)
            if any(one is not None and selector.matches(one.metadata.labels) for one in (old, new)):
                self._queue.add(key_of(budget))

    def _scale_changed(self, key: str, old: Any, new: Any) -> None:
        if old is not None and new is not None and old.spec.replicas != new.spec.replicas:
            for budget in self._budgets.by_index(BY_NAMESPACE, new.metadata.namespace):
                self._queue.add(key_of(budget))

    def _scale_of(self, namespace: str, reference: OwnerReference) -> tuple[str, int]:
        informer = self._scalable.get(reference.kind)
        if informer is None:
            group = reference.api_version.rpartition("/")[0]
            raise UnknownScaleError(f"{reference.kind.lower()}s.{group} {NO_SCALE}")
        owner = informer.get(f"{namespace}/{reference.name}")
        if owner is None or owner.metadata.uid != reference.uid:
            return reference.uid, 0
        above = controller_of(owner)
        if above is not None and above.kind in self._scalable:
            return self._scale_of(namespace, above)
        return owner.metadata.uid, owner.spec.replicas

    async def _sync(self, key: str) -> None:
        budget = self._budgets.get(key)
        if budget is None or budget.metadata.deletion_timestamp:
            return
        selector = selector_of(budget)
        namespace = budget.metadata.namespace
        pods = pods_of(selector, namespace, self._pods)
        plan = reconcile(budget, pods, self._scale_of, self._clock.now())
        for event in plan.events:
            self._recorder.event(budget, *event)
        if plan.recheck_seconds is not None:
            self._queue.add_after(key, plan.recheck_seconds)
        patch = status_patch(budget.status, plan.status, budget.metadata.resource_version)
        if patch is None:
            return
        try:
            await self._client.patch(Budget, budget.metadata.name, namespace, patch=patch, subresource="status")
        except ApiError as error:
            # an eviction was faster, and the informer will show it
            if error.reason not in ("Conflict", "NotFound"):
                raise

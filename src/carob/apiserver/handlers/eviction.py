"""POST of an Eviction: a deletion that asks the disruption budgets first.

Source: upstream `pkg/registry/core/pod/storage/eviction.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.resources import TABLE
from carob.api.selectors import SelectorError, from_struct
from carob.api.status import ApiError, bad_request, not_found
from carob.api.types import core_v1, meta_v1, policy_v1
from carob.apiserver import bodies
from carob.apiserver.handlers import delete, ownership, writes
from carob.apiserver.handlers.binding import CREATED
from carob.apiserver.handlers.disruption import Disruption
from carob.apiserver.handlers.get import warning_headers
from carob.apiserver.registry.pods import FINISHED
from carob.apiserver.registry.strategy import WriteContext
from carob.apiserver.types import Operation, RequestInfo
from carob.base.clock import rfc3339
from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.transport.http import Request

MAX_DISRUPTED_PODS = 2000

_BUDGETS = TABLE.by_plural("policy", "v1", "poddisruptionbudgets")
_EVICTED = Disruption("EvictionByEvictionAPI", "Eviction API: evicting", of_eviction=True)
_VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."


async def evict(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response:
    """Delete a Pod if its budget allows. Raises: ApiError 400, 404, 409, 429."""
    row = info.resource
    assert row is not None
    dry_run = writes.check_options(info, "CreateOptions")
    eviction, _ = bodies.decode_as(policy_v1.Eviction, "policy", info, request)
    if eviction.metadata.name and eviction.metadata.name != info.name:
        raise bad_request("name in URL does not match name in Eviction object")
    options = eviction.delete_options or meta_v1.DeleteOptions()
    dry_run = dry_run or bool(options.dry_run)
    context = writes.context_of(backend, row, info.namespace, user, dry_run, "eviction")
    attributes = writes.attributes_of(Operation.CREATE, info, user, context, eviction, None, options)
    backend.admission.admit(attributes)
    backend.admission.validate(attributes)
    pod = backend.objects.get(row, info.namespace, info.name)
    if pod is None:
        raise not_found(row, info.name)
    if not _needs_no_budget(pod):
        await _spend(backend, pod, user, dry_run)
    deletion = RequestInfo("delete", info.path, row, info.namespace, info.name)
    await delete.remove(backend, deletion, context, options, None, _EVICTED)
    return Response(201, CREATED, headers=warning_headers(context.warnings))


def _needs_no_budget(pod: core_v1.Pod) -> bool:
    return pod.status.phase in (*FINISHED, "Pending") or pod.metadata.deletion_timestamp is not None


async def _spend(backend: Backend, pod: core_v1.Pod, user: UserInfo, dry_run: bool) -> None:
    """Take one disruption from the Pod's budget, if it has one. Raises: ApiError 429."""
    assert _BUDGETS is not None
    objects = backend.objects
    context = WriteContext(
        _BUDGETS,
        pod.metadata.namespace,
        user,
        backend.clock,
        backend.randomness,
        objects,
        subresource="status",
        manager=ownership.SERVER_MANAGER,
    )
    while True:
        budget = _budget_of(objects.list(_BUDGETS, pod.metadata.namespace), pod)
        if budget is None or _unhealthy_may_go(budget, pod):
            return
        now = rfc3339(backend.clock.now())
        entry = objects.cache(_BUDGETS).get(pod.metadata.namespace, budget.metadata.name)
        assert entry is not None
        spent = objects.fresh(_BUDGETS, entry)
        decrement(spent, pod.metadata.name, now)
        spent.metadata.managed_fields = ownership.updated(
            objects, context, spent, objects.read(_BUDGETS, entry), backend.strategies.of(_BUDGETS)
        )
        if dry_run:
            return
        try:
            await objects.update(_BUDGETS, entry, objects.value_of(_BUDGETS, spent))
        except ApiError as error:
            if error.reason != "Conflict":
                raise
            continue
        return


def _budget_of(budgets: list[Any], pod: core_v1.Pod) -> policy_v1.PodDisruptionBudget | None:
    found = [budget for budget in budgets if _selects(budget, pod)]
    if len(found) > 1:
        # upstream answers 500 here; it is the client's budgets that overlap
        why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(409, "Conflict", why)
    return found[0] if found else None


def _selects(budget: policy_v1.PodDisruptionBudget, pod: core_v1.Pod) -> bool:
    try:
        return from_struct(budget.spec.selector).matches(pod.metadata.labels)
    except SelectorError:
        return False


def _unhealthy_may_go(budget: policy_v1.PodDisruptionBudget, pod: core_v1.Pod) -> bool:
    """Whether the policy lets a Pod that is not ready go without spending a disruption."""
    if any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions):
        return False
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    status = budget.status
    return status.current_healthy >= status.desired_healthy and status.desired_healthy > 0


def decrement(budget: policy_v1.PodDisruptionBudget, pod_name: str, now: str) -> None:
    """Take one disruption, or say why there is none. Raises: ApiError 403, 429."""
    status, name = budget.status, budget.metadata.name
    if status.observed_generation < budget.metadata.generation:
        raise _refused(f"The disruption budget {name} is still being processed by the server.", 10)
    if status.disruptions_allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.disrupted_pods) > MAX_DISRUPTED_PODS:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if status.disruptions_allowed == 0:
        why = (
            f"The disruption budget {name} needs {status.desired_healthy} healthy pods "
            f"and has {status.current_healthy} currently"
        )
        raise _refused(why, 0)
    status.disruptions_allowed -= 1
    if status.disruptions_allowed == 0:
        _set_condition(budget, now)
    status.disrupted_pods[pod_name] = now


def _set_condition(budget: policy_v1.PodDisruptionBudget, now: str) -> None:
    condition = meta_v1.Condition(
        type="DisruptionAllowed",
        status="False",
        observed_generation=budget.status.observed_generation,
        last_transition_time=now,
        reason="InsufficientPods",
    )
    kept = [one for one in budget.status.conditions if one.type != condition.type]
    budget.status.conditions = [*kept, condition]


def _refused(why: str, retry_after_seconds: int) -> ApiError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    headers = {}
    if retry_after_seconds:
        details["retryAfterSeconds"] = retry_after_seconds
        headers["Retry-After"] = str(retry_after_seconds)
    return ApiError(429, "TooManyRequests", _VIOLATED, details, headers)


def _forbidden(name: str, why: str) -> ApiError:
    from carob.api.status import forbidden

    assert _BUDGETS is not None
    return forbidden(_BUDGETS, name, why)

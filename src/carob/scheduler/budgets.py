"""Disruption budgets as preemption sees them: which Pods may not go without breaking a promise.

Pure. Source: scheduler `defaultpreemption` (filterPodsWithPDBViolation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.api.selectors import LabelSelector
from carob.scheduler.pod_terms import selector_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types.policy_v1 import PodDisruptionBudget
    from carob.scheduler.pods import PodInfo


class Budget(NamedTuple):
    """`disrupted`: names of Pods that are on their way out already, which the budget has counted."""

    namespace: str
    selector: LabelSelector
    allowed: int
    disrupted: frozenset[str] = frozenset()


def budget_of(budget: PodDisruptionBudget) -> Budget:
    """What preemption needs of a PodDisruptionBudget."""
    status = budget.status
    return Budget(
        budget.metadata.namespace,
        selector_of(budget.spec.selector),
        status.disruptions_allowed,
        frozenset(status.disrupted_pods),
    )


def split(pods: Iterable[PodInfo], budgets: Iterable[Budget]) -> tuple[list[PodInfo], list[PodInfo]]:
    """Those whose going, in this order, would break a budget, and the others."""
    known = list(budgets)
    left = [budget.allowed for budget in known]
    breaking: list[PodInfo] = []
    harmless: list[PodInfo] = []
    for pod in pods:
        breaks = False
        for i, budget in enumerate(known):
            if (
                budget.namespace != pod.namespace
                or budget.selector.empty
                or not budget.selector.matches(pod.labels)
                or pod.view.metadata.name in budget.disrupted
            ):
                continue
            left[i] -= 1
            breaks = breaks or left[i] < 0
        (breaking if breaks else harmless).append(pod)
    return breaking, harmless

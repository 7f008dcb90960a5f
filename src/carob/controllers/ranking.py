"""Which replicas go first when there are too many.

Pure. Source: kube-controller-manager `controller_utils.go` (ActivePodsWithRanks) and KEP-2185 (ages are compared by
their logarithm, so that the youngest of about equal age is a random one).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.controllers.views import PodView

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_cost(annotations: Mapping[str, str]) -> int:
    """The Pod's wish; 0 for none and for what is no 32-bit number in its plain form."""
    text = annotations.get(DELETION_COST, "")
    try:
        cost = int(text)
    except ValueError:
        return 0
    return cost if str(cost) == text and -(2**31) <= cost < 2**31 else 0


def per_node(pods: Iterable[PodView]) -> dict[str, int]:
    """How many active Pods run on each node."""
    counts: dict[str, int] = {}
    for pod in pods:
        if pod.is_active:
            counts[pod.spec.node_name] = counts.get(pod.spec.node_name, 0) + 1
    return counts


def _age_rank(since: float | None, now: float) -> int:
    """The logarithm of the age; young is small."""
    if not since:
        return -2
    age = now - since
    return math.floor(math.log2(age * 1e9)) if age > 1e-9 else -1


def _restarts(pod: PodView) -> int:
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return max((s.restart_count for s in statuses), default=0)


def doomed_first(pods: Iterable[PodView], related: Mapping[str, int], now: float) -> list[PodView]:
    """The Pods in the order in which they should be deleted.

    Shape: `related` counts, by node, the active Pods of the same owner's sets: the fuller node loses first.
    """

    def order(pod: PodView) -> tuple[object, ...]:
        metadata, spec = pod.metadata, pod.spec
        since = pod.ready_since
        created = parse_rfc3339(metadata.creation_timestamp) if metadata.creation_timestamp else None
        return (
            bool(spec.node_name),
            _PHASES.get(pod.status.phase, 0),
            since is not None,
            deletion_cost(metadata.annotations),
            -related.get(spec.node_name, 0) if spec.node_name else 0,
            _age_rank(since, now) if since is not None else 0,
            -_restarts(pod),
            _age_rank(created, now),
            metadata.uid,
        )

    return sorted(pods, key=order)

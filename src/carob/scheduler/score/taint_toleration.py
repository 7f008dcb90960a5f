"""TaintToleration: fewer PreferNoSchedule taints that the Pod does not tolerate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.score.normalize import normalized
from carob.scheduler.taints import tolerates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot

EFFECT = "PreferNoSchedule"


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Source: scheduler plugin TaintToleration."""
    tolerations = pod.view.spec.tolerations
    counts = [
        sum(
            1
            for taint in (node.view.spec.taints if node.view is not None else ())
            if taint.effect == EFFECT and not tolerates(tolerations, taint.key, taint.value, EFFECT)
        )
        for node in nodes
    ]
    return normalized(counts, reverse=True) if any(counts) else None

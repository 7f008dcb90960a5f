"""TaintToleration: fewer PreferNoSchedule taints that the Pod does not tolerate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.taints import tolerates

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot

EFFECT = "PreferNoSchedule"


def rate(pod: PodInfo, snapshot: Snapshot) -> Rate:
    """Source: scheduler plugin TaintToleration. Shape: to be compared, and the fewer the better."""
    tolerations = pod.view.spec.tolerations

    def disliked(node: NodeInfo) -> int:
        taints = node.view.spec.taints if node.view is not None else ()
        return sum(
            1
            for taint in taints
            if taint.effect == EFFECT and not tolerates(tolerations, taint.key, taint.value, EFFECT)
        )

    return disliked

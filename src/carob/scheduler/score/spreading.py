"""Spreading: the node with the fewest Pods of the same controller, or of the same labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.score.normalize import normalized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """Differs: stands in for upstream's default topology spread constraints."""
    group = pod.group
    if group is None:
        return None
    counts = [node.groups.get(group, 0) for node in nodes]
    return normalized(counts, reverse=True) if any(counts) else None

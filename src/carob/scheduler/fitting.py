"""Whether one node can take one Pod, also when the node was promised to others.

Pure: what is put on a node to try something is taken off again. Source: scheduler
`RunFilterPluginsWithNominatedPods`: a Pod must fit with and without the more important Pods that are to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler import filter as filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check, Rejection


def rejection_of(
    pod: PodInfo, node: NodeInfo, snapshot: Snapshot, prepared: filters.Prepared | None = None
) -> Rejection | None:
    """Why the node cannot take the Pod; None if it can. `prepared`: the checks, if they are at hand."""
    if prepared is None:
        prepared = filters.prepare(pod, snapshot)
    rivals = rivals_of(pod, node.name, snapshot) if snapshot.nominations else []
    if rivals:
        with_them = _among(rivals, pod, node, snapshot, prepared.local)
        if with_them is not None:
            return with_them
    return prepared.rejection(node)


def rejection_of_outsider(
    pod: PodInfo, node: NodeInfo, snapshot: Snapshot, prepared: filters.Prepared
) -> Rejection | None:
    """As `rejection_of`, for any Pod like this one: what is promised to the Pod itself stands in the way too."""
    rivals = [
        other
        for other in snapshot.nominations.on(node.name)
        if other.priority >= pod.priority and not snapshot.is_placed(other.key)
    ]
    with_them = _among(rivals, pod, node, snapshot, prepared.local) if rivals else None
    return with_them or prepared.rejection(node)


def rivals_of(pod: PodInfo, node_name: str, snapshot: Snapshot) -> list[PodInfo]:
    """Pods no less important to which the node was promised, and which are not on any node yet."""
    return [
        other
        for other in snapshot.nominations.on(node_name)
        if other.priority >= pod.priority and other.key != pod.key and not snapshot.is_placed(other.key)
    ]


def _among(
    rivals: list[PodInfo], pod: PodInfo, node: NodeInfo, snapshot: Snapshot, local: Sequence[Check]
) -> Rejection | None:
    with snapshot.trying():
        for rival in rivals:
            snapshot.put(rival, node.name)
        try:
            # the far-sighted ones must see the rivals
            return filters.first_rejection(local, node) or filters.first_rejection(
                filters.far_sighted(pod, snapshot), node
            )
        finally:
            for rival in rivals:
                snapshot.lift(rival.key)

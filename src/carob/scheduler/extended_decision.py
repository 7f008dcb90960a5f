"""A decision with extenders: the scheduler's own filters first, then theirs; its own scores and theirs added.

Touches nothing itself; it waits for the extenders' answers, so that the world may have changed when it ends: the caller
must look again whether the node that was chosen still fits. One Pod at a time, as upstream.
Source: scheduler `schedule_one.go` (findNodesThatPassExtenders, prioritizeNodes), `preemption.go` (callExtenders).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from carob.scheduler import filter as filters
from carob.scheduler import score as scores
from carob.scheduler.decision import Unschedulable, counted, may_preempt, nodes_to_find, unschedulable, without_nodes
from carob.scheduler.fitting import rejection_of
from carob.scheduler.preemption import NoPreemption, best, candidates

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.scheduler.extenders import Extender, Extenders
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.room import Nomination
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Rejection

NO_CANDIDATES = "no candidate node for preemption"


async def decide_with(
    extenders: Extenders,
    asked: list[Extender],
    whole: core_v1.Pod,
    pod: PodInfo,
    snapshot: Snapshot,
    *,
    keep: bool = True,
) -> NodeInfo | Unschedulable:
    """The best node for the Pod, if it had none. Raises: ExtenderError when one that may not be ignored failed.

    `keep`: the search for the next Pod goes on from where this one ended; not where nothing is to come of it.
    """
    hopeless = without_nodes(pod, snapshot)
    if hopeless is not None:
        return hopeless
    promised = snapshot.get(snapshot.nominations.node_of(pod.key))
    if promised is not None and rejection_of(pod, promised, snapshot) is None:
        left, _ = await extenders.filter(asked, whole, [promised])
        if left:
            return promised
    nodes = list(snapshot.nodes())
    with snapshot.without(pod.key):
        rejections, feasible, looked_at = _own_verdicts(pod, nodes, snapshot)
    left, more = await extenders.filter(asked, whole, feasible)
    if not left:
        for position, node in enumerate(nodes):
            rejections[position] = more.get(node.name) or rejections[position]
        return await _none(extenders, asked, whole, pod, snapshot, nodes, rejections, keep=keep)
    if keep:
        snapshot.next_start = looked_at
    # whoever went meanwhile is no place any more
    left = [node for node in left if snapshot.get(node.name) is node]
    if len(left) == 1:
        return left[0]
    theirs = await extenders.prioritize(asked, whole, left)
    left = [node for node in left if snapshot.get(node.name) is node]
    if not left:
        return Unschedulable("the nodes went while extenders were asked", frozenset())
    with snapshot.without(pod.key):
        totals = scores.totals(pod, left, snapshot)
    totals = [total + theirs.get(node.name, 0) for total, node in zip(totals, left, strict=True)]
    return left[totals.index(max(totals))]


def _own_verdicts(
    pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot
) -> tuple[list[Rejection | None], list[NodeInfo], int]:
    prepared = filters.prepare(pod, snapshot)
    wanted = nodes_to_find(len(nodes), snapshot.profile(pod).percentage_of_nodes)
    start = snapshot.next_start % len(nodes)
    rejections: list[Rejection | None] = [None] * len(nodes)
    feasible: list[NodeInfo] = []
    looked_at = start
    for position in chain(range(start, len(nodes)), range(start)):
        looked_at = position + 1
        rejection = rejection_of(pod, nodes[position], snapshot, prepared)
        rejections[position] = rejection
        if rejection is None:
            feasible.append(nodes[position])
            if len(feasible) >= wanted:
                break
    return rejections, feasible, looked_at


async def _none(
    extenders: Extenders,
    asked: list[Extender],
    whole: core_v1.Pod,
    pod: PodInfo,
    snapshot: Snapshot,
    nodes: list[NodeInfo],
    rejections: list[Rejection | None],
    *,
    keep: bool,
) -> Unschedulable:
    counts = counted(rejections)
    made: Nomination | NoPreemption | None = None
    if may_preempt(pod, snapshot) and nodes == snapshot.nodes():
        candidate = snapshot.next_candidate
        with snapshot.without(pod.key):
            found = candidates(pod, snapshot, rejections, counts)
        if not keep:
            snapshot.next_candidate = candidate
        if isinstance(found, NoPreemption):
            made = found
        else:
            left = await extenders.preempt(asked, whole, found, snapshot)
            made = best(left) if left else NoPreemption(NO_CANDIDATES)
    return unschedulable(pod, snapshot, len(nodes), counts, made)

"""One Pod, one decision: the node it gets, or why it gets none, in upstream's words.

Pure. Same Pod, same snapshot, same decision.
Source: scheduler `schedule_one.go` (numFeasibleNodesToFind), `framework.FitError`.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.scheduler import filter as filters
from carob.scheduler import score as scores
from carob.scheduler.alike import REJECTED
from carob.scheduler.devices.pod_devices import NAME as DEVICES
from carob.scheduler.devices.pod_devices import NOTHING_TO_FREE
from carob.scheduler.filter import node_affinity
from carob.scheduler.fitting import rejection_of
from carob.scheduler.pod_volumes import BINDING
from carob.scheduler.preemption import NOT_HELPFUL, preempt
from carob.scheduler.profiles import CLAIMS, PREEMPTION
from carob.scheduler.room import Nomination
from carob.scheduler.score.normalize import normalized

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from carob.scheduler.alike import Alike
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.preemption import NoPreemption, Rooms
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Rejection

NO_NODES = "no nodes available to schedule pods"

# In a large cluster it is enough to look at some of the nodes that fit.
FEWEST_NODES_TO_FIND = 100
LEAST_PERCENTAGE = 5


class Unschedulable(Struct, frozen=True):
    """No node can take the Pod. `plugins`: the filters that said no; empty when there are no nodes at all.

    `nomination` is how room can be made; `keep`: what was promised to the Pod before still stands.
    """

    message: str
    plugins: frozenset[str] = field(default_factory=frozenset)
    nomination: Nomination | None = None
    keep: bool = False


def decide(pod: PodInfo, snapshot: Snapshot, *, keep: bool = True) -> NodeInfo | Unschedulable:
    """The best node for the Pod. Costs some ten microseconds and some more for each node that is looked at.

    `keep`: use and keep what is known of Pods like it; not while the snapshot is only trying something.
    """
    hopeless = without_nodes(pod, snapshot)
    if hopeless is not None:
        return hopeless
    names = node_affinity.named_nodes(pod)
    if names is not None and node_affinity.NAME not in snapshot.profile(pod).disabled_before:
        return _among_named(pod, snapshot, names)
    promised = snapshot.nominations.node_of(pod.key)
    if promised:
        own = snapshot.get(promised)
        if own is not None and rejection_of(pod, own, snapshot) is None:
            return own
    alike = snapshot.alike.of(pod, snapshot) if keep else None
    return _among_all(pod, snapshot, alike) if alike is not None else _among_some(pod, snapshot)


def without_nodes(pod: PodInfo, snapshot: Snapshot) -> Unschedulable | None:
    """Why no node need be looked at; None if they must be."""
    nodes = len(snapshot.nodes())
    if not nodes:
        return Unschedulable(NO_NODES)
    silent = snapshot.profile(pod).disabled_before
    if pod.volumes is not None and pod.volumes.refusal and BINDING not in silent:
        return _refused(nodes, BINDING, pod.volumes.refusal)
    if pod.devices is not None and pod.devices.refusal:
        return _refused(nodes, DEVICES, pod.devices.refusal)
    if node_affinity.named_nodes(pod) == frozenset() and node_affinity.NAME not in silent:
        return _refused(nodes, node_affinity.NAME, node_affinity.CONFLICT)
    return None


def _refused(nodes: int, plugin: str, reason: str) -> Unschedulable:
    """No node can take it for a reason that has nothing to do with nodes."""
    hopeless = _summary(nodes, {NOT_HELPFUL: nodes})
    text = f"0/{nodes} nodes are available: {reason}. {NOTHING_TO_FREE}, preemption: {hopeless}"
    return Unschedulable(text, frozenset((plugin,)))


def _among_named(pod: PodInfo, snapshot: Snapshot, names: Collection[str]) -> NodeInfo | Unschedulable:
    """The best of the nodes that the Pod names; nobody looks at the others."""
    prepared = filters.prepare(pod, snapshot)
    rejections: list[Rejection | None] = [node_affinity.ELSEWHERE] * len(snapshot.nodes())
    feasible: list[NodeInfo] = []
    named = [node for node in map(snapshot.get, names) if node is not None]
    for node in sorted(named, key=lambda one: one.position):
        rejections[node.position] = rejection_of(pod, node, snapshot, prepared)
        if rejections[node.position] is None:
            feasible.append(node)
    if not feasible:
        return _unschedulable(pod, snapshot, rejections, counted(rejections))
    return _best(pod, feasible, snapshot)


def _best(pod: PodInfo, feasible: Sequence[NodeInfo], snapshot: Snapshot) -> NodeInfo:
    if len(feasible) == 1:
        return feasible[0]
    totals = scores.totals(pod, feasible, snapshot)
    return feasible[totals.index(max(totals))]


def _among_some(pod: PodInfo, snapshot: Snapshot) -> NodeInfo | Unschedulable:
    """The best of as many fitting nodes as are enough."""
    nodes = snapshot.nodes()
    checks = filters.prepare(pod, snapshot)
    wanted = nodes_to_find(len(nodes), snapshot.profile(pod).percentage_of_nodes)
    start = snapshot.next_start % len(nodes)
    rejections: list[Rejection | None] = [None] * len(nodes)
    feasible: list[NodeInfo] = []
    looked_at = 0
    for node in _from(nodes, start):
        looked_at += 1
        rejection = rejection_of(pod, node, snapshot, checks)
        if rejection is not None:
            rejections[node.position] = rejection
            continue
        feasible.append(node)
        if len(feasible) >= wanted:
            break
    if not feasible:
        return _unschedulable(pod, snapshot, rejections, counted(rejections))
    snapshot.next_start = (start + looked_at) % len(nodes)
    return _best(pod, feasible, snapshot)


def _among_all(pod: PodInfo, snapshot: Snapshot, alike: Alike) -> NodeInfo | Unschedulable:
    """As above, but what each node by itself is worth is known already."""
    nodes = snapshot.nodes()
    totals = alike.totals
    fitting = len(nodes) - alike.sums.get(REJECTED, 0)
    if not fitting:
        return _unschedulable(pod, snapshot, alike.rejections, alike.counts, alike.rooms)
    far = filters.far_sighted(pod, snapshot)
    # a node that was promised to somebody more important must do with both
    local = not far and not snapshot.nominations.demanding()
    rivals = alike.rejected_for_rivals(pod, snapshot, local=local) if snapshot.nominations else {}
    start = snapshot.next_start % len(nodes)
    if not far and not rivals and not alike.unequal and not scores.compares(pod, snapshot):
        best = max(alike.sums)
        # of equal ones in turn, so that they are filled evenly
        try:
            chosen = totals.index(best, start)
        except ValueError:
            chosen = totals.index(best)
        snapshot.next_start = chosen + 1
        return nodes[chosen]
    rejections = list(alike.rejections) if far or rivals else alike.rejections
    if not far and fitting == len(rivals):
        counts = dict(alike.counts)
        for position, rival in rivals.items():
            rejections[position] = rival
            counts[rival] = counts.get(rival, 0) + 1
        return _unschedulable(pod, snapshot, rejections, counts, alike.rooms)
    wanted = nodes_to_find(len(nodes), snapshot.profile(pod).percentage_of_nodes)
    feasible: list[int] = []
    position = start
    for position in chain(range(start, len(nodes)), range(start)):
        if totals[position] == REJECTED:
            continue
        node = nodes[position]
        rejection = rivals.get(position) or (filters.first_rejection(far, node) if far else None)
        if rejection is not None:
            rejections[position] = rejection
            continue
        feasible.append(position)
        if len(feasible) >= wanted:
            break
    if not feasible:
        return _unschedulable(pod, snapshot, rejections, counted(rejections), alike.rooms)
    snapshot.next_start = position + 1
    sums = [totals[i] for i in feasible]
    for values, weight, reverse in alike.raw:
        raw = [values[i] for i in feasible]
        if any(raw):
            scores.add(sums, normalized(raw, reverse=reverse), weight)
    chosen_from = [nodes[i] for i in feasible]
    for _, weight, compared in scores.compared(pod, chosen_from, snapshot):
        scores.add(sums, compared, weight)
    return chosen_from[sums.index(max(sums))]


def counted(rejections: Sequence[Rejection | None]) -> dict[Rejection, int]:
    """How many nodes were rejected for what."""
    found: dict[Rejection, int] = {}
    for rejection in rejections:
        if rejection is not None:
            found[rejection] = found.get(rejection, 0) + 1
    return found


def _unschedulable(
    pod: PodInfo,
    snapshot: Snapshot,
    rejections: Sequence[Rejection | None],
    counts: Mapping[Rejection, int],
    rooms: Rooms | None = None,
) -> Unschedulable:
    made = preempt(pod, snapshot, rejections, counts, rooms) if may_preempt(pod, snapshot) else None
    return unschedulable(pod, snapshot, len(rejections), counts, made)


def may_preempt(pod: PodInfo, snapshot: Snapshot) -> bool:
    """Whether the profile lets others go for its Pods."""
    return PREEMPTION in snapshot.profile(pod).post_filters


def unschedulable(
    pod: PodInfo,
    snapshot: Snapshot,
    nodes: int,
    counts: Mapping[Rejection, int],
    made: Nomination | NoPreemption | None,
) -> Unschedulable:
    """What is said when of `nodes` nodes none can take the Pod; `made` is what preemption said, if it was asked."""
    plugins = frozenset(rejection.plugin for rejection in counts)
    reasons: dict[str, int] = {}
    for rejection, count in counts.items():
        for reason in rejection.reasons:
            reasons[reason] = reasons.get(reason, 0) + count
    said = _summary(nodes, reasons)
    if isinstance(made, Nomination):
        return Unschedulable(said, plugins, made)
    freed = pod.devices.after_filters(pod.uid)[0] if pod.devices is not None else NOTHING_TO_FREE
    more = [freed] if CLAIMS in snapshot.profile(pod).post_filters else []
    if made is not None:
        more.append(f"preemption: {made.text or _summary(nodes, made.reasons or {})}")
    return Unschedulable(" ".join(filter(None, (said, ", ".join(more)))), plugins, keep=made is not None and made.keep)


def _from(nodes: list[NodeInfo], start: int) -> Iterable[NodeInfo]:
    return nodes if start == 0 else [*nodes[start:], *nodes[:start]]


def nodes_to_find(nodes: int, percentage: int = 0) -> int:
    """How many fitting nodes are enough to choose from; a percentage of 0 depends on how many there are."""
    if nodes <= FEWEST_NODES_TO_FIND:
        return nodes
    percentage = percentage or max(50 - nodes // 125, LEAST_PERCENTAGE)
    return max(nodes * percentage // 100, FEWEST_NODES_TO_FIND)


def _summary(nodes: int, reasons: Mapping[str, int]) -> str:
    said = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{nodes} nodes are available: {said}."

"""Which less important Pods must go so that a Pod that found no node gets one: as few, and as unimportant, as can be.

Pure. What would have to go from each node (`room.py`) is kept for Pods that are alike, and worked out anew only for nodes
that changed; so many Pods of one sort that make room for themselves cost little each.
Source: scheduler `framework/preemption/preemption.go`, `plugins/defaultpreemption`.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.scheduler.room import NO_VICTIMS, Nomination, room_maker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.scheduler.budgets import Budget
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.room import MakeRoom
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Rejection

NOT_HELPFUL = "Preemption is not helpful for scheduling"
MAY_NOT_PREEMPT = "not eligible due to preemptionPolicy=Never."
WAITS_FOR_VICTIMS = "not eligible due to a terminating pod on the nominated node."


class NoPreemption(Struct, frozen=True):
    """Why nobody goes: a text for the whole cluster, or how many nodes have which reason. `keep`: an older promise
    stands."""

    text: str = ""
    reasons: Mapping[str, int] | None = None
    keep: bool = False


class Rooms:
    """What would have to go from each node for Pods of one sort and priority, as far as somebody asked."""

    def __init__(self) -> None:
        self._budgets: tuple[Budget, ...] = ()
        self._kept: dict[int, dict[str, tuple[int, Nomination | tuple[str, ...]]]] = {}

    def of(self, priority: int, budgets: tuple[Budget, ...]) -> dict[str, tuple[int, Nomination | tuple[str, ...]]]:
        """By the node's name, each with the version of the node that it is true of."""
        if budgets is not self._budgets:
            self._budgets = budgets
            self._kept.clear()
        return self._kept.setdefault(priority, {})


def preempt(
    pod: PodInfo,
    snapshot: Snapshot,
    rejections: Sequence[Rejection | None],
    counts: Mapping[Rejection, int],
    rooms: Rooms | None = None,
) -> Nomination | NoPreemption:
    """The best way to make room. `rejections` is what the filters said of each node, `counts` how often which."""
    found = candidates(pod, snapshot, rejections, counts, rooms)
    return found if isinstance(found, NoPreemption) else best(found)


def candidates(
    pod: PodInfo,
    snapshot: Snapshot,
    rejections: Sequence[Rejection | None],
    counts: Mapping[Rejection, int],
    rooms: Rooms | None = None,
) -> list[Nomination] | NoPreemption:
    """As many ways to make room as are enough to choose from; never an empty list."""
    if pod.view.spec.preemption_policy == "Never":
        return NoPreemption(MAY_NOT_PREEMPT)
    if _waits(pod, snapshot, rejections):
        return NoPreemption(WAITS_FOR_VICTIMS, keep=True)
    nodes = snapshot.nodes()
    hopeless = sum(count for rejection, count in counts.items() if not rejection.resolvable)
    hopeful = len(nodes) - hopeless
    reasons = {NOT_HELPFUL: hopeless} if hopeless else {}
    if not hopeful or not snapshot.has_priority_below(pod.priority):
        return NoPreemption(reasons=reasons | ({NO_VICTIMS: hopeful} if hopeful else {}))
    profile = snapshot.profile(pod)
    enough = max(profile.least_candidates, hopeful * profile.least_candidates_percentage // 100)
    found: list[Nomination] = []
    clean = False
    make = _Maker(pod, snapshot, rooms)
    # on from where the last search ended: the nodes before have just been promised away
    start = snapshot.next_candidate % len(nodes)
    for position in chain(range(start, len(nodes)), range(start)):
        rejection = rejections[position]
        if rejection is None or not rejection.resolvable:
            continue
        made = make(nodes[position])
        snapshot.next_candidate = position + 1
        if isinstance(made, Nomination):
            found.append(made)
            clean = clean or not made.violations
            if clean and len(found) >= enough:
                break
        else:
            for reason in made:
                reasons[reason] = reasons.get(reason, 0) + 1
    return found or NoPreemption(reasons=reasons)


class _Maker:
    """Who must leave a node for this Pod: as it is kept, where nothing has changed."""

    def __init__(self, pod: PodInfo, snapshot: Snapshot, rooms: Rooms | None) -> None:
        self._make: MakeRoom
        self._make, keepable = room_maker(pod, snapshot)
        self._kept = rooms.of(pod.priority, snapshot.budgets) if rooms is not None and keepable else None
        # what is promised to the Pod itself does not stand in its own way, but in that of others like it
        self._own = snapshot.nominations.node_of(pod.key)

    def __call__(self, node: NodeInfo) -> Nomination | tuple[str, ...]:
        kept = self._kept
        if kept is None or node.name == self._own:
            return self._make(node)
        known = kept.get(node.name)
        if known is not None and known[0] == node.version:
            return known[1]
        made = self._make(node)
        kept[node.name] = (node.version, made)
        return made


def _waits(pod: PodInfo, snapshot: Snapshot, rejections: Sequence[Rejection | None]) -> bool:
    """Whether room was made already and those who must go are still on their way out."""
    promised = snapshot.nominations.node_of(pod.key)
    node = snapshot.get(promised) if promised else None
    if node is None:
        return False
    rejection = rejections[node.position]
    if rejection is not None and not rejection.resolvable:
        return False
    return any(
        (other.deleting or snapshot.is_leaving(other)) and other.priority < pod.priority for other in node.pods.values()
    )


def best(found: Sequence[Nomination]) -> Nomination:
    """The one that does the least harm. Source: `pickOneNodeForPreemption`: each rule decides only between those that the rules before leave."""
    least = min(one.rank for one in found)
    return max((one for one in found if one.rank == least), key=lambda one: one.started)

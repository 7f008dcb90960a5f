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
    from carob.scheduler.pods import PodInfo
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
    """What would have to go from each node for Pods of one sort, as far as somebody asked."""

    def __init__(self) -> None:
        self._budgets: tuple[Budget, ...] = ()
        self._kept: dict[int, KeptRooms] = {}

    def of(self, priority: int, snapshot: Snapshot) -> list[Nomination | tuple[str, ...] | None]:
        """By the node's position, true of now; None where nobody knows."""
        if snapshot.budgets is not self._budgets:
            self._budgets = snapshot.budgets
            self._kept.clear()
        kept = self._kept.get(priority)
        if kept is None or kept.epoch != snapshot.epoch:
            kept = self._kept[priority] = KeptRooms(snapshot)
        kept.refresh(snapshot)
        return kept.made


class KeptRooms:
    """For Pods of one sort and priority, until the cluster has become another one."""

    __slots__ = ("_read", "epoch", "made")

    def __init__(self, snapshot: Snapshot) -> None:
        self.epoch = snapshot.epoch
        self.made: list[Nomination | tuple[str, ...] | None] = [None] * len(snapshot.nodes())
        self._read = len(snapshot.changes)

    def refresh(self, snapshot: Snapshot) -> None:
        """Forget what is known of nodes that have changed."""
        made = self.made
        for position in snapshot.changes[self._read :]:
            made[position] = None
        self._read = len(snapshot.changes)


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
    make, keepable = room_maker(pod, snapshot)
    known = rooms.of(pod.priority, snapshot) if rooms is not None and keepable else None
    # what is promised to the Pod itself does not stand in its own way, but in that of others like it
    own = snapshot.get(snapshot.nominations.node_of(pod.key))
    own_position = own.position if own is not None else -1
    found: list[Nomination] = []
    refused: list[tuple[str, ...]] = []
    clean = False
    # on from where the last search ended: the nodes before have just been promised away
    start = snapshot.next_candidate % len(nodes)
    for position in chain(range(start, len(nodes)), range(start)):
        rejection = rejections[position]
        if rejection is None or not rejection.resolvable:
            continue
        made = known[position] if known is not None and position != own_position else None
        if made is None:
            made = make(nodes[position])
            if known is not None and position != own_position:
                known[position] = made
        snapshot.next_candidate = position + 1
        if isinstance(made, tuple):
            refused.append(made)
            continue
        found.append(made)
        clean = clean or not made.violations
        if clean and len(found) >= enough:
            break
    if found:
        return found
    for reason in chain.from_iterable(refused):
        reasons[reason] = reasons.get(reason, 0) + 1
    return NoPreemption(reasons=reasons)


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

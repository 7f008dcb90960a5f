"""Which less important Pods must go so that a Pod that found no node gets one: as few, and as unimportant, as can be.

Pure: Pods are lifted off a node to try, and put back. Invariant: a victim's priority is lower than the Pod's, and
without any one of the victims staying away the Pod would not fit.
Source: scheduler `framework/preemption/preemption.go`, `plugins/defaultpreemption`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from carob.scheduler import filter as filters
from carob.scheduler.budgets import split
from carob.scheduler.fitting import rejection_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Rejection

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
MAY_NOT_PREEMPT = "not eligible due to preemptionPolicy=Never."
WAITS_FOR_VICTIMS = "not eligible due to a terminating pod on the nominated node."

# Source: DefaultPreemptionArgs.
LEAST_CANDIDATES = 100
LEAST_CANDIDATES_PERCENTAGE = 10

NOT_STARTED = "~"
"""Later than every timestamp."""


@dataclass(frozen=True, slots=True)
class Nomination:
    """The node that the Pod shall get, and who must leave it. `violations`: budgets that this breaks."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int = 0


@dataclass(frozen=True, slots=True)
class NoPreemption:
    """Why nobody goes: a text for the whole cluster, or the reasons of each node. `keep`: an older promise stands."""

    text: str = ""
    reasons: tuple[str, ...] = ()
    keep: bool = False


def preempt(pod: PodInfo, snapshot: Snapshot, rejections: Mapping[str, Rejection]) -> Nomination | NoPreemption:
    """The best way to make room; `rejections` is what the filters said of each node."""
    if pod.view.spec.preemption_policy == "Never":
        return NoPreemption(MAY_NOT_PREEMPT)
    if _waits(pod, snapshot, rejections):
        return NoPreemption(WAITS_FOR_VICTIMS, keep=True)
    reasons = [NOT_HELPFUL for rejection in rejections.values() if not rejection.resolvable]
    hopeful = [name for name, rejection in rejections.items() if rejection.resolvable]
    if not snapshot.has_priority_below(pod.priority):
        return NoPreemption(reasons=(*reasons, *(NO_VICTIMS for _ in hopeful)))
    enough = max(LEAST_CANDIDATES, len(snapshot.nodes()) * LEAST_CANDIDATES_PERCENTAGE // 100)
    found: list[Nomination] = []
    clean = False
    for name in hopeful:
        node = snapshot.get(name)
        assert node is not None, name
        made = make_room(pod, node, snapshot)
        if isinstance(made, Nomination):
            found.append(made)
            clean = clean or not made.violations
            if clean and len(found) >= enough:
                break
        else:
            reasons += made
    return _best(found) if found else NoPreemption(reasons=tuple(reasons))


def _waits(pod: PodInfo, snapshot: Snapshot, rejections: Mapping[str, Rejection]) -> bool:
    """Whether room was made already and those who must go are still on their way out."""
    promised = snapshot.nominations.node_of(pod.key)
    node = snapshot.get(promised) if promised else None
    rejection = rejections.get(promised)
    if node is None or (rejection is not None and not rejection.resolvable):
        return False
    return any(
        (other.deleting or snapshot.is_leaving(other)) and other.priority < pod.priority for other in node.pods.values()
    )


def make_room(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Nomination | tuple[str, ...]:
    """Who must leave this node; the reasons why it would not help when it would not."""
    lower = sorted((one for one in node.pods.values() if one.priority < pod.priority), key=importance)
    if not lower:
        return (NO_VICTIMS,)
    for other in lower:
        snapshot.lift(other.key)
    gone = {other.key: other for other in lower}
    local = filters.local(pod, snapshot)

    def rejected() -> Rejection | None:
        return rejection_of(pod, node, snapshot, [*local, *filters.far_sighted(pod, snapshot)])

    try:
        rejection = rejected()
        if rejection is not None:
            return rejection.reasons
        violations = 0
        breaking, harmless = split(lower, snapshot.budgets)
        for group in (breaking, harmless):
            for other in group:
                snapshot.put(other, node.name)
                if rejected() is None:
                    del gone[other.key]
                else:
                    snapshot.lift(other.key)
                    violations += group is breaking
        return Nomination(node.name, tuple(sorted(gone.values(), key=importance)), violations)
    finally:
        for other in gone.values():
            snapshot.put(other, node.name)


def importance(pod: PodInfo) -> tuple[int, str]:
    """Sorts the most important first: by priority, then who has run for longest."""
    return -pod.priority, pod.started or NOT_STARTED


def _best(found: list[Nomination]) -> Nomination:
    """Source: `pickOneNodeForPreemption`: each rule decides only between those that the rules before leave."""
    least = min(_cost(one) for one in found)
    equal = [one for one in found if _cost(one) == least]
    return max(equal, key=_started_latest)


def _cost(one: Nomination) -> tuple[int, int, int, int]:
    victims = one.victims
    if not victims:
        return one.violations, -(1 << 31), 0, 0
    return one.violations, victims[0].priority, sum(v.priority + (1 << 31) for v in victims), len(victims)


def _started_latest(one: Nomination) -> str:
    if not one.victims:
        return NOT_STARTED
    highest = one.victims[0].priority
    return min(v.started or NOT_STARTED for v in one.victims if v.priority == highest)

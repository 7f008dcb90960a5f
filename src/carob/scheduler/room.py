"""Who must leave one node so that a Pod gets room there: nobody who could stay.

Pure. Two ways to the same answer: *by trying*, with every filter, Pods lifted off the node and put back; and *by
reckoning*, where nothing but amounts, places and ports can keep the Pod away, which is the usual case and some fifty
times cheaper. Invariant: a victim's priority is lower than the Pod's, and if any one of them stayed the Pod would not fit.
Source: scheduler `plugins/defaultpreemption` (SelectVictimsOnNode).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from carob.scheduler import filter as filters
from carob.scheduler.budgets import split
from carob.scheduler.filter import node_ports, node_resources_fit
from carob.scheduler.fitting import rejection_of, rivals_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo, UsedPort
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Rejection

NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_STARTED = "~"
"""Later than every timestamp."""
LEAST_PRIORITY = 1 << 31

Rank = tuple[int, int, int, int]


class Nomination(Struct, frozen=True):
    """The node that the Pod shall get, and who must leave it, the most important first.

    `violations`: budgets that this breaks; `rank`: the smaller the less harm; `started`: when the first of the most
    important victims began.
    """

    node: str
    victims: tuple[PodInfo, ...]
    violations: int = 0
    rank: Rank = (0, 0, 0, 0)
    started: str = NOT_STARTED


MakeRoom: TypeAlias = "Callable[[NodeInfo], Nomination | tuple[str, ...]]"
"""Who must leave the node; the reasons why it would not help when it would not."""


def room_maker(pod: PodInfo, snapshot: Snapshot) -> tuple[MakeRoom, bool]:
    """The way for this Pod, and whether its answers depend on nothing but the node, what is promised, and budgets."""
    if filters.far_sighted(pod, snapshot) or _speak_of(pod, snapshot):
        return lambda node: by_trying(pod, node, snapshot), False
    return _reckoner(pod, snapshot), True


def _speak_of(pod: PodInfo, snapshot: Snapshot) -> bool:
    """Whether a Pod that was promised a node, and is counted on none yet, brings rules about this one."""
    return any(
        term.matches(pod, snapshot.namespaces)
        for other in snapshot.nominations.demanding()
        for term in other.terms.anti_affinity
    )


def by_trying(pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Nomination | tuple[str, ...]:
    """Ask every filter anew for each Pod that could stay."""
    lower = lower_on(node, pod.priority)
    if not lower:
        return (NO_VICTIMS,)
    gone = {other.key: other for other in lower}
    local = filters.local(pod, snapshot)

    def rejected() -> Rejection | None:
        # the far-sighted ones must look again at who is there now
        return rejection_of(pod, node, snapshot, filters.Prepared(local, filters.far_sighted(pod, snapshot)))

    with snapshot.trying():
        for other in lower:
            snapshot.lift(other.key)
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
            return nomination(node, gone.values(), violations)
        finally:
            for other in gone.values():
                snapshot.put(other, node.name)


def _reckoner(pod: PodInfo, snapshot: Snapshot) -> MakeRoom:
    profile = snapshot.profile(pod)
    disabled = profile.disabled_filters
    wanted = node_resources_fit.wanted_of(pod, profile) if node_resources_fit.NAME not in disabled else []
    counted = node_resources_fit.NAME not in disabled
    ports = pod.ports if node_ports.NAME not in disabled else ()
    names = [name for name, _ in wanted]
    static = filters.indifferent(pod, snapshot)

    def make(node: NodeInfo) -> Nomination | tuple[str, ...]:
        lower = lower_on(node, pod.priority)
        if not lower:
            return (NO_VICTIMS,)
        rejection = filters.first_rejection(static, node)
        if rejection is not None:
            return rejection.reasons
        rivals = rivals_of(pod, node.name, snapshot) if snapshot.nominations else []
        takes = [[other.requests.get(name, 0) for name in names] for other in lower]
        # what is left when the Pod and its rivals are there, and nobody less important
        left = [node.allocatable.get(name, 0) - node.requested.get(name, 0) - value for name, value in wanted]
        for rival in rivals:
            left = [have - rival.requests.get(name, 0) for have, name in zip(left, names, strict=True)]
        left = [have + sum(of) for have, of in zip(left, zip(*takes, strict=True), strict=True)] if names else []
        places = node.allowed_pods - len(node.pods) - len(rivals) + len(lower) - 1
        if ports and _ports_taken(ports, node, lower, rivals):
            return node_ports.TAKEN.reasons
        if counted and (places < 0 or any(have < 0 for have in left)):
            short = [node_resources_fit.TOO_MANY_PODS] if places < 0 else []
            short += [f"Insufficient {name}" for name, have in zip(names, left, strict=True) if have < 0]
            return tuple(short)
        taken = {other.key: take for other, take in zip(lower, takes, strict=True)}
        victims: list[PodInfo] = []
        violations = 0
        breaking, harmless = split(lower, snapshot.budgets) if snapshot.budgets else ((), lower)
        for group in (breaking, harmless):
            for other in group:
                rest = [have - more for have, more in zip(left, taken[other.key], strict=True)]
                stays = not counted or (places > 0 and all(have >= 0 for have in rest))
                if stays and not (ports and _conflict(ports, other)):
                    left, places = rest, places - 1
                else:
                    victims.append(other)
                    violations += group is breaking
        return nomination(node, victims, violations)

    return make


def _conflict(ports: Sequence[UsedPort], other: PodInfo) -> bool:
    return any(port.conflicts(used) for used in other.ports for port in ports)


def _ports_taken(
    ports: Sequence[UsedPort], node: NodeInfo, lower: Sequence[PodInfo], rivals: Sequence[PodInfo]
) -> bool:
    """Whether a port is taken by somebody who stays."""
    going = {other.key for other in lower}
    staying = (other for other in node.pods.values() if other.key not in going)
    return any(_conflict(ports, other) for other in (*staying, *rivals))


def lower_on(node: NodeInfo, priority: int) -> list[PodInfo]:
    """The less important Pods of a node, the most important of them first."""
    return sorted((one for one in node.pods.values() if one.priority < priority), key=importance)


def importance(pod: PodInfo) -> tuple[int, str]:
    """Sorts the most important first: by priority, then who has run for longest."""
    return -pod.priority, pod.started or NOT_STARTED


def nomination(node: NodeInfo, victims: Iterable[PodInfo], violations: int) -> Nomination:
    """With what is needed to compare it. Source: `pickOneNodeForPreemption`."""
    found = tuple(sorted(victims, key=importance))
    if not found:
        return Nomination(node.name, (), violations, (violations, -LEAST_PRIORITY, 0, 0))
    highest = found[0].priority
    rank = (violations, highest, sum(one.priority + LEAST_PRIORITY for one in found), len(found))
    started = min(one.started or NOT_STARTED for one in found if one.priority == highest)
    return Nomination(node.name, found, violations, rank, started)

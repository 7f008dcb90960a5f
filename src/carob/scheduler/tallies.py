"""How many Pods of a sort there are in each zone, rack, host …: counted once, then kept up to date Pod by Pod.

Pure; a part of the snapshot. Without it every decision about affinity or spreading would look at every Pod.

- a *crowd* is all Pods of one namespace and one set of labels: to whom a rule speaks is asked once for all of them;
- a *tally* counts the Pods of which a rule of an incoming Pod speaks; made from the crowds when the first such Pod comes,
  forgotten when it is not asked about for long, or when a node's labels or taints change;
- *used terms* are the other direction: what the Pods that have a node say about incoming ones.

Invariant: a tally's counts are those that a look at every Pod would give.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pod_terms import PodTerm
    from carob.scheduler.pods import Group, PodInfo

MatchesNode: TypeAlias = "Callable[[NodeInfo], bool]"

K = TypeVar("K", bound=Hashable)

MAX_TALLIES = 1024
"""Each costs the Pods of which it speaks a look; the one that was not asked about for longest goes first."""
MAX_PLACES = 64
MAX_MATCHED = 4096

ANTI, AFFINITY, PREFERRED = "anti-affinity", "affinity", "preferred"


class Asked(NamedTuple):
    """Of which Pods a rule speaks, by their namespace and their labels; `living`: of those alone that are not told to go."""

    namespace: Callable[[str], bool]
    labels: Callable[[Mapping[str, str]], bool]
    living: bool = False


class Crowd:
    """The Pods of one namespace and one set of labels, by node; those who were told to go once more apart."""

    __slots__ = ("labels", "leaving", "nodes", "tallies")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.nodes: dict[str, int] = {}
        self.leaving: dict[str, int] | None = None
        self.tallies: tuple[Tally, ...] = ()
        """Those that speak of them."""


class Places:
    """Where a rule counts: the value of each eligible node, by the node's name; and every value with a count of 0.

    Shared by all rules that count at the same places, and never changed.
    """

    __slots__ = ("counts", "values")

    def __init__(self, topology_key: str, nodes: Iterable[NodeInfo], eligible: MatchesNode | None) -> None:
        self.values: dict[str, str] = {}
        for node in nodes:
            value = node.labels.get(topology_key)
            if value is not None and (eligible is None or eligible(node)):
                self.values[node.name] = value
        self.counts = dict.fromkeys(self.values.values(), 0)


class Tally:
    """Pods by the value of their node's label. `counts` has every value of an eligible node, also those without Pods."""

    __slots__ = ("asked", "counts", "crowds", "total", "values")

    def __init__(self, places: Places, asked: Asked) -> None:
        self.asked = asked
        self.values = places.values
        self.counts = places.counts.copy()
        self.total = 0
        self.crowds: set[Crowd] = set()

    def add(self, node_name: str, count: int) -> None:
        """So many Pods came to a node, or went."""
        value = self.values.get(node_name)
        if value is not None:
            self.counts[value] += count
            self.total += count


class Tallies:
    """The crowds, and the tallies that are kept, by what they count."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tally] = {}
        self._places: dict[Hashable, Places] = {}
        self._crowds: dict[str, dict[Group, Crowd]] = {}
        """By namespace."""

    def get(self, key: Hashable, make: Callable[[], Tally]) -> Tally:
        """The tally of this key, made if need be."""
        kept = self._kept
        tally = kept.pop(key, None)
        if tally is None:
            if len(kept) >= MAX_TALLIES:
                _forget(kept.pop(next(iter(kept))))
            tally = make()
            self._fill(tally)
        kept[key] = tally
        return tally

    def places(self, key: Hashable, make: Callable[[], Places]) -> Places:
        """The places of this key, found if need be."""
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= MAX_PLACES:
                del self._places[next(iter(self._places))]
            found = self._places[key] = make()
        return found

    def count(self, pod: PodInfo, node_name: str, sign: int) -> None:
        """A Pod came to a node, or went."""
        space = self._crowds.get(pod.namespace)
        if space is None:
            space = self._crowds[pod.namespace] = {}
        crowd = space.get(pod.group)
        if crowd is None:
            crowd = space[pod.group] = Crowd(pod.labels)
            for tally in self._kept.values():
                if tally.asked.labels(pod.labels) and tally.asked.namespace(pod.namespace):
                    _join(crowd, tally)
        add(crowd.nodes, node_name, sign)
        if pod.deleting:
            if crowd.leaving is None:
                crowd.leaving = {}
            add(crowd.leaving, node_name, sign)
        for tally in crowd.tallies:
            if not (pod.deleting and tally.asked.living):
                tally.add(node_name, sign)
        if not crowd.nodes:
            del space[pod.group]
            if not space:
                del self._crowds[pod.namespace]
            for tally in crowd.tallies:
                tally.crowds.discard(crowd)

    def clear(self) -> None:
        """Nodes or namespaces are not what they were."""
        for tally in self._kept.values():
            for crowd in tally.crowds:
                crowd.tallies = ()
        self._kept.clear()
        self._places.clear()

    def _fill(self, tally: Tally) -> None:
        asked = tally.asked
        for namespace, space in self._crowds.items():
            if not asked.namespace(namespace):
                continue
            for crowd in space.values():
                if not asked.labels(crowd.labels):
                    continue
                _join(crowd, tally)
                for name, count in crowd.nodes.items():
                    tally.add(name, count)
                for name, count in (crowd.leaving or {}).items() if asked.living else ():
                    tally.add(name, -count)


def _join(crowd: Crowd, tally: Tally) -> None:
    crowd.tallies = (*crowd.tallies, tally)
    tally.crowds.add(crowd)


def _forget(tally: Tally) -> None:
    for crowd in tally.crowds:
        crowd.tallies = tuple(one for one in crowd.tallies if one is not tally)


class UsedTerm:
    """A term that Pods on nodes have: how many of them, by node, and by the topology value of their nodes."""

    __slots__ = ("kind", "nodes", "term", "values", "weight")

    def __init__(self, kind: str, term: PodTerm, weight: int) -> None:
        self.kind = kind
        self.term = term
        self.weight = weight
        self.nodes: dict[str, int] = {}
        self.values: dict[str, int] | None = None
        """None: to be counted again when somebody asks."""


class UsedTerms:
    """The terms of all Pods that have a node."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, PodTerm, int], UsedTerm] = {}
        self._matched: dict[Group, tuple[UsedTerm, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._used)

    def __iter__(self) -> Iterator[UsedTerm]:
        return iter(self._used.values())

    def about(self, pod: PodInfo, namespaces: Mapping[str, Mapping[str, str]]) -> tuple[UsedTerm, ...]:
        """Those that speak of the Pod; remembered for all Pods of its namespace and labels."""
        if not self._used:
            return ()
        found = self._matched.get(pod.group)
        if found is None:
            if len(self._matched) >= MAX_MATCHED:
                self._matched.clear()
            found = tuple(one for one in self._used.values() if one.term.matches(pod, namespaces))
            self._matched[pod.group] = found
        return found

    def forget_matches(self) -> None:
        """Namespaces have other labels than before."""
        self._matched.clear()

    def count(self, pod: PodInfo, node: NodeInfo, sign: int) -> None:
        """A Pod came to a node, or went."""
        affinity, anti_affinity, preferred = pod.terms
        for term in affinity:
            self._count(AFFINITY, term, 0, node, sign)
        for term in anti_affinity:
            self._count(ANTI, term, 0, node, sign)
        for term, weight in preferred:
            self._count(PREFERRED, term, weight, node, sign)

    def _count(self, kind: str, term: PodTerm, weight: int, node: NodeInfo, sign: int) -> None:
        key = (kind, term, weight)
        used = self._used.get(key)
        if used is None:
            used = self._used[key] = UsedTerm(kind, term, weight)
            self._matched.clear()
        add(used.nodes, node.name, sign)
        if not used.nodes:
            del self._used[key]
            self._matched.clear()
        value = node.labels.get(term.topology_key)
        if used.values is not None and value is not None:
            add(used.values, value, sign)

    def values(self, used: UsedTerm, labels: Callable[[str], dict[str, str]]) -> dict[str, int]:
        """How many Pods have the term, by the value of its topology key; `labels` are a node's."""
        if used.values is None:
            used.values = {}
            for name, count in used.nodes.items():
                value = labels(name).get(used.term.topology_key)
                if value is not None:
                    add(used.values, value, count)
        return used.values

    def labels_changed(self) -> None:
        """A node has other labels than before."""
        for used in self._used.values():
            used.values = None


def add(counts: dict[K, int], key: K, more: int) -> None:
    """Add; what comes to nothing is forgotten."""
    left = counts.get(key, 0) + more
    if left:
        counts[key] = left
    else:
        counts.pop(key, None)

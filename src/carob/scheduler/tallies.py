"""How many Pods of a sort there are in each zone, rack, host …: counted once, then kept up to date Pod by Pod.

Pure; a part of the snapshot. Without it every decision about affinity or spreading would look at every Pod.

- a *tally* counts the Pods of which a rule of an incoming Pod speaks; made when the first such Pod comes, forgotten
  when it is not asked about for long, or when a node's labels or taints change;
- *used terms* are the other direction: what the Pods that have a node say about incoming ones.

Invariant: a tally's counts are those that a look at every Pod would give.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pod_terms import PodTerm
    from carob.scheduler.pods import PodInfo

MatchesPod: TypeAlias = "Callable[[PodInfo], bool]"
MatchesNode: TypeAlias = "Callable[[NodeInfo], bool]"

K = TypeVar("K", bound=Hashable)

MAX_TALLIES = 64
"""Each costs every arriving Pod a look; the one that was not asked about for longest goes first."""

ANTI, AFFINITY, PREFERRED = "anti-affinity", "affinity", "preferred"


class Tally:
    """Pods by the value of their node's label. `counts` has every value of an eligible node, also those without Pods."""

    __slots__ = ("_matches", "counts", "total", "values")

    def __init__(
        self, topology_key: str, nodes: Iterable[NodeInfo], eligible: MatchesNode | None, matches: MatchesPod
    ) -> None:
        self._matches = matches
        self.values: dict[str, str] = {}
        """The value of each eligible node, by the node's name."""
        self.counts: dict[str, int] = {}
        self.total = 0
        for node in nodes:
            value = node.labels.get(topology_key)
            if value is None or (eligible is not None and not eligible(node)):
                continue
            found = sum(1 for pod in node.pods.values() if matches(pod))
            self.values[node.name] = value
            self.counts[value] = self.counts.get(value, 0) + found
            self.total += found

    def count(self, pod: PodInfo, node_name: str, sign: int) -> None:
        """A Pod came to a node, or went."""
        value = self.values.get(node_name)
        if value is not None and self._matches(pod):
            self.counts[value] += sign
            self.total += sign


class Tallies:
    """The tallies that are kept, by what they count."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tally] = {}

    def get(self, key: Hashable, make: Callable[[], Tally]) -> Tally:
        """The tally of this key, made if need be."""
        kept = self._kept
        tally = kept.pop(key, None)
        if tally is None:
            if len(kept) >= MAX_TALLIES:
                del kept[next(iter(kept))]
            tally = make()
        kept[key] = tally
        return tally

    def count(self, pod: PodInfo, node_name: str, sign: int) -> None:
        """A Pod came to a node, or went."""
        for tally in self._kept.values():
            tally.count(pod, node_name, sign)

    def clear(self) -> None:
        """Nodes or namespaces are not what they were."""
        self._kept.clear()


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

    def __bool__(self) -> bool:
        return bool(self._used)

    def __iter__(self) -> Iterator[UsedTerm]:
        return iter(self._used.values())

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
        add(used.nodes, node.name, sign)
        if not used.nodes:
            del self._used[key]
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

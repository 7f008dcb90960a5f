"""What a Pod says about the Pods that it wants, or does not want, near it: inter-Pod (anti-)affinity terms.

Pure. Terms are values: equal terms of many Pods are one object, so that a Deployment's thousand Pods share theirs.
Source: scheduler `framework/types.go` (AffinityTerm, newAffinityTerm), `interpodaffinity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from carob.api.selectors import NOTHING, LabelSelector, SelectorError, from_struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.types import core_v1
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.views import PodView

T = TypeVar("T")
Namespaces = dict[str, dict[str, str]]
"""The labels of every namespace."""

MAX_SHARED = 4096


class PodTerm(NamedTuple):
    """Pods of these labels in these namespaces, and the label of nodes that says what "near" means."""

    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector
    topology_key: str

    def matches(self, pod: PodInfo, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the term speaks of this Pod."""
        return self.selector.matches(pod.labels) and self.reaches(pod.namespace, namespaces)

    def reaches(self, namespace: str, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the term speaks of Pods of this namespace."""
        if namespace in self.namespaces:
            return True
        chosen = self.namespace_selector
        return not chosen.nothing and chosen.matches(namespaces.get(namespace, {}))


class PodTerms(NamedTuple):
    """All terms of a Pod; the preferred ones with their weights, negative for anti-affinity."""

    affinity: tuple[PodTerm, ...] = ()
    anti_affinity: tuple[PodTerm, ...] = ()
    preferred: tuple[tuple[PodTerm, int], ...] = ()


NO_TERMS = PodTerms()
_shared: dict[PodTerms, PodTerms] = {}


def terms_of(view: PodView) -> PodTerms:
    """The terms of a Pod."""
    affinity = view.spec.affinity
    if affinity is None or (affinity.pod_affinity is None and affinity.pod_anti_affinity is None):
        return NO_TERMS
    namespace = view.metadata.namespace
    near, far = affinity.pod_affinity, affinity.pod_anti_affinity
    wanted: Iterable[core_v1.PodAffinityTerm] = ()
    unwanted: Iterable[core_v1.PodAffinityTerm] = ()
    preferred: list[tuple[PodTerm, int]] = []
    if near is not None:
        wanted = near.required_during_scheduling_ignored_during_execution
        preferred += _weighted(near.preferred_during_scheduling_ignored_during_execution, namespace, 1)
    if far is not None:
        unwanted = far.required_during_scheduling_ignored_during_execution
        preferred += _weighted(far.preferred_during_scheduling_ignored_during_execution, namespace, -1)
    found = PodTerms(
        tuple(_term(one, namespace) for one in wanted),
        tuple(_term(one, namespace) for one in unwanted),
        tuple(preferred),
    )
    if len(_shared) >= MAX_SHARED:
        _shared.clear()
    return _shared.setdefault(found, found)


def _weighted(terms: Iterable[core_v1.WeightedPodAffinityTerm], namespace: str, sign: int) -> list[tuple[PodTerm, int]]:
    return [(_term(one.pod_affinity_term, namespace), sign * one.weight) for one in terms if one.weight]


def _term(term: core_v1.PodAffinityTerm, namespace: str) -> PodTerm:
    """Shape: the API server has already merged `matchLabelKeys` and `mismatchLabelKeys` into the selector."""
    names = frozenset(term.namespaces)
    if not names and term.namespace_selector is None:
        names = frozenset((namespace,))
    return PodTerm(selector_of(term.label_selector), names, selector_of(term.namespace_selector), term.topology_key)


def selector_of(selector: object) -> LabelSelector:
    """The selector of a field; one that makes no sense selects nothing."""
    try:
        return from_struct(selector)  # type: ignore[arg-type]
    except SelectorError:
        return NOTHING

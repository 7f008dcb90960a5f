"""Who selects which Pods: the indexes find exactly what a look at everything would."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from carob.api.selectors import LabelSelector, from_dict, parse_labels
from carob.controllers.selected import BY_LABEL, BY_SELECTION, label_for, may_select, places_of, pods_of
from carob.controllers.views import PodView, WorkloadMeta

LABELS = st.dictionaries(st.sampled_from(["app", "tier", "pod-template-hash"]), st.sampled_from("ab"), max_size=3)
SELECTORS = LABELS.map(from_dict) | st.sampled_from(
    ["app in (a,b)", "app in (a),tier", "!app", "tier!=a,app=b", ""]
).map(parse_labels)
SPACES = st.sampled_from(["one", "two"])


class Indexed:
    """As an informer's: what a key function says of each."""

    def __init__(self, name: str, found: list[tuple[Any, tuple[str, ...]]]) -> None:
        self._name = name
        self._found = found

    def by_index(self, name: str, value: str) -> list[Any]:
        assert name == self._name
        return [one for one, values in self._found if value in values]


def pod(space: str, labels: dict[str, str]) -> PodView:
    return PodView(metadata=WorkloadMeta(namespace=space, labels=labels))


@given(st.lists(st.tuples(SPACES, LABELS), max_size=8), SPACES, SELECTORS)
def test_all_that_is_selected_is_found(
    places: list[tuple[str, dict[str, str]]], space: str, selector: LabelSelector
) -> None:
    pods = [pod(*place) for place in places]
    indexed: Any = Indexed(BY_LABEL, [(one, tuple(places_of(one))) for one in pods])
    wanted = [one for one in pods if one.metadata.namespace == space and selector.matches(one.metadata.labels)]
    assert pods_of(selector, space, indexed) == wanted


@given(st.lists(st.tuples(SPACES, SELECTORS), max_size=8), SPACES, LABELS, LABELS)
def test_all_that_selects_a_pod_is_found_once(
    selecting: list[tuple[str, LabelSelector]], space: str, before: dict[str, str], now: dict[str, str]
) -> None:
    indexed: Any = Indexed(BY_SELECTION, [((n, s), (label_for(s, at),)) for n, (at, s) in enumerate(selecting)])
    old, new = pod(space, before), pod(space, now)
    found = [number for number, _ in may_select(old, new, indexed)]
    assert len(found) == len(set(found))
    for number, (at, selector) in enumerate(selecting):
        if at == space and (selector.matches(before) or selector.matches(now)):
            assert number in found


def test_what_demands_a_label_is_not_asked_about_pods_without_it() -> None:
    assert label_for(from_dict({"app": "a"}), "one") not in places_of(pod("one", {"app": "b"}))
    assert label_for(from_dict({"pod-template-hash": "x", "tier": "t"}), "one") == "one/tier=t"

"""Who selects which Pods, without a look at every Pod of a namespace, or at everything that may select it.

Pods are found by their labels, and what selects them by one label that its selector demands; what demands none of
several Pods' labels is found by its namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.selectors import EQUALS, IN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from carob.api.selectors import LabelSelector
    from carob.client.informer import Informer
    from carob.controllers.views import PodView

BY_LABEL = "label"
"""The index of Pods by their namespace, and by each label."""
BY_SELECTION = "selection"
"""The index of what selects Pods by the value of `BY_LABEL` under which all that it can select is found."""

# of the Pods of one owner, which finds them by itself
_HASHES = frozenset(("pod-template-hash", "controller-revision-hash"))


def places_of(pod: PodView) -> Iterable[str]:
    """The values of the index `BY_LABEL`: `namespace`, and `namespace/label=value`."""
    metadata = pod.metadata
    space = metadata.namespace
    return (space, *[f"{space}/{name}={value}" for name, value in metadata.labels.items() if name not in _HASHES])


def label_for(selector: LabelSelector, namespace: str) -> str:
    """The value of the index `BY_LABEL` under which everything is found that the selector can select."""
    for one in selector.requirements:
        if one.operator in (EQUALS, IN) and len(one.values) == 1 and one.key not in _HASHES:
            return f"{namespace}/{one.key}={one.values[0]}"
    return namespace


def pods_of(selector: LabelSelector, namespace: str, pods: Informer[PodView]) -> list[PodView]:
    """The Pods that the selector selects."""
    found = pods.by_index(BY_LABEL, label_for(selector, namespace))
    return [pod for pod in found if selector.matches(pod.metadata.labels)]


def may_select(old: PodView | None, new: PodView | None, selecting: Informer[Any]) -> Iterator[Any]:
    """What may select the Pod as it was or as it is; each once. Shape: `selecting` has the index `BY_SELECTION`."""
    places = {place for pod in (old, new) if pod is not None for place in places_of(pod)}
    for place in places:
        yield from selecting.by_index(BY_SELECTION, place)

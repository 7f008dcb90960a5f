"""Which Pods belong together in the eyes of Services and controllers: what the cluster's own spreading spreads.

Pure; a part of the snapshot. Source: scheduler `plugins/helper/spread.go` (DefaultSelector).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.selectors import EVERYTHING, LabelSelector, from_dict
from carob.scheduler.pod_terms import selector_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.scheduler.pods import PodInfo
    from carob.scheduler.views import OwnerView

REPLICATION_CONTROLLER = ("v1", "ReplicationController")
REPLICA_SET = ("apps/v1", "ReplicaSet")
STATEFUL_SET = ("apps/v1", "StatefulSet")
MAX_KEPT = 4096

Kind = tuple[str, str]


class Selecting:
    """Services and controllers by what they select; `of` is remembered until one of them changes."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, dict[str, str]]] = {}
        self._labels: dict[tuple[str, str], dict[str, str]] = {}
        """Of ReplicationControllers, by namespace and name."""
        self._selectors: dict[tuple[Kind, str, str], LabelSelector] = {}
        self._kept: dict[object, LabelSelector] = {}

    def set_service(self, namespace: str, name: str, selector: dict[str, str] | None) -> None:
        """A Service came or changed; None or empty: it went, or selects nobody."""
        services = self._services.setdefault(namespace, {})
        if selector:
            services[name] = selector
        else:
            services.pop(name, None)
        if not services:
            del self._services[namespace]
        self._kept.clear()

    def set_controller(self, kind: Kind, namespace: str, name: str, selector: object) -> None:
        """A controller came or changed; None: it went. `selector`: labels, or a LabelSelector of the API."""
        if isinstance(selector, dict):
            self._labels[(namespace, name)] = selector
        elif kind == REPLICATION_CONTROLLER:
            self._labels.pop((namespace, name), None)
        elif selector is None:
            self._selectors.pop((kind, namespace, name), None)
        else:
            self._selectors[(kind, namespace, name)] = selector_of(selector)
        self._kept.clear()

    def of(self, pod: PodInfo) -> LabelSelector:
        """Who belongs together with the Pod; an empty selector if nobody selects it."""
        owner = next((one for one in pod.view.metadata.owner_references if one.controller), None)
        if owner is None and pod.namespace not in self._services:
            return EVERYTHING
        key = (pod.group, (owner.api_version, owner.kind, owner.name) if owner is not None else None)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            found = self._kept[key] = self._of(pod, owner)
        return found

    def _of(self, pod: PodInfo, owner: OwnerView | None) -> LabelSelector:
        merged: dict[str, str] = {}
        for selector in self._services.get(pod.namespace, {}).values():
            if _has_all(pod.labels, selector):
                merged |= selector
        own = EVERYTHING
        if owner is not None:
            kind = (owner.api_version, owner.kind)
            if kind == REPLICATION_CONTROLLER:
                merged |= self._labels.get((pod.namespace, owner.name), {})
            else:
                own = self._selectors.get((kind, pod.namespace, owner.name), EVERYTHING)
        asked = dict.fromkeys((*from_dict(merged).requirements, *own.requirements))
        return LabelSelector(tuple(sorted(asked, key=lambda one: one.key)), nothing=own.nothing)


def _has_all(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())

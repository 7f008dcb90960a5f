"""Filters: which nodes can take a Pod at all. One file each; each offers `prepare(pod, snapshot)`.

Pure. `prepare` works out once what it needs of the Pod and returns a check to be asked for each node, or None when
the Pod gives it nothing to check. Checks are asked in upstream's order; the first rejection counts.

*Local* filters look at nothing but the node and what is on it; *far-sighted* ones at other nodes, claims or volumes too,
and must be prepared anew when anything has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.scheduler.filter import (
    dynamic_resources,
    inter_pod_affinity,
    node_affinity,
    node_name,
    node_ports,
    node_resources_fit,
    node_unschedulable,
    node_volume_limits,
    pod_topology_spread,
    taint_toleration,
    volume_binding,
    volume_restrictions,
    volume_zone,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check, Rejection

_INDIFFERENT = (node_unschedulable, node_name, taint_toleration, node_affinity)
_LOCAL = (*_INDIFFERENT, node_ports, node_resources_fit)
_FAR_SIGHTED = (
    volume_restrictions,
    node_volume_limits,
    volume_binding,
    volume_zone,
    pod_topology_spread,
    inter_pod_affinity,
    dynamic_resources,
)


class Prepared(NamedTuple):
    """The checks that matter for one Pod, in order."""

    local: list[Check]
    far: list[Check]

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Why the Pod cannot be on the node; None if it can."""
        return first_rejection(self.local, node) or first_rejection(self.far, node)


def prepare(pod: PodInfo, snapshot: Snapshot) -> Prepared:
    """The checks that matter for this Pod."""
    return Prepared(local(pod, snapshot), far_sighted(pod, snapshot))


def local(pod: PodInfo, snapshot: Snapshot) -> list[Check]:
    """Those that look at one node alone."""
    return [check for _, check in _made(_LOCAL, pod, snapshot) if check is not None]


def indifferent(pod: PodInfo, snapshot: Snapshot) -> list[Check]:
    """Those local ones that say the same whoever is on the node."""
    return [check for _, check in _made(_INDIFFERENT, pod, snapshot) if check is not None]


def far_sighted(pod: PodInfo, snapshot: Snapshot) -> list[Check]:
    """The others; the user's too, because nobody knows what they look at."""
    return [check for _, check in (*_made(_FAR_SIGHTED, pod, snapshot), *_own(pod, snapshot)) if check is not None]


def _made(modules: Sequence[ModuleType], pod: PodInfo, snapshot: Snapshot) -> list[tuple[str, Check | None]]:
    disabled = snapshot.profile(pod).disabled_filters
    return [(module.NAME, module.prepare(pod, snapshot)) for module in modules if module.NAME not in disabled]


def _own(pod: PodInfo, snapshot: Snapshot) -> list[tuple[str, Check | None]]:
    return [(name, prepare(pod, snapshot)) for name, prepare in snapshot.profile(pod).own_filters]


def named(pod: PodInfo, snapshot: Snapshot) -> list[tuple[str, Check | None]]:
    """Every filter by its name, in order; None where the Pod gives it nothing to check."""
    return [*_made((*_LOCAL, *_FAR_SIGHTED), pod, snapshot), *_own(pod, snapshot)]


def first_rejection(checks: Sequence[Check], node: NodeInfo) -> Rejection | None:
    """Why the Pod of these checks cannot be on the node; None if it can."""
    for check in checks:
        rejection = check(node)
        if rejection is not None:
            return rejection
    return None

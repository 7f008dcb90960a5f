"""Filters: which nodes can take a Pod at all. One file each; each offers `prepare(pod, snapshot)`.

Pure. `prepare` works out once what it needs of the Pod and returns a check to be asked for each node, or None when
the Pod gives it nothing to check. Checks are asked in upstream's order; the first rejection counts.

*Local* filters look at nothing but the node and what is on it; *far-sighted* ones at other nodes, claims or volumes too,
and must be prepared anew when anything has changed.
Differs: resource claims are not a filter yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.filter import (
    inter_pod_affinity,
    node_affinity,
    node_name,
    node_ports,
    node_resources_fit,
    node_unschedulable,
    pod_topology_spread,
    taint_toleration,
    volume_binding,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check, Rejection

_LOCAL = (node_unschedulable, node_name, taint_toleration, node_affinity, node_ports, node_resources_fit)
_FAR_SIGHTED = (volume_binding, pod_topology_spread, inter_pod_affinity)
_MAKE_LOCAL = tuple(module.prepare for module in _LOCAL)
_MAKE_FAR_SIGHTED = tuple(module.prepare for module in _FAR_SIGHTED)


def prepare(pod: PodInfo, snapshot: Snapshot) -> list[Check]:
    """The checks that matter for this Pod, in order."""
    return [*local(pod, snapshot), *far_sighted(pod, snapshot)]


def local(pod: PodInfo, snapshot: Snapshot) -> list[Check]:
    """Those that look at one node alone."""
    return [check for check in (make(pod, snapshot) for make in _MAKE_LOCAL) if check is not None]


def far_sighted(pod: PodInfo, snapshot: Snapshot) -> list[Check]:
    """The others."""
    return [check for check in (make(pod, snapshot) for make in _MAKE_FAR_SIGHTED) if check is not None]


def named(pod: PodInfo, snapshot: Snapshot) -> list[tuple[str, Check | None]]:
    """Every filter by its name, in order; None where the Pod gives it nothing to check."""
    return [(module.NAME, module.prepare(pod, snapshot)) for module in (*_LOCAL, *_FAR_SIGHTED)]


def first_rejection(checks: Sequence[Check], node: NodeInfo) -> Rejection | None:
    """Why the Pod of these checks cannot be on the node; None if it can."""
    for check in checks:
        rejection = check(node)
        if rejection is not None:
            return rejection
    return None

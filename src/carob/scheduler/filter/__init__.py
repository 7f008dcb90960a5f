"""Filters: which nodes can take a Pod at all. One file each; each offers `prepare(pod)`.

Pure. `prepare` works out once what it needs of the Pod and returns a check to be asked for each node, or None when
the Pod gives it nothing to check. Checks are asked in upstream's order; the first rejection counts.
Differs: inter-Pod affinity, topology spread and resource claims are not filters yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.filter import (
    node_affinity,
    node_name,
    node_ports,
    node_resources_fit,
    node_unschedulable,
    taint_toleration,
    volume_binding,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.verdict import Check, Rejection

IN_ORDER = (
    node_unschedulable.prepare,
    node_name.prepare,
    taint_toleration.prepare,
    node_affinity.prepare,
    node_ports.prepare,
    node_resources_fit.prepare,
    volume_binding.prepare,
)


def prepare(pod: PodInfo) -> list[Check]:
    """The checks that matter for this Pod, in order."""
    return [check for check in (make(pod) for make in IN_ORDER) if check is not None]


def first_rejection(checks: Sequence[Check], node: NodeInfo) -> Rejection | None:
    """Why the Pod of these checks cannot be on the node; None if it can."""
    for check in checks:
        rejection = check(node)
        if rejection is not None:
            return rejection
    return None

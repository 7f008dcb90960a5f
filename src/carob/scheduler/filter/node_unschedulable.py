"""NodeUnschedulable: no new Pods on a cordoned node, but for those that tolerate the taint that stands for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.taints import tolerates
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "NodeUnschedulable"
TAINT_KEY = "node.kubernetes.io/unschedulable"
_CORDONED = Rejection(NAME, ("node(s) were unschedulable",))


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin NodeUnschedulable."""
    if tolerates(pod.view.spec.tolerations, TAINT_KEY, "", "NoSchedule"):
        return None

    def check(node: NodeInfo) -> Rejection | None:
        return _CORDONED if node.view is not None and node.view.spec.unschedulable else None

    return check

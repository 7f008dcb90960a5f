"""TaintToleration: a node's NoSchedule and NoExecute taints keep away Pods that do not tolerate them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.taints import tolerates
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "TaintToleration"
EFFECTS = ("NoSchedule", "NoExecute")
# Which taint it was is kept from the Pod's status on purpose: its key and value may be nobody else's business.
# Source: kubernetes pull request 134740 (v1.35).
_UNTOLERATED = Rejection(NAME, ("node(s) had untolerated taint(s)",))


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin TaintToleration."""
    tolerations = pod.view.spec.tolerations

    def check(node: NodeInfo) -> Rejection | None:
        taints = node.view.spec.taints if node.view is not None else ()
        for taint in taints:
            if taint.effect in EFFECTS and not tolerates(tolerations, taint.key, taint.value, taint.effect):
                return _UNTOLERATED
        return None

    return check

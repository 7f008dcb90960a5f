"""NodeName: a Pod that names its node fits only there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "NodeName"
_OTHER_NODE = Rejection(NAME, ("node(s) didn't match the requested node name",))


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin NodeName."""
    wanted = pod.node_name
    if not wanted:
        return None

    def check(node: NodeInfo) -> Rejection | None:
        return None if node.name == wanted else _OTHER_NODE

    return check

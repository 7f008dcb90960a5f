"""NodePorts: a port of the node belongs to one Pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "NodePorts"
TAKEN = Rejection(NAME, ("node(s) didn't have free ports for the requested pod ports",), resolvable=True)


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin NodePorts."""
    wanted = pod.ports
    if not wanted:
        return None

    def check(node: NodeInfo) -> Rejection | None:
        for used in node.ports:
            for port in wanted:
                if port.conflicts(used):
                    return TAKEN
        return None

    return check

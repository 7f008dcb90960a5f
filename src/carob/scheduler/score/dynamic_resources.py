"""DynamicResources: nodes where requests get the alternatives that they like best.

Pure. Source: scheduler plugin DynamicResources (computeScore, DefaultNormalizeScore).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.score.normalize import normalized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot


def score(pod: PodInfo, nodes: Sequence[NodeInfo], snapshot: Snapshot) -> list[int] | None:
    """None where no request has alternatives."""
    devices = pod.devices
    if devices is None or not devices.has_alternatives:
        return None
    return normalized([devices.preference(node) for node in nodes], reverse=False)

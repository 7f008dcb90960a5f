"""NodeVolumeLimits: the node can have the Pod's volumes beside those that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler import volume_limits

NAME = volume_limits.NAME

if TYPE_CHECKING:
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin NodeVolumeLimits. Shape: `pod.volumes` is a look of this very turn."""
    limits = pod.volumes.limits if pod.volumes is not None else None
    return limits.rejection if limits is not None and limits.new else None

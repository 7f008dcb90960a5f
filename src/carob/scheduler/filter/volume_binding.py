"""VolumeBinding: the node reaches the Pod's volumes, or they can be had there."""

from __future__ import annotations

from typing import TYPE_CHECKING

NAME = "VolumeBinding"

if TYPE_CHECKING:
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin VolumeBinding. Shape: `pod.volumes` is a look of this very turn."""
    return pod.volumes.rejection if pod.volumes is not None else None

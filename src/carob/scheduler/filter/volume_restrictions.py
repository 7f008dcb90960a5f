"""VolumeRestrictions: a claim that only one Pod may use is used by no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "VolumeRestrictions"
_ONE_POD = Rejection(
    NAME,
    ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",),
    resolvable=True,
)


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin VolumeRestrictions. Shape: `pod.volumes` is a look of this very turn."""
    return (lambda node: _ONE_POD) if pod.volumes is not None and pod.volumes.busy else None

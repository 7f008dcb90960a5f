"""VolumeZone: volumes of old that say by labels in which zones and regions they can be reached.

Source: scheduler plugin VolumeZone (`volumezone/volume_zone.go`), `volumehelpers.LabelZonesToSet`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.verdict import Rejection

NAME = "VolumeZone"
_ELSEWHERE = Rejection(NAME, ("node(s) had no available volume zone",))
# the labels of old and what they are called today
_TODAY = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
_LABELS = (*_TODAY, *_TODAY.values())

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Shape: `pod.volumes` is a look of this very turn; of volumes that are still to be chosen it says nothing."""
    bound = pod.volumes.bound if pod.volumes is not None else []
    wanted = [
        (label, frozenset(volume.metadata.labels[label].split("__")))
        for volume in bound
        if volume is not None
        for label in _LABELS
        if label in volume.metadata.labels
    ]
    if not wanted:
        return None

    def check(node: NodeInfo) -> Rejection | None:
        labels = node.labels
        if not any(label in labels for label in _LABELS):
            # a cluster of one zone need not name it
            return None
        for label, values in wanted:
            value = labels.get(label, labels.get(_TODAY.get(label, "")))
            if value not in values:
                return _ELSEWHERE
        return None

    return check

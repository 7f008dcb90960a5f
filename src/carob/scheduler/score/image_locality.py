"""ImageLocality: nodes that already have the Pod's large images, less so where only few nodes have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.score.normalize import MAX_SCORE

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.score.rating import Rate
    from carob.scheduler.snapshot import Snapshot

SMALLEST_BYTES = 23 << 20
LARGEST_BYTES_A_CONTAINER = 1000 << 20


def rate(pod: PodInfo, snapshot: Snapshot) -> Rate | None:
    """Source: scheduler plugin ImageLocality."""
    counts = snapshot.image_nodes
    spec = pod.view.spec
    containers = [*spec.init_containers, *spec.containers]
    images = [image for image in (_full_name(container.image) for container in containers) if image in counts]
    if not images:
        return None
    every = len(snapshot.nodes())
    largest = LARGEST_BYTES_A_CONTAINER * len(containers)

    def locality(node: NodeInfo) -> int:
        # in floating point, as upstream
        present = sum(int(node.images[one] * (counts[one] / every)) for one in images if one in node.images)
        present = min(max(present, SMALLEST_BYTES), largest)
        return MAX_SCORE * (present - SMALLEST_BYTES) // (largest - SMALLEST_BYTES)

    return locality


def _full_name(image: str) -> str:
    return image if image.rfind(":") > image.rfind("/") else image + ":latest"

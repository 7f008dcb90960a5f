"""Which unused images go when their disk fills up. Pure.

Source: kubelet `images/image_gc_manager.go`.
Differs: images that came from no registry stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from carob.runtime.types import FilesystemUsage, Image

HIGH_PERCENT, LOW_PERCENT = 85, 80
MIN_AGE_SECONDS = 120.0


class Ages(Struct):
    """When each image was first seen and last used, by id. Units: monotonic seconds."""

    detected: dict[str, float] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)

    def note(self, images: Iterable[Image], in_use: Collection[str], now: float) -> None:
        """One look: `in_use` are ids."""
        ids = [image.id for image in images]
        self.detected = {i: self.detected.get(i, now) for i in ids}
        self.used = {i: now if i in in_use else self.used.get(i, 0.0) for i in ids}


def bytes_to_free(disk: FilesystemUsage, high_percent: int = HIGH_PERCENT, low_percent: int = LOW_PERCENT) -> int:
    """How much must go so that `low_percent` are used; 0 while the disk is less than `high_percent` full."""
    if disk.capacity_bytes <= 0:
        return 0
    available = min(disk.available_bytes, disk.capacity_bytes)
    full = 100 - available * 100 // disk.capacity_bytes
    if full < high_percent:
        return 0
    return disk.capacity_bytes * (100 - low_percent) // 100 - available


def unused(
    images: Iterable[Image],
    in_use: Collection[str],
    ages: Ages,
    now: float,
    min_age_seconds: float = MIN_AGE_SECONDS,
) -> list[Image]:
    """Images that may be removed, longest unused first."""
    # what was loaded or built here has no digest of a registry: nobody could pull it again
    candidates = [i for i in images if i.id not in in_use and not i.pinned and i.digests]
    candidates.sort(key=lambda i: (ages.used.get(i.id, 0.0), ages.detected.get(i.id, 0.0)))
    return [i for i in candidates if now - ages.detected.get(i.id, now) >= min_age_seconds]

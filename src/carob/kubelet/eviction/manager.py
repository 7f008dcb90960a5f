"""Watches the node while Pods run on it, ends Pods when it runs short, and removes images that nobody uses.

Touches /proc, the disk's counters and the runtime; asleep as long as no Pod runs.
Source: kubelet `eviction/eviction_manager.go` (synchronize), `images/image_gc_manager.go`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.base.log import get_logger, pairs
from carob.base.tasks import Signal
from carob.kubelet.disk_use import NOTHING, log_use, volume_use
from carob.kubelet.eviction import image_gc, ranking, thresholds
from carob.kubelet.eviction.notices import MemoryNotices
from carob.kubelet.eviction.ranking import ContainerUse, PodUse
from carob.kubelet.machine import read_usage
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from carob.kubelet.eviction.notices import Notices
    from carob.kubelet.eviction.thresholds import Met, Pressures
    from carob.kubelet.machine import Usage
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

_log = get_logger("kubelet.eviction")
PERIOD_SECONDS = 10.0
IMAGE_PERIOD_SECONDS = 300.0
HARD_GRACE_SECONDS = 1.0
REASON = "Evicted"
WARNING = "Warning"


class Eviction:
    """`wake` when a Pod begins to run; `run` until cancelled."""

    def __init__(
        self,
        tools: Tools,
        records: Mapping[str, PodRecord],
        memory_bytes: int,
        pressures: Pressures,
        dirty: Callable[[str], None],
        tell_node: Callable[[], Awaitable[None]],
        node_event: Callable[[str, str, str], None],
        usage: Callable[[str], Usage] = read_usage,
        notices: Callable[[Callable[[], None]], Notices] = MemoryNotices,
    ) -> None:
        options = tools.options
        self._tools = tools
        self._records = records
        self._memory_bytes = memory_bytes
        self._pressures = pressures
        self._dirty = dirty
        self._tell_node = tell_node
        self._node_event = node_event
        self._short_of_images = False
        self._usage = usage
        self._thresholds = thresholds.thresholds(
            options.eviction_hard,
            options.eviction_soft,
            options.eviction_soft_grace_seconds,
            options.eviction_minimum_reclaim,
        )
        self._met: list[Met] = []
        self._ages = image_gc.Ages()
        self._images_at = 0.0
        self._awake = Signal()
        self._pressed = Signal()
        self._notices = notices(self._pressed.set)

    def wake(self) -> None:
        """A Pod may run now."""
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                if not any(record.running() for record in self._records.values()):
                    self._notices.close()
                    await self._awake.wait()
                self._notices.open()
                await self.look()
                await self._rest()
        finally:
            self._notices.close()

    async def _rest(self) -> None:
        """Ten seconds, or until the kernel says that memory is short."""
        loop = asyncio.get_running_loop()
        waits = {
            loop.create_task(self._tools.clock.sleep(PERIOD_SECONDS), name="eviction period"),
            loop.create_task(self._pressed.wait(), name="memory pressure"),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def look(self) -> None:
        """One pass: at most one Pod is ended for the node's sake."""
        clock = self._tools.clock
        try:
            await self._local_limits()
            before = self._pressures.holding(clock.monotonic())
            met = self._pressures.observe(await self._crossed(), clock.monotonic())
            if self._pressures.holding(clock.monotonic()) != before:
                await self._tell_node()
            if clock.monotonic() - self._images_at >= IMAGE_PERIOD_SECONDS:
                await self._collect_images(everything=False)
            chosen = ranking.first(met)
            if chosen is not None:
                self._node_event("EvictionThresholdMet", f"Attempting to reclaim {chosen.resource}", WARNING)
                if not await self._reclaim(chosen):
                    await self._evict_one(chosen)
        except (RuntimeFailure, OSError) as error:
            _log.warning("cannot look after the node: %s", error)

    async def _crossed(self) -> list[Met]:
        usage = self._usage(self._tools.options.root)
        wanted = {one.signal for one in self._thresholds}
        need_images = thresholds.IMAGE_DISK in wanted and _is_short(usage)
        images = await self._tools.runtime.image_filesystem() if need_images else None
        seen = thresholds.observations(self._memory_bytes, usage, images)
        self._met = thresholds.crossed(self._thresholds, seen, self._met)
        return self._met

    # -- what can be had without ending anybody

    async def _reclaim(self, met: Met) -> bool:
        """Remove unused images when the disk is short; whether that was enough."""
        if met.condition != "DiskPressure" or not await self._collect_images(everything=True):
            return False
        again = await self._crossed()
        return not any(one.threshold.signal == met.threshold.signal for one in again)

    async def _collect_images(self, *, everything: bool) -> int:
        """How many were removed."""
        runtime, now, options = self._tools.runtime, self._tools.clock.monotonic(), self._tools.options
        self._images_at = now
        disk = await runtime.image_filesystem()
        images = await runtime.list_images()
        self._tools.images.keep_records(image.id for image in images)
        names = {text for c in await runtime.list_containers() for text in (c.image_id, c.image)}
        names |= {image.id for record in self._records.values() for image in record.images.values()}
        in_use = {i.id for i in images if names.intersection((i.id, *i.tags, *i.digests))}
        self._ages.note(images, in_use, now)
        wanted = (
            None
            if everything
            else image_gc.bytes_to_free(disk, options.image_gc_high_percent, options.image_gc_low_percent)
        )
        if wanted is not None and wanted <= 0:
            self._short_of_images = False
            return 0
        removed = freed = 0
        age = 0.0 if everything else options.image_gc_min_age_seconds
        for image in image_gc.unused(images, in_use, self._ages, now, age):
            if wanted is not None and freed >= wanted:
                break
            try:
                await runtime.remove_image(image.id)
                removed += 1
                freed += image.size_bytes
                if wanted is not None:
                    # an image takes more than a registry says of it: its layers lie here packed and unpacked
                    left = await runtime.image_filesystem()
                    freed = max(freed, left.available_bytes - disk.available_bytes)
                _log.info("removed an unused image %s", pairs(id=image.id, bytes=image.size_bytes))
            except RuntimeFailure as error:
                _log.info("cannot remove an image %s", pairs(id=image.id, error=error))
        if wanted is not None:
            self._tell_images(wanted, freed)
        return removed

    def _tell_images(self, wanted: int, freed: int) -> None:
        """Say that too few images could go; in upstream's words, and twice when it is the second time."""
        if freed >= wanted:
            self._short_of_images = False
            return
        words = (
            f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
            f"but only found {freed} bytes eligible to free."
        )
        self._node_event("FreeDiskSpaceFailed", words, WARNING)
        if self._short_of_images:
            self._node_event("ImageGCFailed", words, WARNING)
        self._short_of_images = True

    # -- ending Pods

    async def _evict_one(self, met: Met) -> None:
        disk = met.resource in ("ephemeral-storage", "inodes")
        uses = await self._uses(lambda record: True, disk=disk, volumes=disk)
        if any(self._records[use.pod.metadata.uid].failed is not None for use in uses):
            # one is on its way out already: what that frees is not known yet
            return
        for use in ranking.ranked(met.resource, uses)[:1]:
            grace = HARD_GRACE_SECONDS
            if met.threshold.grace_seconds:
                grace = min(self._tools.options.eviction_max_pod_grace_seconds, _grace(use))
            self._evict(use, ranking.message(met, use), grace, disrupted=True)

    async def _local_limits(self) -> None:
        records = [r for r in self._records.values() if r.running() and ranking.has_local_limits(r.pod)]
        if not records:
            return
        layers = any(ranking.bounded_layers(record.pod) for record in records)
        chosen = {record.uid for record in records}
        for use in await self._uses(lambda record: record.uid in chosen, disk=layers, volumes=True):
            why = ranking.over_local_limits(use)
            if why and self._records[use.pod.metadata.uid].failed is None:
                self._evict(use, why, HARD_GRACE_SECONDS, disrupted=False)

    async def _uses(self, wanted: Callable[[PodRecord], bool], *, disk: bool, volumes: bool) -> list[PodUse]:
        by_id = {stats.id: stats for stats in await self._tools.runtime.container_stats(disk=disk)}
        out = []
        for record in list(self._records.values()):
            running = record.running()
            if not running or record.deleting or not wanted(record):
                continue
            logs = await asyncio.to_thread(log_use, self._tools.options.log_root, record.pod) if disk else {}
            containers = [
                ContainerUse(
                    status.name,
                    memory_bytes=stats.memory_working_set_bytes,
                    disk_bytes=stats.rootfs_used_bytes + logs.get(status.name, NOTHING).used_bytes,
                    inodes=stats.rootfs_inodes_used + logs.get(status.name, NOTHING).inodes_used,
                    processes=stats.process_count,
                )
                for status in running
                if (stats := by_id.get(status.id)) is not None
            ]
            found = await asyncio.to_thread(volume_use, self._tools.places, record.pod) if volumes else {}
            sizes = {name: use.used_bytes for name, use in found.items()}
            out.append(PodUse(record.pod, containers, sizes, sum(use.inodes_used for use in found.values())))
        return out

    def _evict(self, use: PodUse, message: str, grace_seconds: float, *, disrupted: bool) -> None:
        record = self._records.get(use.pod.metadata.uid)
        if record is None or record.terminating:
            return
        _log.warning("evicting %s", pairs(pod=use.pod.metadata.name, why=message.strip()))
        record.failed = (REASON, message)
        record.disrupted = message if disrupted else ""
        record.ends_at = self._tools.clock.monotonic() + grace_seconds
        self._tools.events(record).warning(REASON, message)
        self._dirty(record.uid)


def _is_short(usage: Usage) -> bool:
    """Images lie on the Pods' disk: their counters, which cost a walk, are asked only when it is filling up."""
    return usage.disk_available_bytes < usage.disk_capacity_bytes // 4


def _grace(use: PodUse) -> float:
    seconds = use.pod.spec.termination_grace_period_seconds
    return 30.0 if seconds is None else float(seconds)

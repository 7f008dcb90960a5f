"""Start step: the Pod's volumes; and the same again when what they hold has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.base.log import get_logger, pairs
from carob.kubelet.failures import VolumeFailure
from carob.kubelet.pod_record import Failure
from carob.kubelet.steps.image import tell_early_images

if TYPE_CHECKING:
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

_log = get_logger("kubelet.volumes")


async def prepare_volumes(tools: Tools, record: PodRecord) -> None:
    """Set up all volumes, or remember why one could not be."""
    record.stale_volumes = False
    try:
        record.prepared = await tools.volumes.prepare(record.pod, tools.facts(record))
    except VolumeFailure as failure:
        now = tools.clock.monotonic()
        record.volume_backoff.advance(now, now)
        retry_at = now + record.volume_backoff.delay_seconds
        record.volume_failure = Failure(failure.reason, failure.message, retry_at)
        if record.prepared is not None:
            # the containers run on with what they have
            _log.warning("volume not refreshed %s", pairs(pod=record.pod.metadata.name, error=failure.message))
            return
        for one in (failure, *failure.others):
            tools.events(record).warning("FailedMount", one.event)
        return
    record.volume_failure = None
    tell_early_images(tools, record)

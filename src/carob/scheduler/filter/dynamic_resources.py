"""DynamicResources: the node reaches the devices of the Pod's claims, or has such that they can get."""

from __future__ import annotations

from typing import TYPE_CHECKING

NAME = "DynamicResources"

if TYPE_CHECKING:
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin DynamicResources. Shape: `pod.devices` is a look of this very turn."""
    devices = pod.devices
    return devices.rejection if devices is not None and (devices.refusal or not devices.empty) else None

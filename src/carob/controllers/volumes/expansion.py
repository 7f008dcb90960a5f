"""A bound claim that asks for more than it has gets it, if its volume is a folder of ours; else somebody else is asked.

`next_for` is pure. Source: kube-controller-manager volume `expand/expand_controller.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import claims, quantity
from carob.api.status import ApiError
from carob.client.workqueue import WorkQueue
from carob.controllers.volumes.local_path import PROVISIONER

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client


def grows(claim: core_v1.PersistentVolumeClaim) -> bool:
    """Whether it asks for more than it has."""
    has = claim.status.capacity.get("storage")
    return claim.status.phase == "Bound" and has is not None and quantity.compare(claims.requested(claim), has) > 0


def next_write(
    claim: core_v1.PersistentVolumeClaim, volume: core_v1.PersistentVolume
) -> tuple[Any, dict[str, Any], str]:
    """Object, merge patch and subresource: the volume first, then what the claim has. Folders grow by themselves."""
    size = claims.requested(claim)
    if quantity.compare(claims.capacity(volume), size) < 0:
        return volume, {"spec": {"capacity": {"storage": size}}}, ""
    status = {"capacity": {"storage": claims.capacity(volume)}, "conditions": None, "allocatedResources": None}
    return claim, {"status": {**status, "allocatedResourceStatuses": None}}, "status"


class VolumeExpansion:
    """Keys are keys of claims."""

    def __init__(
        self,
        client: Client,
        volumes: Informer[core_v1.PersistentVolume],
        wanted: Informer[core_v1.PersistentVolumeClaim],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._volumes = volumes
        self._claims = wanted
        self._recorder = recorder
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._volumes.wait_synced()
        await self._claims.wait_synced()
        self._claims.subscribe(self._claim_changed)
        self._volumes.subscribe(self._volume_changed)
        await self._queue.work(self._sync, 1, "volume expansion")

    def _claim_changed(self, key: str, old: Any, new: core_v1.PersistentVolumeClaim | None) -> None:
        if new is not None and grows(new):
            self._queue.add(key)

    def _volume_changed(self, key: str, old: Any, new: core_v1.PersistentVolume | None) -> None:
        reference = new.spec.claim_ref if new is not None else None
        claim = self._claims.get(f"{reference.namespace}/{reference.name}") if reference is not None else None
        if claim is not None and reference is not None and grows(claim):
            self._queue.add(f"{reference.namespace}/{reference.name}")

    async def _sync(self, key: str) -> None:
        claim = self._claims.get(key)
        volume = self._volumes.get(claim.spec.volume_name) if claim is not None else None
        if claim is None or volume is None or not grows(claim):
            return
        if volume.metadata.annotations.get(claims.PROVISIONED_BY) != PROVISIONER:
            text = "waiting for an external controller to expand this PVC"
            self._recorder.event(claim, "Normal", "ExternalExpanding", text)
            return
        obj, patch, subresource = next_write(claim, volume)
        metadata = obj.metadata
        patch["metadata"] = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        try:
            await self._client.patch(type(obj), metadata.name, metadata.namespace, patch=patch, subresource=subresource)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
            return
        if obj is claim:
            text = f"ExpandVolume succeeded for volume {key}"
            self._recorder.event(claim, "Normal", "VolumeResizeSuccessful", text)

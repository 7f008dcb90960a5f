"""Which PersistentVolumes a Pod's claims stand for: asked of the API once a Pod, and remembered while it lives here.

Touches the API only. Source: kubelet `volumemanager/populator/desired_state_of_world_populator.go`
(createVolumeSpec, getPVCExtractPV, getPVSpec), `volume/util` (CheckNodeAffinity); the words are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import claims
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.kubelet.failures import ClaimFailure, VolumeFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from carob.client.rest import Client


class ClaimedVolumes:
    """`read_all` before the Pod's volumes are set up, `release` when they were taken back."""

    def __init__(self, client: Client, node_name: str, node_labels: Callable[[], Mapping[str, str]]) -> None:
        self._client = client
        self._node_name = node_name
        self._node_labels = node_labels
        self._known: dict[str, dict[str, core_v1.PersistentVolume]] = {}
        self._single: dict[str, str] = {}
        """Claims that one Pod at a time may use: the Pod's uid by the claim's."""

    async def read_all(
        self, pod: core_v1.Pod, volumes: Sequence[core_v1.Volume]
    ) -> Mapping[str, core_v1.PersistentVolume]:
        """The PersistentVolumes by the names of the Pod's volumes. Raises: VolumeFailure."""
        wanted = [v for v in volumes if v.persistent_volume_claim is not None or v.ephemeral is not None]
        if not wanted:
            return {}
        known = self._known.setdefault(pod.metadata.uid, {})
        for volume in wanted:
            if volume.name not in known:
                known[volume.name] = await self._read(pod, volume)
        return known

    def release(self, uid: str) -> None:
        """The Pod uses none any more."""
        self._known.pop(uid, None)
        for claim in [claim for claim, user in self._single.items() if user == uid]:
            del self._single[claim]

    async def _read(self, pod: core_v1.Pod, volume: core_v1.Volume) -> core_v1.PersistentVolume:
        namespace = pod.metadata.namespace
        name = claims.claim_name(pod.metadata.name, volume)
        try:
            claim = await self._client.get(core_v1.PersistentVolumeClaim, name, namespace)
        except (ApiError, ConnectionError, TimeoutError) as error:
            text = f"error processing PVC {namespace}/{name}: failed to fetch PVC from API server: {error}"
            raise ClaimFailure(volume.name, text) from error
        why = _unusable(pod, volume, claim)
        if why:
            raise ClaimFailure(volume.name, _processing(claim, why))
        bound = await self._volume(volume, claim)
        if not claims.reaches(bound, self._node_labels(), self._node_name):
            text = f'NodeAffinity check failed for volume "{bound.metadata.name}" : no matching NodeSelectorTerms'
            raise VolumeFailure(volume.name, text)
        if claims.ONE_POD in claim.spec.access_modes:
            user = self._single.setdefault(claim.metadata.uid, pod.metadata.uid)
            if user != pod.metadata.uid:
                text = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
                raise VolumeFailure(volume.name, text)
        return bound

    async def _volume(self, volume: core_v1.Volume, claim: core_v1.PersistentVolumeClaim) -> core_v1.PersistentVolume:
        name = claim.spec.volume_name
        try:
            found = await self._client.get(core_v1.PersistentVolume, name)
        except (ApiError, ConnectionError, TimeoutError) as error:
            raise ClaimFailure(
                volume.name, _processing(claim, f"failed to fetch PV {name} from API server: {error}")
            ) from error
        reference = found.spec.claim_ref
        if reference is None:
            text = f"found PV object {name} but it has a nil pv.Spec.ClaimRef"
            raise ClaimFailure(volume.name, _processing(claim, text))
        if reference.uid != claim.metadata.uid:
            text = f"found PV object {name} but its pv.Spec.ClaimRef.UID {reference.uid} does not point to claim.UID "
            raise ClaimFailure(volume.name, _processing(claim, text + claim.metadata.uid))
        return found


def _processing(claim: core_v1.PersistentVolumeClaim, why: str) -> str:
    return f"error processing PVC {claim.metadata.namespace}/{claim.metadata.name}: {why}"


def _unusable(pod: core_v1.Pod, volume: core_v1.Volume, claim: core_v1.PersistentVolumeClaim) -> str:
    if claim.metadata.deletion_timestamp is not None:
        return "PVC is being deleted"
    if claim.status.phase != "Bound" or not claim.spec.volume_name:
        return "PVC is not bound"
    if volume.ephemeral is not None and not claims.made_for(claim, pod.metadata.uid):
        where = f"{pod.metadata.namespace}/{pod.metadata.name}"
        return (
            f"PVC {claim.metadata.namespace}/{claim.metadata.name} was not created for pod {where} (pod is not owner)"
        )
    return _wrong_mode(pod, volume.name, claims.mode(claim.spec.volume_mode))


def _wrong_mode(pod: core_v1.Pod, name: str, mode: str) -> str:
    """Source: createVolumeSpec: a block volume is a device, a file system is a mount."""
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    if mode == "Filesystem" and any(device.name == name for c in containers for device in c.volume_devices):
        return f"volume {name} has volumeMode Filesystem, but is specified in volumeDevices"
    if mode == "Block" and any(mount.name == name for c in containers for mount in c.volume_mounts):
        return f"volume {name} has volumeMode Block, but is specified in volumeMounts"
    return ""

"""Makes volumes for claims and takes back those that nobody claims any more, or says why it cannot.

Touches the API and, through it, the nodes' folders. Source: `pv_controller.go` (provisionClaim, reclaimVolume); the
words are upstream's. Differs: only the built-in local folders are made here; `Recycle` is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import claims, codec
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.controllers.volumes.decisions import PV_FINALIZER, Told
from carob.controllers.volumes.local_path import (
    PROVISIONER,
    LocalFolders,
    Unprovisionable,
    check,
    choose_node,
    new_volume,
    node_of,
    volume_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from carob.api.types import storage_v1
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.volumes.fresh import Fresh

_ANNOTATIONS = ("volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner")


class Provisioner:
    """Both ends of a volume's life."""

    def __init__(
        self,
        client: Client,
        nodes: Informer[core_v1.Node],
        classes: Mapping[str, storage_v1.StorageClass],
        volumes: Fresh[core_v1.PersistentVolume],
        tell: Callable[[Told], None],
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._classes = classes
        self._volumes = volumes
        self._tell = tell
        self._folders = LocalFolders(client)

    async def provision(self, claim: core_v1.PersistentVolumeClaim) -> bool:
        """Make a volume; False when it should be tried again later. Raises: ApiError."""
        name = claims.class_of(claim)
        class_ = self._classes.get(name)
        if class_ is None:
            return self._failed(claim, f'storageclass.storage.k8s.io "{name}" not found', again=False)
        provisioner = class_.provisioner
        if provisioner != PROVISIONER and provisioner.startswith("kubernetes.io/"):
            return self._failed(claim, f"no volume plugin matched name: {provisioner}", again=False)
        claim = await self._name_provisioner(claim, provisioner)
        if provisioner != PROVISIONER:
            text = (
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by "
                "the system administrator. If volume creation is delayed, please verify that the provisioner is "
                "running and correctly registered."
            )
            self._tell(Told(claim, "Normal", "ExternalProvisioning", text))
            return True
        return await self._make(claim, class_)

    async def _make(self, claim: core_v1.PersistentVolumeClaim, class_: storage_v1.StorageClass) -> bool:
        try:
            check(claim, class_)
            node = choose_node(claim, class_, self._nodes.items(), self._volumes.values())
            path = await self._folders.make(node, volume_name(claim))
        except Unprovisionable as why:
            text = f'failed to provision volume with StorageClass "{class_.metadata.name}": {why}'
            await self._reschedule(claim)
            return self._failed(claim, text, again=True)
        tree = new_volume(claim, class_, node, path)
        try:
            made = await self._client.create(codec.from_tree(core_v1.PersistentVolume, tree))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return True
        self._volumes.note(made)
        text = f"Successfully provisioned volume {made.metadata.name} using {PROVISIONER}"
        self._tell(Told(claim, "Normal", "ProvisioningSucceeded", text))
        return True

    def _failed(self, claim: core_v1.PersistentVolumeClaim, text: str, *, again: bool) -> bool:
        self._tell(Told(claim, "Warning", "ProvisioningFailed", text))
        return not again

    async def _name_provisioner(
        self, claim: core_v1.PersistentVolumeClaim, provisioner: str
    ) -> core_v1.PersistentVolumeClaim:
        """Tell whoever provisions that it is their turn. Source: `setClaimProvisioner`."""
        wanted = dict.fromkeys(_ANNOTATIONS, provisioner)
        if wanted.items() <= claim.metadata.annotations.items():
            return claim
        metadata = {"uid": claim.metadata.uid, "annotations": wanted}
        return await self._client.patch(
            core_v1.PersistentVolumeClaim,
            claim.metadata.name,
            claim.metadata.namespace,
            patch={"metadata": metadata},
        )

    async def _reschedule(self, claim: core_v1.PersistentVolumeClaim) -> None:
        """The chosen node cannot have it: let the scheduler choose again. Source: `rescheduleProvisioning`."""
        if claims.SELECTED_NODE not in claim.metadata.annotations:
            return
        metadata = {"uid": claim.metadata.uid, "annotations": {claims.SELECTED_NODE: None}}
        await self._client.patch(
            core_v1.PersistentVolumeClaim,
            claim.metadata.name,
            claim.metadata.namespace,
            patch={"metadata": metadata},
        )

    async def reclaim(self, volume: core_v1.PersistentVolume) -> tuple[str, str, bool] | None:
        """Do what the policy says; else the reason, the words and whether to try again. Raises: ApiError."""
        policy = volume.spec.persistent_volume_reclaim_policy
        if policy == "Retain":
            return None
        if policy == "Recycle":
            return "VolumeFailedRecycle", "No recycler plugin found for the volume!", False
        if policy != "Delete":
            return "VolumeUnknownReclaimPolicy", "Volume has unrecognized reclaim policy", False
        provisioner = volume.metadata.annotations.get(claims.PROVISIONED_BY, "")
        if provisioner == PROVISIONER:
            return await self._remove(volume)
        if provisioner:
            # whoever made it takes it back
            return None
        name = volume.metadata.name
        text = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
        return "VolumeFailedDelete", text, False

    async def _remove(self, volume: core_v1.PersistentVolume) -> tuple[str, str, bool] | None:
        name = volume.metadata.name
        node = node_of(volume, self._nodes.items())
        try:
            if node is None:
                raise Unprovisionable("the volume's node is not there")
            await self._folders.remove(node, name)
        except Unprovisionable as why:
            return "VolumeFailedDelete", str(why), True
        metadata = volume.metadata
        try:
            await self._client.delete(core_v1.PersistentVolume, name, uid=metadata.uid)
            fresh = await self._client.get(core_v1.PersistentVolume, name)
            left = [one for one in fresh.metadata.finalizers if one != PV_FINALIZER]
            version = fresh.metadata.resource_version
            patch = {"metadata": {"uid": metadata.uid, "resourceVersion": version, "finalizers": left or None}}
            await self._client.patch(core_v1.PersistentVolume, name, patch=patch)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
        return None

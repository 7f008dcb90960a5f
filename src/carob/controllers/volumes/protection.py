"""Claims outlive their deletion while a Pod that has a node uses them, volumes while they are bound, classes of volume
attributes while a claim or a volume has or wants them.

Source: kube-controller-manager pvc-protection, pv-protection and volumeattributesclass-protection controllers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1, storage_v1
from carob.client.workqueue import WorkQueue
from carob.controllers.volumes.binder import BY_CLAIM, claims_of_pod

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
ATTRIBUTES_FINALIZER = "kubernetes.io/vac-protection"
# what a key of a class of attributes begins with: it has no namespace, as a volume has none
_ATTRIBUTES = "volumeattributesclass "


class StorageProtection:
    """Keys are `namespace/name` of claims, names of volumes, and those of classes of attributes behind a word."""

    def __init__(
        self,
        client: Client,
        volumes: Informer[core_v1.PersistentVolume],
        wanted: Informer[core_v1.PersistentVolumeClaim],
        pods: Informer[PodView],
        attributes: Informer[storage_v1.VolumeAttributesClass],
        clock: Clock,
    ) -> None:
        self._client = client
        self._attributes = attributes
        self._volumes = volumes
        self._claims = wanted
        self._pods = pods
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._volumes, self._claims, self._pods, self._attributes):
            await informer.wait_synced()
        self._volumes.subscribe(self._changed)
        self._claims.subscribe(self._changed)
        self._volumes.subscribe(self._user_changed)
        self._claims.subscribe(self._user_changed)
        self._attributes.subscribe(lambda key, old, new: self._changed(_ATTRIBUTES + key, old, new))
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, 1, "storage protection")

    def _changed(self, key: str, old: Any, new: Any) -> None:
        if new is not None and new.metadata.deletion_timestamp is not None:
            self._queue.add(key)

    def _user_changed(self, key: str, old: Any, new: Any) -> None:
        """A claim or a volume may have let go of a class of attributes."""
        for name in attributes_of(old) - attributes_of(new):
            self._queue.add(_ATTRIBUTES + name)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if new is None and old is not None:
            for name in claims_of_pod(old):
                self._queue.add(name)

    async def _sync(self, key: str) -> None:
        if key.startswith(_ATTRIBUTES):
            name = key.removeprefix(_ATTRIBUTES)
            found = self._attributes.get(name)
            users: list[Any] = [*self._claims.items(), *self._volumes.items()]
            if found is not None and not any(name in attributes_of(one) for one in users):
                await self._let_go(found, ATTRIBUTES_FINALIZER)
            return
        if "/" in key:
            claim = self._claims.get(key)
            if claim is not None and not self._in_use(key):
                await self._let_go(claim, CLAIM_FINALIZER)
            return
        volume = self._volumes.get(key)
        if volume is not None and volume.status.phase != "Bound":
            await self._let_go(volume, VOLUME_FINALIZER)

    def _in_use(self, key: str) -> bool:
        # a Pod without a node cannot start any more: no kubelet takes a claim that is being deleted
        return any(pod.spec.node_name for pod in self._pods.by_index(BY_CLAIM, key))

    async def _let_go(self, obj: Any, finalizer: str) -> None:
        metadata = obj.metadata
        if metadata.deletion_timestamp is None or finalizer not in metadata.finalizers:
            return
        left = [one for one in metadata.finalizers if one != finalizer]
        patch = {
            "metadata": {
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
                "finalizers": left or None,
            }
        }
        try:
            await self._client.patch(type(obj), metadata.name, metadata.namespace, patch=patch)
        except ApiError as error:
            if error.reason != "NotFound":
                raise


def attributes_of(user: core_v1.PersistentVolumeClaim | core_v1.PersistentVolume | None) -> set[str]:
    """The classes of attributes that a claim wants, has, or is being given; that of a volume."""
    if user is None:
        return set()
    names = {user.spec.volume_attributes_class_name}
    if isinstance(user, core_v1.PersistentVolumeClaim):
        status = user.status
        names.add(status.current_volume_attributes_class_name)
        if status.modify_volume_status is not None:
            names.add(status.modify_volume_status.target_volume_attributes_class_name)
    return {name for name in names if name}

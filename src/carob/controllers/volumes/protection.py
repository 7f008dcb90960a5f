"""Claims outlive their deletion while a Pod that has a node uses them, volumes while they are bound.

Source: kube-controller-manager pvc-protection and pv-protection controllers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.client.workqueue import WorkQueue
from carob.controllers.volumes.binder import BY_CLAIM, claims_of_pod

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"


class StorageProtection:
    """Keys are `namespace/name` of claims and names of volumes."""

    def __init__(
        self,
        client: Client,
        volumes: Informer[core_v1.PersistentVolume],
        wanted: Informer[core_v1.PersistentVolumeClaim],
        pods: Informer[PodView],
        clock: Clock,
    ) -> None:
        self._client = client
        self._volumes = volumes
        self._claims = wanted
        self._pods = pods
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._volumes, self._claims, self._pods):
            await informer.wait_synced()
        self._volumes.subscribe(self._changed)
        self._claims.subscribe(self._changed)
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, 1, "storage protection")

    def _changed(self, key: str, old: Any, new: Any) -> None:
        if new is not None and new.metadata.deletion_timestamp is not None:
            self._queue.add(key)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if new is None and old is not None:
            for name in claims_of_pod(old):
                self._queue.add(name)

    async def _sync(self, key: str) -> None:
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

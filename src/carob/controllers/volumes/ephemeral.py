"""A Pod's generic ephemeral volumes: each gets a claim that belongs to the Pod and ends with it.

`new_claim` is pure. Source: kube-controller-manager `volume/ephemeral/controller.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from carob.api import claims
from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.references import controller_reference
from carob.controllers.views import reference
from carob.controllers.volumes.binder import BY_CLAIM

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView


def new_claim(pod: core_v1.Pod, volume: core_v1.Volume) -> core_v1.PersistentVolumeClaim:
    """The claim that an ephemeral volume stands for."""
    assert volume.ephemeral is not None
    template = volume.ephemeral.volume_claim_template
    assert template is not None
    return core_v1.PersistentVolumeClaim(
        metadata=meta_v1.ObjectMeta(
            name=claims.claim_name(pod.metadata.name, volume),
            namespace=pod.metadata.namespace,
            labels=dict(template.metadata.labels),
            annotations=dict(template.metadata.annotations),
            owner_references=[controller_reference("Pod", pod.metadata)],
        ),
        spec=msgspec.structs.replace(template.spec),
    )


class EphemeralVolumes:
    """Keys are keys of Pods."""

    def __init__(
        self,
        client: Client,
        pods: Informer[PodView],
        wanted: Informer[core_v1.PersistentVolumeClaim],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._pods = pods
        self._claims = wanted
        self._recorder = recorder
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._pods.wait_synced()
        await self._claims.wait_synced()
        self._pods.subscribe(self._pod_changed)
        self._claims.subscribe(self._claim_changed)
        await self._queue.work(self._sync, 1, "ephemeral volumes")

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if new is not None and any(v.ephemeral is not None for v in new.spec.volumes):
            self._queue.add(key)

    def _claim_changed(self, key: str, old: object, new: object | None) -> None:
        if new is None:
            for pod in self._pods.by_index(BY_CLAIM, key):
                self._queue.add(key_of(pod))

    async def _sync(self, key: str) -> None:
        view = self._pods.get(key)
        if view is None or view.metadata.deletion_timestamp is not None or view.has_ended:
            return
        missing = []
        for volume in view.spec.volumes:
            if volume.ephemeral is None:
                continue
            name = claims.claim_name(view.metadata.name, volume)
            found = self._claims.get(f"{view.metadata.namespace}/{name}")
            if found is None:
                missing.append(volume.name)
            elif not claims.made_for(found, view.metadata.uid):
                text = f"PVC {key_of(found)} was not created for pod {key} (pod is not owner)"
                self._recorder.event(
                    reference(view), "Warning", "FailedBinding", f"ephemeral volume {volume.name}: {text}"
                )
        if missing:
            await self._make(view, missing)

    async def _make(self, view: PodView, names: list[str]) -> None:
        try:
            pod = await self._client.get(core_v1.Pod, view.metadata.name, view.metadata.namespace)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return
        if pod.metadata.uid != view.metadata.uid:
            return
        for volume in pod.spec.volumes:
            if volume.name not in names or volume.ephemeral is None:
                continue
            try:
                await self._client.create(new_claim(pod, volume))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    text = f"ephemeral volume {volume.name}: create PVC {claims.claim_name(pod.metadata.name, volume)}"
                    self._recorder.event(pod, "Warning", "FailedBinding", f"{text}: {error.message}")
                    raise

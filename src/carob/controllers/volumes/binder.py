"""Binds claims to volumes: does the one write that is next, looks again, hands the slow work to the provisioner.

Touches the API through `client`. One worker, because a choice must be known before the next is made; what waits for a
node (folders that are made and removed) runs beside it, at most `SLOW_WORKERS` at once.
Source: kube-controller-manager persistentvolume-binder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import claims
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.tasks import TaskGroup
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.volumes.decisions import Next, Told, World, next_for_claim, next_for_volume, phase
from carob.controllers.volumes.fresh import Fresh
from carob.controllers.volumes.provisioner import Provisioner

if TYPE_CHECKING:
    from carob.api.types import storage_v1
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

CLAIM, VOLUME = "claim:", "volume:"
SLOW_WORKERS = 4
MOST_WRITES = 16
"""Writes in one look: a binding takes four; more would be a circle."""
BY_CLAIM = "claim"
"""The index of Pods by the claims that they use, `namespace/name`."""
RETRY_SECONDS = 15.0


def claims_of_pod(pod: PodView) -> list[str]:
    """The values of the index `BY_CLAIM`."""
    metadata = pod.metadata
    names = (claims.claim_name(metadata.name, volume) for volume in pod.spec.volumes)
    return [f"{metadata.namespace}/{name}" for name in names if name]


class VolumeBinder:
    """Keys are `claim:namespace/name` and `volume:name`."""

    def __init__(
        self,
        client: Client,
        volumes: Informer[core_v1.PersistentVolume],
        wanted: Informer[core_v1.PersistentVolumeClaim],
        classes: Informer[storage_v1.StorageClass],
        nodes: Informer[core_v1.Node],
        pods: Informer[PodView],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._informers = (volumes, wanted, classes, nodes, pods)
        self._volumes: Fresh[core_v1.PersistentVolume] = Fresh(volumes)
        self._claims: Fresh[core_v1.PersistentVolumeClaim] = Fresh(wanted)
        self._classes: Fresh[storage_v1.StorageClass] = Fresh(classes)
        self._recorder = recorder
        self._queue = WorkQueue(clock)
        self._slow = WorkQueue(clock, first_delay_seconds=1.0)
        self._told: dict[str, tuple[str, str]] = {}
        self._provisioner = Provisioner(client, nodes, self._classes, self._volumes, self._tell)
        self._world = World(self._volumes, self._claims, self._classes, self._users)

    def _users(self, claim: core_v1.PersistentVolumeClaim) -> list[tuple[str, str]]:
        pods = self._informers[4].by_index(BY_CLAIM, key_of(claim))
        return [(pod.metadata.name, pod.spec.node_name) for pod in pods if not pod.has_ended]

    async def run(self) -> None:
        """Until cancelled."""
        for informer in self._informers:
            await informer.wait_synced()
        volumes, wanted, classes, _, pods = self._informers
        wanted.subscribe(self._claim_changed)
        volumes.subscribe(self._volume_changed)
        classes.subscribe(lambda key, old, new: self._wake_waiting())
        pods.subscribe(self._pod_changed)
        async with TaskGroup() as group:
            group.spawn(self._queue.work(self._sync, 1, "volume binder"), "volume binder")
            group.spawn(self._slow.work(self._work_slowly, SLOW_WORKERS, "provisioner"), "provisioner")

    # what the informers tell

    def _claim_changed(
        self, key: str, old: core_v1.PersistentVolumeClaim | None, new: core_v1.PersistentVolumeClaim | None
    ) -> None:
        self._queue.add(CLAIM + key)
        name = (new or old).spec.volume_name if (new or old) is not None else ""  # type: ignore[union-attr]
        if name:
            self._queue.add(VOLUME + name)
        if new is None and old is not None:
            self._told.pop(old.metadata.uid, None)

    def _volume_changed(
        self, key: str, old: core_v1.PersistentVolume | None, new: core_v1.PersistentVolume | None
    ) -> None:
        self._queue.add(VOLUME + key)
        reference = (new or old).spec.claim_ref if (new or old) is not None else None  # type: ignore[union-attr]
        if reference is not None:
            self._queue.add(f"{CLAIM}{reference.namespace}/{reference.name}")
        if new is not None and new.status.phase == "Available" and (old is None or old.status.phase != "Available"):
            self._wake_waiting()
        if new is None and old is not None:
            self._told.pop(old.metadata.uid, None)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        # only for the words of its claims' events
        if (old is None or new is None) and (new or old) is not None:
            for name in claims_of_pod(new or old):  # type: ignore[arg-type]
                claim = self._claims.get(name)
                if claim is not None and not claim.spec.volume_name:
                    self._queue.add(CLAIM + name)

    def _wake_waiting(self) -> None:
        """Claims without a volume may get one now."""
        for key, claim in self._claims.items():
            if not claims.is_bound(claim):
                self._queue.add(CLAIM + key)

    # the work

    async def _sync(self, key: str) -> None:
        kind, _, name = key.partition(":")
        for _ in range(MOST_WRITES):
            found = self._look(kind, name)
            if found is None:
                return
            due = found[1]
            written = None
            if due.write is not None:
                written = await self._write(due.write.obj, due.write.patch, due.write.subresource)
            for told in due.events:
                self._tell(told)
            if due.provision or due.reclaim:
                self._slow.add(key)
            if written is None:
                return
        raise RuntimeError(f"{key} does not settle")

    def _look(self, kind: str, name: str) -> tuple[Any, Next] | None:
        if kind == "claim":
            claim = self._claims.get(name)
            return None if claim is None else (claim, next_for_claim(claim, self._world))
        volume = self._volumes.get(name)
        return None if volume is None else (volume, next_for_volume(volume, self._world))

    async def _write(self, obj: Any, patch: dict[str, Any], subresource: str) -> Any | None:
        """The object as it is now; None when it is gone. Raises: ApiError, also Conflict: it is then looked at anew."""
        metadata = obj.metadata
        try:
            answer = await self._client.patch(
                type(obj), metadata.name, metadata.namespace, patch=patch, subresource=subresource
            )
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise
        (self._volumes if isinstance(answer, core_v1.PersistentVolume) else self._claims).note(answer)
        return answer

    def _tell(self, told: Told) -> None:
        """Once, until there is something else to tell of the object."""
        uid = told.obj.metadata.uid
        if self._told.get(uid) == (told.reason, told.message):
            return
        self._told[uid] = (told.reason, told.message)
        self._recorder.event(told.obj, told.type, told.reason, told.message)

    async def _work_slowly(self, key: str) -> None:
        kind, _, name = key.partition(":")
        found = self._look(kind, name)
        if found is None:
            return
        obj, due = found
        if kind == "claim" and due.provision:
            if not await self._provisioner.provision(obj):
                self._slow.add_after(key, RETRY_SECONDS)
        elif kind == "volume" and due.reclaim:
            await self._reclaim(key, obj)

    async def _reclaim(self, key: str, volume: core_v1.PersistentVolume) -> None:
        why = await self._provisioner.reclaim(volume)
        if why is None:
            return
        reason, message, again = why
        write = phase(volume, "Failed", message)
        if write is not None:
            await self._write(write.obj, write.patch, write.subresource)
        self._tell(Told(volume, "Warning", reason, message))
        if again:
            self._slow.add_after(key, RETRY_SECONDS)

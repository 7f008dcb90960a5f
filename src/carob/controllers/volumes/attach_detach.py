"""Has the drivers of CSI volumes attach them to the nodes of Pods and take them away again, by VolumeAttachments.

Touches the API through `client`; what to do is decided in `attachments.py`. One worker: nodes' statuses have one writer.
Source: kube-controller-manager `attachdetach`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import claims
from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1, storage_v1
from carob.client.informer import Informer, key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.views import BY_NODE, reference
from carob.controllers.volumes.attachments import (
    AttachableVolume,
    AttachPlan,
    NodeFacts,
    attachable,
    facts_of,
    plan,
    users_by_node,
)
from carob.controllers.volumes.binder import BY_CLAIM, claims_of_pod
from carob.controllers.volumes.fresh import Fresh

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.rest import Client
    from carob.controllers.views import PodView

BY_VOLUME, ON_NODE = "volume", "node"


def _volume_of(attachment: storage_v1.VolumeAttachment) -> Iterable[str]:
    return [attachment.spec.source.persistent_volume_name or ""]


class AttachDetach:
    """Keys are names of PersistentVolumes."""

    def __init__(
        self,
        client: Client,
        volumes: Informer[core_v1.PersistentVolume],
        wanted: Informer[core_v1.PersistentVolumeClaim],
        nodes: Informer[core_v1.Node],
        pods: Informer[PodView],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._volumes = volumes
        self._wanted = wanted
        self._nodes = nodes
        self._pods = pods
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._attachments = Informer(client, storage_v1.VolumeAttachment, clock)
        self._attachments.add_index(BY_VOLUME, _volume_of)
        self._attachments.add_index(ON_NODE, lambda one: [one.spec.node_name])
        self._drivers = Informer(client, storage_v1.CSIDriver, clock)
        self._fresh_nodes: Fresh[core_v1.Node] = Fresh(nodes)
        self._known: dict[str, AttachableVolume] = {}
        """Volumes with attachments: they are taken from nodes also when they are gone themselves."""
        self._leaving: dict[tuple[str, str], float] = {}
        """Since when (monotonic) nobody on a node has needed a volume."""
        self._told: dict[str, dict[str, str]] = {}
        """What Pods were told of each volume, by their uids."""
        self.informers: list[Informer[Any]] = [self._attachments, self._drivers]

    async def run(self) -> None:
        """Until cancelled."""
        informers: list[Informer[Any]] = [self._volumes, self._wanted, self._nodes, self._pods, *self.informers]
        for informer in informers:
            await informer.wait_synced()
        self._volumes.subscribe(lambda key, old, new: self._queue.add(key))
        self._wanted.subscribe(lambda key, old, new: self._claim_changed(old, new))
        self._pods.subscribe(lambda key, old, new: self._pod_changed(old, new))
        self._attachments.subscribe(lambda key, old, new: self._attachment_changed(old, new))
        self._nodes.subscribe(self._node_changed)
        self._drivers.subscribe(lambda key, old, new: self._driver_changed(key))
        await self._queue.work(self._sync, 1, "attach-detach")

    # what the informers tell

    def _claim_changed(
        self, old: core_v1.PersistentVolumeClaim | None, new: core_v1.PersistentVolumeClaim | None
    ) -> None:
        claim = new or old
        if claim is not None and claim.spec.volume_name:
            self._queue.add(claim.spec.volume_name)

    def _pod_changed(self, old: PodView | None, new: PodView | None) -> None:
        pod = new or old
        # most changes of a running Pod are none to us
        if pod is None or not pod.spec.volumes or not pod.spec.node_name:
            return
        if old is None or new is None or old.spec.node_name != new.spec.node_name or old.has_ended != new.has_ended:
            self._wake_volumes_of(pod)

    def _wake_volumes_of(self, pod: PodView) -> None:
        for key in claims_of_pod(pod):
            claim = self._wanted.get(key)
            if claim is not None and claim.spec.volume_name:
                self._queue.add(claim.spec.volume_name)

    def _attachment_changed(
        self, old: storage_v1.VolumeAttachment | None, new: storage_v1.VolumeAttachment | None
    ) -> None:
        attachment = new or old
        name = attachment.spec.source.persistent_volume_name if attachment is not None else None
        if name:
            self._queue.add(name)

    def _node_changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if old is not None and new is not None and facts_of(old) == facts_of(new):
            return
        for attachment in self._attachments.by_index(ON_NODE, key):
            self._queue.add(attachment.spec.source.persistent_volume_name or "")
        if old is None or (new is not None and facts_of(old).managed != facts_of(new).managed):
            for pod in self._pods.by_index(BY_NODE, key):
                if pod.spec.volumes:
                    self._wake_volumes_of(pod)

    def _driver_changed(self, name: str) -> None:
        for volume in self._volumes.items():
            if volume.spec.csi is not None and volume.spec.csi.driver == name:
                self._queue.add(volume.metadata.name)

    # the work

    async def _sync(self, key: str) -> None:
        attachments = self._attachments.by_index(BY_VOLUME, key)
        volume = self._volume(key, bool(attachments))
        if volume is None:
            return
        # what somebody else made for the same volume under another name is not ours
        ours = {
            one.spec.node_name: one
            for one in attachments
            if one.metadata.name == volume.attachment_name(one.spec.node_name)
        }
        users = users_by_node(self._users(key), self._node)
        what = plan(volume, users, ours, self._node, lambda node: self._left(key, node))
        for kept in [one for one in self._leaving if one[0] == key and one[1] not in what.leaving]:
            del self._leaving[kept]
        await self._carry_out(volume, what, users, ours)

    def _volume(self, key: str, attached: bool) -> AttachableVolume | None:
        volume = self._volumes.get(key)
        found = attachable(volume, self._drivers.get) if volume is not None else self._known.get(key)
        if found is not None and attached:
            self._known[key] = found
        else:
            self._known.pop(key, None)
        if found is None and not attached:
            self._told.pop(key, None)
        return found

    def _users(self, key: str) -> list[PodView]:
        """The Pods that name a claim which is bound to the volume, on both sides."""
        volume = self._volumes.get(key)
        bound_to = volume.spec.claim_ref if volume is not None else None
        if bound_to is None:
            return []
        claim = self._wanted.get(f"{bound_to.namespace}/{bound_to.name}")
        if claim is None or claim.spec.volume_name != key or claim.metadata.uid != bound_to.uid:
            return []
        if claim.status.phase != "Bound":
            return []
        pods = self._pods.by_index(BY_CLAIM, key_of(claim))
        return [pod for pod in pods if self._may_use(pod, claim)]

    @staticmethod
    def _may_use(pod: PodView, claim: core_v1.PersistentVolumeClaim) -> bool:
        for volume in pod.spec.volumes:
            if claims.claim_name(pod.metadata.name, volume) == claim.metadata.name:
                return volume.ephemeral is None or claims.made_for(claim, pod.metadata.uid)
        return False

    def _node(self, name: str) -> NodeFacts | None:
        node = self._fresh_nodes.get(name)
        return facts_of(node) if node is not None else None

    def _left(self, key: str, node: str) -> float:
        now = self._clock.monotonic()
        return now - self._leaving.setdefault((key, node), now)

    async def _carry_out(
        self,
        volume: AttachableVolume,
        what: AttachPlan,
        users: dict[str, list[PodView]],
        ours: dict[str, storage_v1.VolumeAttachment],
    ) -> None:
        # taking away comes first: a Pod that moved gets its volume sooner
        for name in what.detach:
            await self._report(name, volume, attached=False)
            await self._delete(ours[name])
        for name in what.attach:
            await self._attach(volume, name)
        for name in what.report:
            await self._report(name, volume, attached=True)
            for pod in users[name]:
                words = f'AttachVolume.Attach succeeded for volume "{volume.name}" '
                self._tell(volume.name, pod, "Normal", "SuccessfulAttachVolume", words)
        for pod, words in (*what.refused, *what.failed):
            self._tell(volume.name, pod, "Warning", "FailedAttachVolume", words)
        if what.again_seconds is not None:
            self._queue.add_after(volume.name, what.again_seconds)
        if not users:
            self._told.pop(volume.name, None)

    def _tell(self, volume: str, pod: PodView, kind: str, reason: str, words: str) -> None:
        """Once, until there is something else to tell."""
        told = self._told.setdefault(volume, {})
        if told.get(pod.metadata.uid) != words:
            told[pod.metadata.uid] = words
            self._recorder.event(reference(pod), kind, reason, words)

    async def _attach(self, volume: AttachableVolume, node: str) -> None:
        attachment = storage_v1.VolumeAttachment(
            metadata=meta_v1.ObjectMeta(name=volume.attachment_name(node)),
            spec=storage_v1.VolumeAttachmentSpec(
                attacher=volume.driver,
                node_name=node,
                source=storage_v1.VolumeAttachmentSource(persistent_volume_name=volume.name),
            ),
        )
        try:
            await self._client.create(attachment)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _delete(self, attachment: storage_v1.VolumeAttachment) -> None:
        metadata = attachment.metadata
        if metadata.deletion_timestamp is not None:
            return
        try:
            await self._client.delete(storage_v1.VolumeAttachment, metadata.name, uid=metadata.uid)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    async def _report(self, name: str, volume: AttachableVolume, *, attached: bool) -> None:
        """Say in the node's status what is attached, for its kubelet waits for that."""
        node = self._fresh_nodes.get(name)
        if node is None:
            return
        others = [one for one in node.status.volumes_attached if one.name != volume.unique_name]
        if not attached and len(others) == len(node.status.volumes_attached):
            return
        mine = [core_v1.AttachedVolume(name=volume.unique_name)] if attached else []
        entries = [{"name": one.name, "devicePath": one.device_path} for one in (*others, *mine)]
        patch = {"status": {"volumesAttached": entries or None}}
        try:
            self._fresh_nodes.note(await self._client.patch(core_v1.Node, name, patch=patch, subresource="status"))
        except ApiError as error:
            if error.reason != "NotFound":
                raise

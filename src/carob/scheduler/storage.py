"""The scheduler's view of storage, and the writes that give a Pod's claims their volumes before the Pod gets its node.

Touches the API through `client`. What was decided a moment ago counts at once (`taken`, `selected`), as Pods do in the
snapshot. Source: scheduler `volumebinding/binder.go` (AssumePodVolumes, BindPodVolumes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from carob.api import claims
from carob.api.status import ApiError
from carob.api.types import core_v1, storage_v1
from carob.client.informer import Informer, split_key
from carob.scheduler.pod_volumes import BINDING, StorageView, look
from carob.scheduler.volume_limits import VolumeLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.scheduler.pod_volumes import Plan, PodVolumes
    from carob.scheduler.pods import PodInfo

T = TypeVar("T")


class BindingFailed(Exception):
    """The claims did not get what they need; the Pod is to be tried again. `plugin` is who says so, or
    nobody, if an extender did."""

    def __init__(self, words: str, plugin: str = BINDING) -> None:
        super().__init__(words)
        self.plugin = plugin


class CsiInformers:
    """What CSI drivers say of nodes and of what they can still make; `changed` as for `Storage`."""

    def __init__(self, client: Client, clock: Clock, changed: Callable[[], None]) -> None:
        self._nodes = Informer(client, storage_v1.CSINode, clock, name="scheduler CSI nodes")
        self._attachments = Informer(client, storage_v1.VolumeAttachment, clock, name="scheduler attachments")
        self.drivers = Informer(client, storage_v1.CSIDriver, clock, name="scheduler CSI drivers")
        self.capacities = Informer(client, storage_v1.CSIStorageCapacity, clock, name="scheduler capacities")
        self._attachments.add_index("node", lambda one: [one.spec.node_name])
        self.informers: tuple[Informer[Any], ...] = (self._nodes, self._attachments, self.drivers, self.capacities)

        def something_changed(key: str, old: object, new: object) -> None:
            changed()

        def attachment_changed(key: str, old: object, new: object) -> None:
            if new is None:
                changed()

        self._attachments.subscribe(attachment_changed)
        for informer in (self._nodes, self.drivers, self.capacities):
            informer.subscribe(something_changed)

    def limits(
        self,
        claim_of: Callable[[str], core_v1.PersistentVolumeClaim | None],
        volumes: Mapping[str, core_v1.PersistentVolume],
        classes: Mapping[str, storage_v1.StorageClass],
    ) -> VolumeLimits | None:
        """What limits the volumes of nodes now; None if nothing does."""
        if not len(self._nodes):
            return None
        return VolumeLimits(claim_of, volumes, classes, self._nodes.get, self._attached)

    def _attached(self, node: str) -> list[str]:
        found = self._attachments.by_index("node", node)
        return [one.spec.source.persistent_volume_name for one in found if one.spec.source.persistent_volume_name]


class Copy(Mapping[str, T], Generic[T]):
    """An informer's copy as a mapping; it shows what the informer shows."""

    def __init__(self, informer: Informer[T]) -> None:
        self._informer = informer

    def __getitem__(self, key: str) -> T:
        found = self._informer.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._informer.keys())

    def __len__(self) -> int:
        return len(self._informer)


class Storage:
    """Claims, volumes and classes; `changed` is called when one of them may let a Pod fit."""

    def __init__(self, client: Client, clock: Clock, changed: Callable[[], None]) -> None:
        self._client = client
        self._clock = clock
        self._changed = changed
        self._claims = Informer(client, core_v1.PersistentVolumeClaim, clock, name="scheduler claims")
        self._volumes = Informer(client, core_v1.PersistentVolume, clock, name="scheduler volumes")
        self._classes = Informer(client, storage_v1.StorageClass, clock, name="scheduler storage classes")
        self._csi = CsiInformers(client, clock, changed)
        own: tuple[Informer[Any], ...] = (self._claims, self._volumes, self._classes)
        self.informers: tuple[Informer[Any], ...] = (*own, *self._csi.informers)
        self._taken: dict[str, str] = {}
        self._selected: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        """The version of each claim whose node we have written."""
        self._waiters: set[asyncio.Event] = set()
        for informer in own:
            informer.subscribe(self._something_changed)

    def _something_changed(self, key: str, old: Any, new: Any) -> None:
        for waiter in self._waiters:
            waiter.set()
        self._changed()

    def look(self, pod: PodInfo, users: Mapping[str, int]) -> PodVolumes:
        """What the Pod's claims ask of a node now."""
        volumes, classes = Copy(self._volumes), Copy(self._classes)
        view = StorageView(
            claims=Copy(self._claims),
            volumes=volumes,
            classes=classes,
            taken=frozenset(self._taken),
            selected=self._selected,
            limits=self._csi.limits(self._claims.get, volumes, classes),
            drivers=Copy(self._csi.drivers),
            capacities=self._csi.capacities.items(),
        )
        return look(pod, view, users)

    def is_single(self, key: str) -> bool:
        """Whether one Pod at a time may use the claim."""
        claim = self._claims.get(key)
        return claim is not None and claims.ONE_POD in claim.spec.access_modes

    def assume(self, plan: Plan, node_name: str) -> None:
        """Count the plan as carried out."""
        for key, volume in plan.chosen.items():
            self._taken[volume] = key
        for key in (*plan.made, *plan.chosen):
            self._selected[key] = node_name

    def forget(self, plan: Plan) -> None:
        """The plan was carried out, or given up."""
        for key, volume in plan.chosen.items():
            if self._taken.get(volume) == key:
                del self._taken[volume]
        for key in (*plan.made, *plan.chosen):
            self._selected.pop(key, None)
            self._seen.pop(key, None)

    async def carry_out(self, plan: Plan, node_name: str, timeout_seconds: float) -> None:
        """Return when all claims of the plan are bound. Raises: BindingFailed, ConnectionError."""
        try:
            for key, volume in plan.chosen.items():
                await self._give(key, volume)
            for key in plan.made:
                await self._select(key, node_name)
        except ApiError as error:
            raise BindingFailed(error.message) from error
        deadline = self._clock.monotonic() + timeout_seconds
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        timer = asyncio.get_running_loop().create_task(self._ring(waiter, timeout_seconds))
        try:
            while not self._all_bound(plan, node_name):
                if self._clock.monotonic() >= deadline:
                    raise BindingFailed("binding volumes: context deadline exceeded")
                await waiter.wait()
                waiter.clear()
        finally:
            timer.cancel()
            self._waiters.discard(waiter)

    async def _ring(self, waiter: asyncio.Event, seconds: float) -> None:
        await self._clock.sleep(seconds)
        waiter.set()

    def _all_bound(self, plan: Plan, node_name: str) -> bool:
        done = True
        for key in (*plan.chosen, *plan.made):
            claim = self._claims.get(key)
            if claim is None:
                raise BindingFailed(f'persistentvolumeclaim "{key}" was deleted while it was being bound')
            if claims.is_bound(claim):
                continue
            done = False
            # the version that we wrote was seen, and yet the choice is gone: the provisioner wants another node
            if (
                key in plan.made
                and self._seen.get(key, 0) <= int(claim.metadata.resource_version or 0)
                and (claim.metadata.annotations.get(claims.SELECTED_NODE) != node_name)
            ):
                raise BindingFailed(f'provisioning failed for PVC "{claim.metadata.name}"')
        return done

    async def _give(self, key: str, volume_name: str) -> None:
        claim, volume = self._claims.get(key), self._volumes.get(volume_name)
        if claim is None or volume is None:
            raise BindingFailed(f"{key} or its volume {volume_name} is gone")
        if volume.spec.claim_ref is not None and claims.refers_to(volume, claim) and volume.spec.claim_ref.uid:
            return
        metadata = claim.metadata
        reference = {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        }
        patch: dict[str, Any] = {
            "metadata": {"resourceVersion": volume.metadata.resource_version},
            "spec": {"claimRef": reference},
        }
        if volume.spec.claim_ref is None:
            patch["metadata"]["annotations"] = {claims.BOUND_BY_CONTROLLER: "yes"}
        await self._client.patch(core_v1.PersistentVolume, volume_name, patch=patch)

    async def _select(self, key: str, node_name: str) -> None:
        namespace, name = split_key(key)
        patch = {"metadata": {"annotations": {claims.SELECTED_NODE: node_name}}}
        claim = await self._client.patch(core_v1.PersistentVolumeClaim, name, namespace, patch=patch)
        self._seen[key] = int(claim.metadata.resource_version or 0)

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
        self.informers: tuple[Informer[Any], ...] = (self._claims, self._volumes, self._classes)
        self._taken: dict[str, str] = {}
        self._selected: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        """The version of each claim whose node we have written."""
        self._waiters: set[asyncio.Event] = set()
        for informer in self.informers:
            informer.subscribe(self._something_changed)

    def _something_changed(self, key: str, old: Any, new: Any) -> None:
        for waiter in self._waiters:
            waiter.set()
        self._changed()

    def look(self, pod: PodInfo, users: Mapping[str, int]) -> PodVolumes:
        """What the Pod's claims ask of a node now."""
        view = StorageView(
            claims=Copy(self._claims),
            volumes=Copy(self._volumes),
            classes=Copy(self._classes),
            taken=frozenset(self._taken),
            selected=self._selected,
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

"""Pods leave devices that have NoExecute taints: at once, or when their claim's toleration ends.

`due_at` is pure. A Pod's time is counted from the taint's `timeAdded`, which the API server writes.
Source: kube-controller-manager `devicetainteviction/device_taint_eviction.go`; the words are upstream's. Differs: no rules
(DeviceTaintRule), which are off by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api import resource_claims
from carob.api.resources import add_view
from carob.api.types import resource_v1
from carob.base.clock import parse_rfc3339
from carob.client.informer import Informer
from carob.client.workqueue import WorkQueue
from carob.controllers.devices.controller import claims_of
from carob.controllers.disruption import disruption_patch, end_pod
from carob.controllers.ownership import Owned
from carob.controllers.views import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.rest import Client
    from carob.controllers.views import PodView

    TaintsOf = Callable[[resource_v1.DeviceRequestAllocationResult], Sequence[resource_v1.DeviceTaint]]

REASON, MESSAGE = "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint"
EVENT = "DeviceTaintManagerEviction"
NO_EXECUTE = "NoExecute"
WORKERS = 2
BY_POOL = "pool"
"""The index of slices, and of claims by their devices: `driver/pool`."""


class DeviceView(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    taints: tuple[resource_v1.DeviceTaint, ...] = ()


class PoolView(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    generation: int = 0


class SliceSpecView(Struct, kw_only=True, gc=False):
    driver: str = ""
    pool: PoolView = field(default_factory=PoolView)
    devices: tuple[DeviceView, ...] = ()
    """After `keep_tainted` only those that drive Pods away."""


class SliceView(Owned, kw_only=True, gc=False):
    spec: SliceSpecView = field(default_factory=SliceSpecView)


add_view(SliceView, resource_v1.ResourceSlice)


def keep_tainted(key: str, old: SliceView | None, new: SliceView | None) -> None:
    """Handler of the slices' informer, before all others: of thousands of devices few have taints."""
    if new is not None:
        new.spec.devices = tuple(
            one for one in new.spec.devices if any(taint.effect == NO_EXECUTE for taint in one.taints)
        )


def due_at(claim: resource_v1.ResourceClaim, taints_of: TaintsOf, now: float) -> float | None:
    """When those who use the claim must go (seconds since 1970); None: they may stay."""
    allocation = claim.status.allocation
    due: float | None = None
    for device in allocation.devices.results if allocation is not None else ():
        for taint in taints_of(device):
            used = [one for one in device.tolerations if one.effect == NO_EXECUTE and _covers(one, taint)]
            if any(one.toleration_seconds is None for one in used):
                continue
            since = parse_rfc3339(taint.time_added) if taint.time_added else now
            until = since + min((max(one.toleration_seconds or 0, 0) for one in used), default=0)
            due = until if due is None else min(due, until)
    return due


def _covers(toleration: resource_v1.DeviceToleration, taint: resource_v1.DeviceTaint) -> bool:
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


def _pools_of(claim: resource_v1.ResourceClaim) -> Iterable[str]:
    allocation = claim.status.allocation
    return {f"{one.driver}/{one.pool}" for one in allocation.devices.results} if allocation is not None else ()


class DeviceTaintEviction:
    """Keys are keys of Pods (`namespace/name`)."""

    def __init__(
        self,
        client: Client,
        pods: Informer[PodView],
        claims: Informer[resource_v1.ResourceClaim],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._pods = pods
        self._claims = claims
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._slices = Informer(client, SliceView, clock, name="taints of devices")
        self._slices.subscribe(keep_tainted)
        self._slices.add_index(BY_POOL, lambda one: [f"{one.spec.driver}/{one.spec.pool.name}"])
        claims.add_index(BY_POOL, _pools_of)
        self._marked: set[str] = set()
        """Pods whose end is planned: if it is called off, that is said."""
        self.informers: list[Informer[Any]] = [self._slices]

    async def run(self) -> None:
        """Until cancelled."""
        await self._pods.wait_synced()
        await self._claims.wait_synced()
        await self._slices.wait_synced()
        self._slices.subscribe(self._slice_changed)
        self._claims.subscribe(self._claim_changed)
        self._pods.subscribe(self._pod_changed)
        await self._queue.work(self._sync, WORKERS, "device taint eviction")

    def _slice_changed(self, key: str, old: SliceView | None, new: SliceView | None) -> None:
        specs = [one.spec for one in (old, new) if one is not None]
        if len(specs) == 2 and specs[0] == specs[1]:
            return
        for pool in {f"{one.driver}/{one.pool.name}" for one in specs}:
            for claim in self._claims.by_index(BY_POOL, pool):
                self._look_at_users(claim)

    def _claim_changed(
        self, key: str, old: resource_v1.ResourceClaim | None, new: resource_v1.ResourceClaim | None
    ) -> None:
        for claim in (old, new):
            if claim is not None and any(self._slices.by_index(BY_POOL, pool) for pool in _pools_of(claim)):
                self._look_at_users(claim)

    def _look_at_users(self, claim: resource_v1.ResourceClaim) -> None:
        for user in claim.status.reserved_for:
            if not user.api_group and user.resource == "pods":
                self._queue.add(f"{claim.metadata.namespace}/{user.name}")

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if new is None:
            self._marked.discard(key)
        elif new.spec.resource_claims and (old is None or old.spec.node_name != new.spec.node_name):
            self._queue.add(key)

    def _taints(self, device: resource_v1.DeviceRequestAllocationResult) -> Sequence[resource_v1.DeviceTaint]:
        """Those of the device's newest description that drive Pods away."""
        slices = self._slices.by_index(BY_POOL, f"{device.driver}/{device.pool}")
        newest = max((one.spec.pool.generation for one in slices), default=0)
        return [
            taint
            for one in slices
            if one.spec.pool.generation == newest
            for found in one.spec.devices
            if found.name == device.device
            for taint in found.taints
            if taint.effect == NO_EXECUTE
        ]

    async def _sync(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or not pod.spec.node_name or pod.metadata.deletion_timestamp is not None or pod.has_ended:
            return
        now = self._clock.now()
        due: float | None = None
        for name in claims_of(pod):
            claim = self._claims.get(name)
            if claim is None or not resource_claims.is_reserved_for(claim, pod.metadata.uid):
                continue
            end = due_at(claim, self._taints, now)
            if end is not None:
                due = end if due is None else min(due, end)
        if due is None:
            if key in self._marked:
                self._marked.discard(key)
                self._say(pod, "Cancelling deletion")
        elif due > now:
            self._marked.add(key)
            self._queue.add_after(key, due - now)
        else:
            self._say(pod, "Marking for deletion")
            await end_pod(self._client, pod, disruption_patch(pod, REASON, MESSAGE, now, fail=False))

    def _say(self, pod: PodView, message: str) -> None:
        self._recorder.event(reference(pod), "Normal", EVENT, message)

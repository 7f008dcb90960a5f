"""The scheduler's view of devices, and the writes that give a Pod's claims theirs before the Pod gets its node.

Touches the API through `client`. What was decided a moment ago counts at once, as Pods do in the snapshot, until the API
shows it or it failed. Source: scheduler plugin DynamicResources (Reserve, PreBind, Unreserve, dra_manager.go).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from carob.api import codec, resource_claims
from carob.api.status import ApiError
from carob.api.types import core_v1, resource_v1
from carob.base.clock import rfc3339
from carob.base.ids import new_uid
from carob.base.log import get_logger
from carob.client.informer import Informer, key_of
from carob.scheduler.devices.extended import ANNOTATION, NOT_YET, backed_by
from carob.scheduler.devices.pod_devices import NAME, DevicePlan, DevicesView, PodDevices, look
from carob.scheduler.devices.pools import Offer, Pools
from carob.scheduler.devices.taken import Taken
from carob.scheduler.storage import BindingFailed, Copy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client
    from carob.scheduler.pods import PodInfo

BIND_TIMEOUT_SECONDS = 600.0
"""Source: DynamicResourcesArgs.bindingTimeout."""
MAX_CONFLICTS = 5
ASK_AGAIN_SECONDS = 1.0
LEFT_OVER = "left over"
"""The index of claims that were made for Pods' extended resources, by the Pods' uids."""
_Claim = resource_v1.ResourceClaim
T = TypeVar("T")

_log = get_logger("scheduler")


class Devices:
    """Claims, classes and slices; `changed` is called when one of them may let a Pod fit."""

    def __init__(self, client: Client, clock: Clock, randomness: Randomness, changed: Callable[[], None]) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._changed = changed
        self._claims = Informer(client, _Claim, clock, name="scheduler resource claims")
        self._classes = Informer(client, resource_v1.DeviceClass, clock, name="scheduler device classes")
        self._slices = Informer(client, resource_v1.ResourceSlice, clock, name="scheduler resource slices")
        self.informers: tuple[Informer[Any], ...] = (self._claims, self._classes, self._slices)
        self._offers: dict[str, Offer] = {}
        self._pools: Pools | None = None
        self._taken = Taken()
        self._counted: dict[str, resource_v1.AllocationResult] = {}
        """What is counted as taken, by the uids of the claims."""
        self._pending: set[str] = set()
        """The uids of those that the API does not show yet."""
        self._moved: set[str] = set()
        self._all_moved = False
        self._waiters: set[asyncio.Event] = set()
        self._backed: dict[str, str] = {}
        self._claims.add_index(LEFT_OVER, _owner_of_extended)
        self._claims.subscribe(self._claim_changed)
        self._classes.subscribe(self._class_changed)
        self._slices.subscribe(self._slice_changed)

    # what the informers tell

    def _claim_changed(self, key: str, old: _Claim | None, new: _Claim | None) -> None:
        claim = new or old
        assert claim is not None
        uid = claim.metadata.uid
        shown = new.status.allocation if new is not None else None
        before = old.status.allocation if old is not None else None
        if shown is not None or new is None:
            self._pending.discard(uid)
        if uid not in self._pending:
            self._count(uid, shown)
        if (before is not None and shown is None) or (new is None and ANNOTATION in claim.metadata.annotations):
            # devices got free, or what was left of a Pod's earlier try is gone
            self._all_moved = True
        self._moved.add(key)
        self._tell()

    def _class_changed(self, key: str, old: object, new: object) -> None:
        self._backed = backed_by(self._classes.items())
        if new is not None:
            self._all_moved = True
            self._tell()

    def _slice_changed(
        self, key: str, old: resource_v1.ResourceSlice | None, new: resource_v1.ResourceSlice | None
    ) -> None:
        self._pools = None
        if new is None:
            self._offers.pop(key, None)
        else:
            self._offers[key] = Offer(new)
        # also a slice that went may have been what made its pool invalid
        self._all_moved = True
        self._tell()

    def _tell(self) -> None:
        for waiter in self._waiters:
            waiter.set()
        self._changed()

    def _count(self, uid: str, allocation: resource_v1.AllocationResult | None) -> None:
        before = self._counted.pop(uid, None)
        if before is not None:
            self._taken.count(before, -1)
        if allocation is not None:
            self._taken.count(allocation, 1)
            self._counted[uid] = allocation

    # what the loop asks

    def look(self, pod: PodInfo) -> PodDevices | None:
        """What the Pod's claims ask of a node now; None if it has none."""
        if not pod.view.spec.resource_claims and not self._asks_for_backed(pod):
            return None
        if self._pools is None:
            self._pools = Pools(self._offers.values())
        view = DevicesView(
            claim_of=self._claims.get,
            classes=Copy(self._classes),
            pools=self._pools,
            taken=self._taken,
            pending=self._pending,
            backed=self._backed,
            left_over=lambda uid: next(iter(self._claims.by_index(LEFT_OVER, uid)), None),
        )
        return look(pod, view)

    def _asks_for_backed(self, pod: PodInfo) -> bool:
        """Whether a class stands for an extended resource that it asks for."""
        return bool(self._backed) and not self._backed.keys().isdisjoint(pod.requests)

    def happened(self) -> Callable[[PodInfo], bool]:
        """Whether what happened since the last call may help a Pod that its claims kept away."""
        moved, everybody = self._moved, self._all_moved
        self._moved, self._all_moved = set(), False

        def helps(pod: PodInfo) -> bool:
            spec, status = pod.view.spec, pod.view.status
            if everybody and (spec.resource_claims or self._asks_for_backed(pod)):
                return True
            names = resource_claims.claim_names(pod.key, spec.resource_claims, status.resource_claim_statuses)
            return any(f"{pod.namespace}/{name}" in moved for name in names)

        return helps

    def assume(self, plan: DevicePlan) -> None:
        """Count the plan as carried out; shares of devices get their names."""
        for claim in plan.claims:
            made = plan.allocations.get(key_of(claim))
            if made is None:
                continue
            for one in made.devices.results:
                if one.share_id is not None:
                    one.share_id = new_uid(self._randomness)
            self._pending.add(claim.metadata.uid)
            self._count(claim.metadata.uid, made)

    # the writes

    async def carry_out(self, plan: DevicePlan, pod: PodInfo) -> None:
        """Write what the claims get and that the Pod uses them; return when their devices are ready for that.

        Raises: BindingFailed, ConnectionError; then what was written is taken back as far as it must be.
        """
        written: list[_Claim] = []
        try:
            for number, claim in enumerate(plan.claims):
                made = plan.allocations.get(key_of(claim))
                if claim.metadata.name == NOT_YET:
                    plan.claims[number] = claim = await self._create(claim, made)
                if not resource_claims.is_reserved_for(claim, pod.uid):
                    written.append(await self._write(claim, made, pod))
                if plan.mappings and ANNOTATION in claim.metadata.annotations:
                    await self._note(pod, claim, plan.mappings)
            await self._wait_until_ready(written)
        except ApiError as error:
            await self.give_back(plan, pod)
            raise BindingFailed(error.message, NAME) from error
        except (BindingFailed, ConnectionError):
            await self.give_back(plan, pod)
            raise

    async def _create(self, claim: _Claim, made: resource_v1.AllocationResult | None) -> _Claim:
        """The claim of a Pod's extended resources, now that its node is known; it counts under its own uid from now on."""
        metadata = msgspec.structs.replace(claim.metadata, name="", uid="")
        created = await self._client.create(msgspec.structs.replace(claim, metadata=metadata))
        self._pending.discard(claim.metadata.uid)
        self._count(claim.metadata.uid, None)
        self._pending.add(created.metadata.uid)
        self._count(created.metadata.uid, made)
        return created

    async def _note(
        self, pod: PodInfo, claim: _Claim, mappings: list[core_v1.ContainerExtendedResourceRequest]
    ) -> None:
        status = core_v1.PodExtendedResourceClaimStatus(
            request_mappings=mappings, resource_claim_name=claim.metadata.name
        )
        metadata = pod.view.metadata
        patch = {"metadata": {"uid": pod.uid}, "status": {"extendedResourceClaimStatus": codec.to_tree(status)}}
        await self._client.patch(
            core_v1.Pod,
            metadata.name,
            metadata.namespace,
            patch=patch,
            patch_type="strategic",
            subresource="status",
        )

    async def _write(self, claim: _Claim, made: resource_v1.AllocationResult | None, pod: PodInfo) -> _Claim:
        for _ in range(MAX_CONFLICTS):
            try:
                return await self._write_once(claim, made, pod)
            except ApiError as error:
                if error.reason != "Conflict":
                    raise
                claim = await self._client.get(_Claim, claim.metadata.name, claim.metadata.namespace)
        raise BindingFailed(f"claim {key_of(claim)} changes all the time", NAME)

    async def _write_once(self, claim: _Claim, made: resource_v1.AllocationResult | None, pod: PodInfo) -> _Claim:
        key, metadata = key_of(claim), claim.metadata
        if metadata.deletion_timestamp is not None:
            raise BindingFailed(f"claim {key} got deleted in the meantime", NAME)
        allocation = claim.status.allocation
        if made is not None:
            if allocation is not None:
                raise BindingFailed(f"claim {key} got allocated elsewhere in the meantime", NAME)
            if resource_claims.FINALIZER not in metadata.finalizers:
                held = msgspec.structs.replace(metadata, finalizers=[*metadata.finalizers, resource_claims.FINALIZER])
                claim = await self._client.update(msgspec.structs.replace(claim, metadata=held))
            allocation = msgspec.structs.replace(made, allocation_timestamp=rfc3339(self._clock.now()))
        users = [*claim.status.reserved_for, resource_claims.reservation(pod.view)]
        status = msgspec.structs.replace(claim.status, allocation=allocation, reserved_for=users)
        return await self._client.update(msgspec.structs.replace(claim, status=status), subresource="status")

    async def _wait_until_ready(self, written: list[_Claim]) -> None:
        """Source: isPodReadyForBinding."""
        waiting = {key_of(claim): claim for claim in written if _conditions(claim)}
        if not waiting:
            return
        deadline = self._clock.monotonic() + BIND_TIMEOUT_SECONDS
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        timer = asyncio.get_running_loop().create_task(self._ring(waiter))
        try:
            while not all(is_ready(self._newest(claim)) for claim in waiting.values()):
                if self._clock.monotonic() >= deadline:
                    raise BindingFailed(f"claim {min(waiting)} binding timeout", NAME)
                await waiter.wait()
                waiter.clear()
        finally:
            timer.cancel()
            self._waiters.discard(waiter)

    def _newest(self, claim: _Claim) -> _Claim:
        found = self._claims.get(key_of(claim))
        if found is None or found.metadata.uid != claim.metadata.uid:
            if self._claims.version >= int(claim.metadata.resource_version or 0):
                raise BindingFailed(f"claim {key_of(claim)} got deleted in the meantime", NAME)
            return claim
        return found if int(found.metadata.resource_version) > int(claim.metadata.resource_version) else claim

    async def _ring(self, waiter: asyncio.Event) -> None:
        await self._clock.sleep(BIND_TIMEOUT_SECONDS)
        waiter.set()

    async def give_back(self, plan: DevicePlan, pod: PodInfo) -> None:
        """The Pod does not get its node: it uses none of its claims, and devices that must be made ready are free.

        Returns when that is known: what was written without an answer must not be given to others.
        """
        for claim in plan.claims:
            if ANNOTATION in claim.metadata.annotations:
                await self.remove(claim)
                continue
            shown = await self._surely(claim, partial(self._give_back_one, pod))
            self._settle(claim.metadata.uid, shown)

    async def _give_back_one(self, pod: PodInfo, claim: _Claim) -> resource_v1.AllocationResult | None:
        if resource_claims.is_reserved_for(claim, pod.uid):
            claim = await self._unreserve(claim, pod)
        return claim.status.allocation

    def _settle(self, uid: str, shown: resource_v1.AllocationResult | None) -> None:
        """It is known what the API has of a claim whose allocation was under way."""
        if uid in self._pending and shown is None:
            self._pending.discard(uid)
            self._count(uid, None)
            self._all_moved = True
            self._tell()

    async def _surely(self, claim: _Claim, act: Callable[[_Claim], Awaitable[T]]) -> T | None:
        """What `act` makes of the claim as it is now, tried until the API has answered; None if there is none."""
        metadata = claim.metadata
        while True:
            try:
                fresh = await self._client.get(_Claim, metadata.name, metadata.namespace)
                return await act(fresh) if fresh.metadata.uid == metadata.uid else None
            except ApiError as error:
                if error.reason == "NotFound":
                    return None
                if error.code < 500 and error.reason != "Conflict":
                    _log.warning("cannot give back %s: %s", key_of(claim), error.message)
                    return None
            except ConnectionError as error:
                _log.info("cannot give back %s yet: %s", key_of(claim), error)
            await self._clock.sleep(ASK_AGAIN_SECONDS)

    async def _unreserve(self, claim: _Claim, pod: PodInfo) -> _Claim:
        users = [user for user in claim.status.reserved_for if user.uid != pod.uid]
        free = not users and bool(_conditions(claim))
        status = msgspec.structs.replace(claim.status, reserved_for=users)
        if free:
            status = msgspec.structs.replace(status, allocation=None, devices=[])
        return await self._client.update(msgspec.structs.replace(claim, status=status), subresource="status")

    async def remove(self, claim: _Claim) -> None:
        """The claim of a Pod's extended resources is for one try only: the next may be for another node."""
        if claim.metadata.name != NOT_YET:
            await self._surely(claim, self._remove_one)
        self._settle(claim.metadata.uid, None)

    async def _remove_one(self, claim: _Claim) -> None:
        metadata = claim.metadata
        if resource_claims.FINALIZER in metadata.finalizers:
            left = [one for one in metadata.finalizers if one != resource_claims.FINALIZER]
            patch = {"metadata": {"uid": metadata.uid, "finalizers": left or None}}
            await self._client.patch(_Claim, metadata.name, metadata.namespace, patch=patch)
        await self._client.delete(_Claim, metadata.name, metadata.namespace, uid=metadata.uid)

    async def free(self, claim: _Claim) -> None:
        """Take its devices from a claim that nobody uses, so that it can get some where a Pod can be."""
        status = msgspec.structs.replace(claim.status, allocation=None, reserved_for=[], devices=[])
        try:
            await self._client.update(msgspec.structs.replace(claim, status=status), subresource="status")
        except (ApiError, ConnectionError) as error:
            _log.info("cannot free %s: %s", key_of(claim), error)


def _owner_of_extended(claim: _Claim) -> list[str]:
    if claim.metadata.annotations.get(ANNOTATION) != "true":
        return []
    return [owner.uid for owner in claim.metadata.owner_references if owner.controller]


def _conditions(claim: _Claim) -> list[resource_v1.DeviceRequestAllocationResult]:
    """The devices of a claim that must be made ready first."""
    allocation = claim.status.allocation
    return [one for one in allocation.devices.results if one.binding_conditions] if allocation is not None else []


def is_ready(claim: _Claim) -> bool:
    """Whether all devices that must be made ready are. Raises: BindingFailed if one never will be."""
    if claim.status.allocation is None:
        raise BindingFailed(f"claim {key_of(claim)} is not allocated any more", NAME)
    ready = True
    for one in _conditions(claim):
        said = next(
            (
                {condition.type: condition for condition in device.conditions}
                for device in claim.status.devices
                if (device.driver, device.pool, device.device, device.share_id)
                == (one.driver, one.pool, one.device, one.share_id)
            ),
            {},
        )
        for name in one.binding_failure_conditions:
            failed = said.get(name)
            if failed is not None and failed.status == "True":
                raise BindingFailed(
                    f"claim {key_of(claim)} binding failed: reason={failed.reason}, message={failed.message}", NAME
                )
        is_true: Callable[[str], bool] = partial(_is_true, said)
        ready = ready and all(map(is_true, one.binding_conditions))
    return ready


def _is_true(said: dict[str, Any], name: str) -> bool:
    condition = said.get(name)
    return condition is not None and condition.status == "True"

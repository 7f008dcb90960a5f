"""Has drivers prepare what a Pod's claims were allocated, before its sandbox, and take it back, after it.

Touches the API (claims), the drivers and the file of `claims.py`. Preparing twice is harmless, by the drivers' contract;
so is what a crash in between leaves. Source: kubelet `cm/dra/manager.go`; the words are upstream's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.api import resource_claims
from carob.api.status import ApiError
from carob.api.types import resource_v1
from carob.kubelet.devices import messages as wire
from carob.kubelet.devices.claims import PreparedClaim, PreparedClaims, PreparedDevice, cdi_names
from carob.kubelet.devices.failures import DriverFailure, PrepareFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.types import core_v1
    from carob.client.rest import Client
    from carob.kubelet.devices.plugins import Drivers


class DeviceManager:
    """Claims are prepared and taken back one at a time: two Pods may share one."""

    def __init__(self, client: Client, state_file: str, drivers: Drivers) -> None:
        self._client = client
        self._drivers = drivers
        self._prepared = PreparedClaims(state_file)
        self._lock = asyncio.Lock()

    def open(self) -> None:
        """Take over what the last kubelet had prepared."""
        self._prepared.load()

    def pods(self) -> set[str]:
        """The uids of Pods for which something is prepared."""
        return self._prepared.pods()

    async def prepare(self, pod: core_v1.Pod) -> None:
        """Everything that the Pod's claims were allocated is ready when this returns. Raises: PrepareFailure."""
        if self._is_ready(pod):
            return
        async with self._lock:
            try:
                await self._prepare(pod)
            except (ApiError, ConnectionError, TimeoutError, OSError, DriverFailure) as error:
                raise PrepareFailure(str(error)) from error

    def _is_ready(self, pod: core_v1.Pod) -> bool:
        known = {one.name for one in self._prepared.of_pod(pod.metadata.uid) if one.ready}
        return all(name in known for name, _ in _names(pod))

    async def _prepare(self, pod: core_v1.Pod) -> None:
        wanted: list[tuple[PreparedClaim, resource_v1.ResourceClaim]] = []
        for name, must_own in _names(pod):
            claim = await self._fetch(pod, name, must_own=must_own)
            uid = claim.metadata.uid
            known = self._prepared.claims.get(uid)
            if known is None:
                known = PreparedClaim(uid=uid, namespace=claim.metadata.namespace, name=name)
                self._prepared.claims[uid] = known
            if pod.metadata.uid not in known.pods:
                known.pods.append(pod.metadata.uid)
            if not known.ready:
                wanted.append((known, claim))
        by_driver: dict[str, list[PreparedClaim]] = {}
        for known, claim in wanted:
            allocation = claim.status.allocation
            assert allocation is not None
            for result in allocation.devices.results:
                known.drivers.setdefault(result.driver, [])
                if known not in by_driver.setdefault(result.driver, []):
                    by_driver[result.driver].append(known)
        # before the drivers act: what they begin must be given back whatever happens now
        await asyncio.to_thread(self._prepared.save)
        for driver, claims in by_driver.items():
            await self._ask(driver, claims)
        for known, _ in wanted:
            known.ready = True
        await asyncio.to_thread(self._prepared.save)

    async def _fetch(self, pod: core_v1.Pod, name: str, *, must_own: bool) -> resource_v1.ResourceClaim:
        metadata = pod.metadata
        try:
            claim = await self._client.get(resource_v1.ResourceClaim, name, metadata.namespace)
        except ApiError as error:
            text = f"failed to fetch ResourceClaim {name} referenced by pod {metadata.name}: {error.message}"
            raise PrepareFailure(text) from error
        key = f"{metadata.namespace}/{metadata.name}"
        if must_own and not resource_claims.is_owned_by(claim, metadata.uid):
            raise PrepareFailure(resource_claims.not_owned_words(f"{metadata.namespace}/{name}", key))
        if not resource_claims.is_reserved_for(claim, metadata.uid):
            raise PrepareFailure(
                f"pod {metadata.name}({metadata.uid}) is not allowed to use ResourceClaim {name}({claim.metadata.uid})"
            )
        if claim.status.allocation is None:
            raise PrepareFailure(f"ResourceClaim {name} is not allocated")
        return claim

    async def _ask(self, driver: str, claims: list[PreparedClaim]) -> None:
        answers = await self._drivers.prepare(driver, [_on_the_wire(one) for one in claims])
        skipped = [one for one in claims if one.uid not in answers]
        for one in claims:
            answer = answers.get(one.uid)
            if answer is None:
                continue
            if answer.error:
                raise PrepareFailure(f"NodePrepareResources failed for ResourceClaim {one.name}: {answer.error}")
            one.drivers[driver] = [
                PreparedDevice(
                    requests=device.request_names,
                    pool=device.pool_name,
                    device=device.device_name,
                    cdi=device.cdi_device_ids,
                )
                for device in answer.devices
            ]
        if skipped:
            raise PrepareFailure(f"NodePrepareResources skipped {len(skipped)} ResourceClaims")

    def cdi_devices(self, pod: core_v1.Pod, container: core_v1.Container) -> list[str]:
        """The CDI names of what a container gets, each once. Raises: PrepareFailure if a claim is not prepared."""
        found: dict[str, None] = {}
        for asked in container.resources.claims:
            wish = next((one for one in pod.spec.resource_claims if one.name == asked.name), None)
            if wish is None:
                raise PrepareFailure(f"claim {asked.name} is not one of the pod's")
            try:
                name, _ = resource_claims.claim_name(_key(pod), wish, pod.status.resource_claim_statuses)
            except resource_claims.ClaimNotFound as error:
                raise PrepareFailure(str(error)) from error
            if name is None:
                continue
            found.update(dict.fromkeys(cdi_names(self._ready(pod, name), asked.request)))
        extended = pod.status.extended_resource_claim_status
        for mapping in extended.request_mappings if extended is not None else ():
            if extended is not None and mapping.container_name == container.name:
                claim = self._ready(pod, extended.resource_claim_name)
                found.update(dict.fromkeys(cdi_names(claim, mapping.request_name)))
        return list(found)

    def _ready(self, pod: core_v1.Pod, name: str) -> PreparedClaim:
        claim = next((one for one in self._prepared.of_pod(pod.metadata.uid) if one.name == name), None)
        if claim is None or not claim.ready:
            raise PrepareFailure(f"ResourceClaim {name} is not prepared for pod {pod.metadata.name}")
        return claim

    async def unprepare(self, pod_uid: str) -> None:
        """The Pod uses nothing any more; what no other Pod uses is given back. Raises: PrepareFailure; then again."""
        if not self._prepared.of_pod(pod_uid):
            return
        async with self._lock:
            claims = self._prepared.of_pod(pod_uid)
            last = [one for one in claims if one.pods == [pod_uid]]
            try:
                for driver in sorted({name for one in last for name in one.drivers}):
                    await self._take_back(driver, [one for one in last if driver in one.drivers])
                for one in claims:
                    one.pods.remove(pod_uid)
                    if not one.pods:
                        del self._prepared.claims[one.uid]
                await asyncio.to_thread(self._prepared.save)
            except (DriverFailure, OSError) as error:
                raise PrepareFailure(str(error)) from error

    async def _take_back(self, driver: str, claims: list[PreparedClaim]) -> None:
        answers = await self._drivers.unprepare(driver, [_on_the_wire(one) for one in claims])
        skipped = [one for one in claims if one.uid not in answers]
        for one in claims:
            answer = answers.get(one.uid)
            if answer is not None and answer.error:
                raise PrepareFailure(f"NodeUnprepareResources failed for ResourceClaim {one.name}: {answer.error}")
        if skipped:
            raise PrepareFailure(f"NodeUnprepareResources skipped {len(skipped)} ResourceClaims")


def _key(pod: core_v1.Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _names(pod: core_v1.Pod) -> Iterator[tuple[str, bool]]:
    """The Pod's claims by name, and whether it must own each. Raises: PrepareFailure."""
    for wish in pod.spec.resource_claims:
        try:
            name, must_own = resource_claims.claim_name(_key(pod), wish, pod.status.resource_claim_statuses)
        except resource_claims.ClaimNotFound as error:
            raise PrepareFailure(str(error)) from error
        if name is not None:
            yield name, must_own
    extended = pod.status.extended_resource_claim_status
    if extended is not None:
        yield extended.resource_claim_name, True


def _on_the_wire(claim: PreparedClaim) -> wire.Claim:
    return wire.Claim(namespace=claim.namespace, uid=claim.uid, name=claim.name)

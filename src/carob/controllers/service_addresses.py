"""IPAddresses and Services: each address of a Service has its object, and none is left without its Service.

The API server writes and removes them together with the Service; this mends what somebody deleted, what an older
version left out, and what a server that died left over.
Source: kube-apiserver `pkg/registry/core/service/ipallocator/controller/repairip.go`.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1, networking_v1
from carob.base.clock import parse_rfc3339
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.service_ranges import MANAGER, MANAGER_LABEL

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client

FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
ORPHAN_SECONDS = 60.0
"""How long an address may be without its Service: it is there first while a Service is made."""


def addresses_of(service: core_v1.Service) -> list[str]:
    """The addresses that it was given, as IPAddresses are named: the shortest way to write them."""
    found = [one for one in service.spec.cluster_ips if one not in ("", "None")]
    return [str(ipaddress.ip_address(one)) if ":" in one else one for one in found]


def family_of(address: str) -> str:
    """`IPv4` or `IPv6`."""
    return f"IPv{ipaddress.ip_address(address).version}"


def owner_of(obj: networking_v1.IPAddress) -> str:
    """The key of the Service that it names; empty: none."""
    parent = obj.spec.parent_ref
    if parent is None or parent.group or parent.resource != "services":
        return ""
    return f"{parent.namespace}/{parent.name}"


def object_of(service: core_v1.Service, address: str) -> networking_v1.IPAddress:
    """The address of a Service as it has to be."""
    metadata = service.metadata
    return networking_v1.IPAddress(
        metadata=meta_v1.ObjectMeta(name=address, labels={FAMILY_LABEL: family_of(address), MANAGER_LABEL: MANAGER}),
        spec=networking_v1.IPAddressSpec(
            parent_ref=networking_v1.ParentReference(
                resource="services", namespace=metadata.namespace, name=metadata.name
            )
        ),
    )


def labelled(obj: networking_v1.IPAddress) -> bool:
    """Whether its labels are those of an address of a Service."""
    labels = obj.metadata.labels
    return labels.get(FAMILY_LABEL) == family_of(obj.metadata.name) and labels.get(MANAGER_LABEL) == MANAGER


class ServiceAddressController:
    """Keys are keys of Services (`namespace/name`) and names of IPAddresses."""

    def __init__(
        self,
        client: Client,
        services: Informer[core_v1.Service],
        addresses: Informer[networking_v1.IPAddress],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._services = services
        self._addresses = addresses
        self._recorder = recorder
        self._clock = clock
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._services.wait_synced()
        await self._addresses.wait_synced()
        self._services.subscribe(self._service_changed)
        self._addresses.subscribe(self._address_changed)
        await self._queue.work(self._sync, 1, "service addresses")

    def _service_changed(self, key: str, old: core_v1.Service | None, new: core_v1.Service | None) -> None:
        for service in (old, new):
            for address in addresses_of(service) if service is not None else ():
                self._queue.add(address)
        if new is not None:
            self._queue.add(key)

    def _address_changed(
        self, key: str, old: networking_v1.IPAddress | None, new: networking_v1.IPAddress | None
    ) -> None:
        for obj in (old, new):
            if obj is not None and owner_of(obj):
                self._queue.add(owner_of(obj))
        if new is not None:
            self._queue.add(key)

    async def _sync(self, key: str) -> None:
        if "/" not in key:
            await self._sync_address(key)
            return
        service = self._services.get(key)
        if service is None:
            return
        for address in addresses_of(service):
            await self._sync_service(service, address)

    async def _sync_service(self, service: core_v1.Service, address: str) -> None:
        """See that the address of a Service is written down as its own."""
        present = self._addresses.get(address)
        shown, key = f"[{family_of(address)}]: {address}", key_of(service)
        if present is not None and owner_of(present) == key and labelled(present):
            return
        # one informer may be ahead of the other: ask before anything is said or done
        if not await self._has(key, address):
            return
        present = await self._read(address)
        if present is None:
            why = f"Cluster IP {shown} is not allocated; repairing"
            self._recorder.event(service, "Warning", "ClusterIPNotAllocated", why)
        elif owner_of(present) == key:
            if labelled(present):
                return
        else:
            other = self._services.get(owner_of(present))
            if other is not None and address in addresses_of(other):
                why = f"Cluster IP {shown} was assigned to multiple services; please recreate service"
                self._recorder.event(service, "Warning", "ClusterIPAlreadyAllocated", why)
                return
            why = f"the ClusterIP {shown} for Service {key} has a wrong reference; repairing"
            self._recorder.event(service, "Warning", "ClusterIPNotAllocated", why)
        if present is not None:
            await self._delete(present)
        try:
            await self._client.create(object_of(service, address))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _sync_address(self, name: str) -> None:
        """Take away an address of ours that no Service has."""
        obj = self._addresses.get(name)
        if obj is None or obj.metadata.labels.get(MANAGER_LABEL) != MANAGER:
            return
        owner = owner_of(obj)
        service = self._services.get(owner) if owner else None
        if service is not None and name in addresses_of(service):
            return
        if owner and service is None:
            left = ORPHAN_SECONDS - (self._clock.now() - parse_rfc3339(obj.metadata.creation_timestamp or ""))
            if left > 0:
                self._queue.add_after(name, left)
                return
            why = f"IPAddress: {name} for Service {owner} appears to have leaked: cleaning up"
        elif owner:
            if await self._has(owner, name):
                return
            why = f"IPAddress: {name} for Service {owner} has a wrong reference; cleaning up"
        else:
            why = f"IPAddress {name} appears to have been modified, not referencing a Service: cleaning up"
        self._recorder.event(obj, "Warning", "IPAddressWrongReference" if service else "IPAddressNotAllocated", why)
        await self._delete(obj)

    async def _has(self, owner: str, address: str) -> bool:
        """Whether the Service has the address at this moment."""
        namespace, _, name = owner.partition("/")
        try:
            service = await self._client.get(core_v1.Service, name, namespace)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return False
        return address in addresses_of(service)

    async def _read(self, address: str) -> networking_v1.IPAddress | None:
        try:
            return await self._client.get(networking_v1.IPAddress, address)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return None

    async def _delete(self, obj: networking_v1.IPAddress) -> None:
        try:
            await self._client.delete(networking_v1.IPAddress, obj.metadata.name, uid=obj.metadata.uid)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

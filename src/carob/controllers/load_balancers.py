"""LoadBalancer Services get an address of a range that every node of this machine leads to itself, one for each family.

`pick` is pure. An address belongs to one Service; `spec.loadBalancerIP` is honoured if it is free. Services of a
`loadBalancerClass` are somebody else's. Source: the contract of cloud-provider `service/controller.go`.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.endpoint_slices import families_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client


def wants_address(service: core_v1.Service) -> bool:
    """Whether we are to give it an address."""
    return (
        service.spec.type == "LoadBalancer"
        and not service.spec.load_balancer_class
        and service.metadata.deletion_timestamp is None
    )


def pick(range_: str, used: Collection[str], wish: str = "") -> str:
    """A free address of the range, the wished one if it can be; empty when all are used."""
    network = ipaddress.ip_network(range_)
    try:
        if wish and ipaddress.ip_address(wish) in network and wish not in used:
            return wish
    except ValueError:
        pass
    return next((str(one) for one in network.hosts() if str(one) not in used), "")


def addresses_of(service: core_v1.Service) -> list[str]:
    """What it was given."""
    return [one.ip for one in service.status.load_balancer.ingress if one.ip]


def by_family(addresses: Iterable[str]) -> dict[str, str]:
    """Addresses or ranges, the first one of each family."""
    found: dict[str, str] = {}
    for text in addresses:
        found.setdefault("IPv6" if ":" in text else "IPv4", text)
    return found


class LoadBalancerController:
    """Keys are keys of Services. One worker: an address is chosen after the one before is known."""

    def __init__(
        self,
        client: Client,
        services: Informer[core_v1.Service],
        ranges: Sequence[str],
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._services = services
        self._ranges = by_family(ranges)
        self._recorder = recorder
        self._queue = WorkQueue(clock)
        self._given: dict[str, list[str]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await self._services.wait_synced()
        self._services.subscribe(lambda key, old, new: self._queue.add(key))
        await self._queue.work(self._sync, 1, "load balancers")

    async def _sync(self, key: str) -> None:
        service = self._services.get(key)
        if service is None or not wants_address(service):
            self._given.pop(key, None)
            if service is not None and service.spec.type != "LoadBalancer" and addresses_of(service):
                await self._write(service, [])
            return
        shown = addresses_of(service)
        families = [family for family in families_of(service) if family in self._ranges]
        mine = by_family(shown or self._given.get(key, ()))
        if shown and (len(self._ranges) == 1 or list(mine) == families):
            self._given[key] = shown
            return
        used = {a for s in self._services.items() if key_of(s) != key for a in addresses_of(s)}
        used |= {address for owner, addresses in self._given.items() if owner != key for address in addresses}
        given = []
        for family in families:
            address = mine.get(family) or pick(self._ranges[family], used, service.spec.load_balancer_ip)
            if not address:
                why = f"no free address in {self._ranges[family]}"
                self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", why)
                return
            given.append(address)
        self._given[key] = given
        if given != shown:
            await self._write(service, [{"ip": address, "ipMode": "VIP"} for address in given])

    async def _write(self, service: core_v1.Service, ingress: list[dict[str, Any]]) -> None:
        metadata = service.metadata
        patch = {"metadata": {"uid": metadata.uid}, "status": {"loadBalancer": {"ingress": ingress or None}}}
        try:
            await self._client.patch(
                core_v1.Service, metadata.name, metadata.namespace, patch=patch, subresource="status"
            )
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
            return
        if ingress:
            self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

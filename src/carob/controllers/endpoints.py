"""Endpoints: the older, single-object form of what EndpointSlices say, for clients that still read it.

Of a Service with two families they have the first one's addresses.

`subsets_of` is pure; `EndpointsController` writes. Source: kube-controller-manager `endpoint/endpoints_controller.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.scalars import Int32
from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.base.clock import rfc3339
from carob.client.workqueue import WorkQueue
from carob.controllers.endpoint_slices import (
    HEADLESS_LABEL,
    TRIGGER_ANNOTATION,
    Ports,
    Selected,
    address_of,
    belongs,
    families_of,
    is_headless,
    ports_of,
    selected,
    serves,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

MAX_ADDRESSES = 1000
MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
CONTROLLER = "endpoint-controller"
CAPACITY_ANNOTATION = "endpoints.kubernetes.io/over-capacity"
WORKERS = 2


def subsets_of(service: core_v1.Service, pods: Iterable[PodView]) -> list[core_v1.EndpointSubset]:
    """Addresses with the same ports together, each list by address."""
    lenient, family = service.spec.publish_not_ready_addresses, families_of(service)[0]
    groups: dict[Ports, core_v1.EndpointSubset] = {}
    for pod in pods:
        ports = ports_of(service, pod)
        if not belongs(pod, family, also_ending=lenient) or (service.spec.ports and not ports):
            continue
        subset = groups.setdefault(ports, core_v1.EndpointSubset(ports=_subset_ports(ports)))
        (subset.addresses if lenient or pod.is_ready else subset.not_ready_addresses).append(
            _address(service, pod, family)
        )
    for subset in groups.values():
        subset.addresses.sort(key=_order)
        subset.not_ready_addresses.sort(key=_order)
    return [groups[ports] for ports in sorted(groups)]


def _order(address: core_v1.EndpointAddress) -> tuple[str, str]:
    return address.ip, address.target_ref.uid if address.target_ref else ""


def _address(service: core_v1.Service, pod: PodView, family: str) -> core_v1.EndpointAddress:
    metadata, spec = pod.metadata, pod.spec
    return core_v1.EndpointAddress(
        ip=address_of(pod, family),
        hostname=spec.hostname if spec.hostname and spec.subdomain == service.metadata.name else "",
        node_name=spec.node_name or None,
        target_ref=core_v1.ObjectReference(
            kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
        ),
    )


def _subset_ports(ports: Ports) -> list[core_v1.EndpointPort]:
    return [
        core_v1.EndpointPort(name=name, protocol=protocol, port=Int32(port), app_protocol=app or None)
        for name, protocol, port, app in ports
    ]


def truncate(subsets: list[core_v1.EndpointSubset]) -> bool:
    """Keep a thousand addresses at most, ready ones first; whether any had to go. Changes the subsets."""
    room = MAX_ADDRESSES
    cut = False
    for attribute in ("addresses", "not_ready_addresses"):
        for subset in subsets:
            addresses = getattr(subset, attribute)
            cut = cut or len(addresses) > room
            del addresses[room:]
            room -= len(addresses)
    return cut


def reconcile(
    service: core_v1.Service, pods: Iterable[PodView], existing: core_v1.Endpoints | None, now: float
) -> core_v1.Endpoints | None:
    """The object as it has to be, or None when nothing is to be done."""
    subsets = subsets_of(service, pods)
    labels = {k: v for k, v in service.metadata.labels.items() if k != HEADLESS_LABEL} | {MANAGED_BY_LABEL: CONTROLLER}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    annotations = {TRIGGER_ANNOTATION: rfc3339(now)} if subsets else {}
    if truncate(subsets):
        annotations[CAPACITY_ANNOTATION] = "truncated"
    if existing is not None:
        same = existing.subsets == subsets and existing.metadata.labels == labels
        if same and (CAPACITY_ANNOTATION in annotations) == (CAPACITY_ANNOTATION in existing.metadata.annotations):
            return None
        kept = {k: v for k, v in existing.metadata.annotations.items() if k != CAPACITY_ANNOTATION}
        annotations = kept | annotations
    metadata = meta_v1.ObjectMeta(
        name=service.metadata.name,
        namespace=service.metadata.namespace,
        labels=labels,
        annotations=annotations,
        resource_version=existing.metadata.resource_version if existing is not None else "",
    )
    return core_v1.Endpoints(metadata=metadata, subsets=subsets)


class EndpointsController:
    """Keys are keys of Services, which are those of their Endpoints."""

    def __init__(
        self,
        client: Client,
        services: Informer[core_v1.Service],
        endpoints: Informer[core_v1.Endpoints],
        pods: Informer[PodView],
        clock: Clock,
    ) -> None:
        self._client = client
        self._services = services
        self._endpoints = endpoints
        self._pods = pods
        self._clock = clock
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._services.wait_synced()
        await self._endpoints.wait_synced()
        await self._pods.wait_synced()
        Selected(self._services, self._pods, self._queue.add)
        self._endpoints.subscribe(lambda key, old, new: self._queue.add(key))
        await self._queue.work(self._sync, WORKERS, "endpoints")

    async def _sync(self, key: str) -> None:
        service, existing = self._services.get(key), self._endpoints.get(key)
        try:
            if service is None or service.metadata.deletion_timestamp is not None:
                if existing is not None and existing.metadata.labels.get(MANAGED_BY_LABEL) == CONTROLLER:
                    metadata = existing.metadata
                    await self._client.delete(core_v1.Endpoints, metadata.name, metadata.namespace, uid=metadata.uid)
                return
            if not serves(service):
                return
            wanted = reconcile(service, selected(service, self._pods), existing, self._clock.now())
            if wanted is None:
                return
            if existing is not None:
                await self._client.update(wanted)
            else:
                await self._client.create(wanted)
        except ApiError as error:
            # a copy that lags behind is corrected by the event that is on its way
            if error.reason not in ("AlreadyExists", "NotFound", "Conflict", "Forbidden"):
                raise

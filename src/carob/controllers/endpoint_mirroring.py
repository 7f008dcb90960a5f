"""Endpoints that somebody wrote by hand for a Service without a selector, mirrored into EndpointSlices.

`mirrored` is pure. Source: kube-controller-manager `endpointslicemirroring`.
Differs: one slice a subset and address family is written anew whole; upstream keeps slices as full as it can.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1, discovery_v1, meta_v1
from carob.client.workqueue import WorkQueue
from carob.controllers.endpoint_slices import BY_SERVICE, MANAGED_BY_LABEL, SERVICE_LABEL
from carob.controllers.references import controller_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client

CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_ADDRESSES = 1000
WORKERS = 1


def is_mirrored(service: core_v1.Service | None, endpoints: core_v1.Endpoints | None) -> bool:
    """Whether these Endpoints are somebody's own work that must be seen in slices."""
    if service is None or endpoints is None or service.spec.selector or service.metadata.deletion_timestamp:
        return False
    metadata = endpoints.metadata
    return metadata.labels.get(SKIP_LABEL) != "true" and LEADER_ANNOTATION not in metadata.annotations


def mirrored(endpoints: core_v1.Endpoints) -> list[discovery_v1.EndpointSlice]:
    """The slices that say the same, in a stable order."""
    found = []
    for subset in endpoints.subsets:
        for family in ("IPv4", "IPv6"):
            listed = list(_endpoints(subset, family))[:MAX_ADDRESSES]
            if listed:
                found.append(_slice(endpoints, subset, family, listed))
    return found


def _endpoints(subset: core_v1.EndpointSubset, family: str) -> Iterator[discovery_v1.Endpoint]:
    for addresses, ready in ((subset.addresses, True), (subset.not_ready_addresses, False)):
        for address in addresses:
            if (ipaddress.ip_address(address.ip).version == 6) == (family == "IPv6"):
                yield discovery_v1.Endpoint(
                    addresses=[address.ip],
                    conditions=discovery_v1.EndpointConditions(ready=ready),
                    hostname=address.hostname or None,
                    node_name=address.node_name,
                    target_ref=address.target_ref,
                )


def _slice(
    endpoints: core_v1.Endpoints,
    subset: core_v1.EndpointSubset,
    family: str,
    listed: list[discovery_v1.Endpoint],
) -> discovery_v1.EndpointSlice:
    metadata = endpoints.metadata
    ports = [
        discovery_v1.EndpointPort(name=p.name, protocol=p.protocol or "TCP", port=p.port, app_protocol=p.app_protocol)
        for p in subset.ports
    ]
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(
            generate_name=f"{metadata.name}-",
            namespace=metadata.namespace,
            labels=metadata.labels | {SERVICE_LABEL: metadata.name, MANAGED_BY_LABEL: CONTROLLER},
            annotations={k: v for k, v in metadata.annotations.items() if k != LAST_APPLIED},
            owner_references=[controller_reference("Endpoints", metadata)],
        ),
        address_type=family,
        endpoints=listed or None,
        ports=ports or None,
    )


def same(one: discovery_v1.EndpointSlice, other: discovery_v1.EndpointSlice) -> bool:
    """Whether two slices say the same."""
    return (
        one.address_type == other.address_type
        and (one.endpoints or []) == (other.endpoints or [])
        and (one.ports or []) == (other.ports or [])
        and one.metadata.labels == other.metadata.labels
    )


class EndpointMirroring:
    """Keys are keys of Services, which are those of their Endpoints."""

    def __init__(
        self,
        client: Client,
        services: Informer[core_v1.Service],
        endpoints: Informer[core_v1.Endpoints],
        slices: Informer[discovery_v1.EndpointSlice],
        clock: Clock,
    ) -> None:
        self._client = client
        self._services = services
        self._endpoints = endpoints
        self._slices = slices
        self._queue = WorkQueue(clock)
        self._written = 0
        """The newest version that we wrote: until the copy has it, nothing can be compared."""

    async def run(self) -> None:
        """Until cancelled."""
        await self._services.wait_synced()
        await self._endpoints.wait_synced()
        await self._slices.wait_synced()
        self._services.subscribe(lambda key, old, new: self._queue.add(key))
        self._endpoints.subscribe(lambda key, old, new: self._queue.add(key))
        self._slices.subscribe(self._slice_changed)
        await self._queue.work(self._sync, WORKERS, "endpoint mirroring")

    def _slice_changed(
        self, key: str, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        for one in (old, new):
            if one is not None and one.metadata.labels.get(MANAGED_BY_LABEL) == CONTROLLER:
                self._queue.add(f"{one.metadata.namespace}/{one.metadata.labels.get(SERVICE_LABEL, '')}")

    async def _sync(self, key: str) -> None:
        endpoints = self._endpoints.get(key)
        wanted = mirrored(endpoints) if endpoints and is_mirrored(self._services.get(key), endpoints) else []
        there = [
            one
            for one in self._slices.by_index(BY_SERVICE, key)
            if one.metadata.labels.get(MANAGED_BY_LABEL) == CONTROLLER and not one.metadata.deletion_timestamp
        ]
        if not wanted and not there:
            return
        if self._slices.version < self._written:
            self._queue.add_after(key, 0.02)
            return
        missing = []
        for one in wanted:
            match = next((other for other in there if same(one, other)), None)
            if match is None:
                missing.append(one)
            else:
                there.remove(match)
        try:
            # what is new comes first: for a moment both are seen, but never nobody
            for one in missing:
                made = await self._client.create(one)
                self._written = max(self._written, int(made.metadata.resource_version))
            for one in there:
                metadata = one.metadata
                await self._client.delete(
                    discovery_v1.EndpointSlice, metadata.name, metadata.namespace, uid=metadata.uid
                )
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict", "Forbidden"):
                raise

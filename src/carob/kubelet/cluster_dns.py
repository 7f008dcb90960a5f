"""Keeps the node's DNS zone as the API's Services and EndpointSlices say: a changed Service replaces its records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.kubelet.dns_records import records_of
from carob.kubelet.service_ports import service_of
from carob.kubelet.service_proxy import BY_SERVICE

if TYPE_CHECKING:
    from carob.api.types import core_v1, discovery_v1
    from carob.client.informer import Informer
    from carob.network.dns.zone import Zone


class ClusterDns:
    """`run` until cancelled. The informer of slices has the index `BY_SERVICE` already."""

    def __init__(
        self, services: Informer[core_v1.Service], slices: Informer[discovery_v1.EndpointSlice], zone: Zone
    ) -> None:
        self._services = services
        self._slices = slices
        self._zone = zone
        self._filled = asyncio.Event()

    async def wait_filled(self) -> None:
        """Return when the zone knows every Service that was there at the start."""
        await self._filled.wait()

    async def run(self) -> None:
        """Follow what changes."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        self._services.subscribe(lambda key, old, new: self._put(key))
        self._slices.subscribe(self._slice_changed)
        self._filled.set()
        await asyncio.get_running_loop().create_future()

    def _slice_changed(
        self, key: str, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        for service in {name for one in (old, new) if one is not None for name in service_of(one)}:
            self._put(service)

    def _put(self, key: str) -> None:
        service = self._services.get(key)
        slices = self._slices.by_index(BY_SERVICE, key)
        self._zone.put(key, () if service is None else records_of(service, slices, self._zone.domain))

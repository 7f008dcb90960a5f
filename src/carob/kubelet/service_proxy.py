"""The service proxy: what Services and EndpointSlices say becomes rules of this node, a moment after it is said.

A change makes its Service dirty; all that is dirty after one turn of the loop is computed anew and programmed in one
transaction, in a thread. What could not be programmed stays dirty and is tried again, and keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from carob.base.log import get_logger
from carob.base.tasks import Signal
from carob.client.informer import key_of
from carob.kubelet.service_ports import listeners, service_of
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from carob.api.types import core_v1, discovery_v1
    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.kubelet.service_ports import Place
    from carob.network.services import Backends, ServicePort

BY_SERVICE = "service"
RETRY_SECONDS = 1.0
_log = get_logger("service-proxy")


class Table(Protocol):
    """Where services are programmed; blocking."""

    def apply(self, changes: Mapping[ServicePort, Backends | None]) -> None: ...

    def ports(self) -> dict[ServicePort, Backends]: ...


class ServiceProxy:
    """`run` until cancelled; `spared` are addresses that somebody else answers on this node; `dual`: the table knows IPv6
    too."""

    def __init__(
        self,
        services: Informer[core_v1.Service],
        slices: Informer[discovery_v1.EndpointSlice],
        table: Table,
        place: Callable[[], Place],
        clock: Clock,
        spared: Iterable[str] = (),
        *,
        dual: bool = False,
    ) -> None:
        self._services = services
        self._slices = slices
        self._table = table
        self._place = place
        self._clock = clock
        self._spared = frozenset(spared)
        self._dual = dual
        self._dirty: set[str] = set()
        self._signal = Signal()
        self._first_done = asyncio.Event()
        self._wanted: dict[str, dict[ServicePort, Backends]] = {}
        self._claims: dict[ServicePort, dict[str, Backends]] = {}
        """Who wants a port, in the order of their coming: the first has it."""
        slices.add_index(BY_SERVICE, service_of)

    async def wait_programmed(self) -> None:
        """Return when everything that was there at the start is programmed."""
        await self._first_done.wait()

    async def run(self) -> None:
        """Keep the table as the API says."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        self._services.subscribe(lambda key, old, new: self._touch(key))
        self._slices.subscribe(self._slice_changed)
        changes: dict[ServicePort, Backends | None] = dict.fromkeys(self._table.ports())
        changes |= self._collect()
        while True:
            if changes:
                changes = await self._program(changes)
            if not changes:
                self._first_done.set()
                await self._signal.wait()
                # whatever else is already on its way goes along
                await asyncio.sleep(0)
            changes |= self._collect()

    def _touch(self, key: str) -> None:
        self._dirty.add(key)
        self._signal.set()

    def _slice_changed(
        self, key: str, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        for one in (old, new):
            for service in service_of(one) if one is not None else ():
                self._touch(service)

    async def _program(self, changes: dict[ServicePort, Backends | None]) -> dict[ServicePort, Backends | None]:
        """What is left to do."""
        left = await self._halved(changes)
        if left:
            await self._clock.sleep(RETRY_SECONDS)
        return left

    async def _halved(self, changes: dict[ServicePort, Backends | None]) -> dict[ServicePort, Backends | None]:
        """All in one transaction; if that is refused, what is refused even by itself."""
        try:
            await asyncio.to_thread(self._table.apply, changes)
        except NetworkFailure as error:
            if len(changes) == 1:
                (port,) = changes
                _log.error("%s:%d/%s again in %.0f s: %s", *port[::2], port.protocol, RETRY_SECONDS, error)
                return changes
        else:
            return {}
        ports = list(changes.items())
        middle = len(ports) // 2
        return await self._halved(dict(ports[:middle])) | await self._halved(dict(ports[middle:]))

    def _collect(self) -> dict[ServicePort, Backends | None]:
        """What is to change for all that is dirty."""
        dirty, self._dirty = self._dirty, set()
        touched: set[ServicePort] = set()
        for key in sorted(dirty):
            service = self._services.get(key)
            wanted: dict[ServicePort, Backends] = {}
            if service is not None:
                slices = self._slices.by_index(BY_SERVICE, key_of(service))
                found = listeners(service, slices, self._place(), dual=self._dual)
                wanted = {port: backends for port, backends in found.items() if port.address not in self._spared}
            touched |= self._claim(key, wanted)
        return {port: next(iter(self._claims.get(port, {}).values()), None) for port in touched}

    def _claim(self, key: str, wanted: dict[ServicePort, Backends]) -> set[ServicePort]:
        """Remember what a Service wants; which ports that changes."""
        before = self._wanted.pop(key, {})
        if wanted:
            self._wanted[key] = wanted
        touched = {port for port in before.keys() | wanted.keys() if before.get(port) != wanted.get(port)}
        for port in touched:
            claims = self._claims.setdefault(port, {})
            if port in wanted:
                claims[key] = wanted[port]
            else:
                claims.pop(key, None)
            if not claims:
                del self._claims[port]
        return touched

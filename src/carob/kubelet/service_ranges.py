"""The ranges that Services have addresses of (ServiceCIDRs), carried to this node's network.

A range that is on its way out is still led to: it stays as long as somebody has an address of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.api.types import networking_v1
from carob.base.log import get_logger
from carob.base.tasks import Signal, TaskGroup
from carob.client.informer import Informer
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.base.clock import Clock
    from carob.client.rest import Client

RETRY_SECONDS = 1.0
_log = get_logger("service-ranges")


def ranges_of(found: Iterable[networking_v1.ServiceCIDR]) -> list[str]:
    """All ranges; a node without IPv6 passes over those that it cannot have."""
    return sorted({text for one in found for text in one.spec.cidrs})


class ServiceRangeAgent:
    """`run` until cancelled; `lead` programs all ranges, blocking. Raises: NetworkFailure."""

    def __init__(self, client: Client, lead: Callable[[Iterable[str]], None], clock: Clock) -> None:
        self._lead = lead
        self._clock = clock
        self._ranges = Informer(client, networking_v1.ServiceCIDR, clock, name="service ranges")
        self._signal = Signal()

    async def run(self) -> None:
        """Keep the node's ranges as the API says."""
        async with TaskGroup() as group:
            group.spawn(self._ranges.run(), "service range informer")
            await self._ranges.wait_synced()
            self._ranges.subscribe(self._changed)
            while True:
                try:
                    await asyncio.to_thread(self._lead, ranges_of(self._ranges.items()))
                except NetworkFailure as error:
                    _log.error("again in %.0f s: %s", RETRY_SECONDS, error)
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
                await self._signal.wait()

    def _changed(self, key: str, old: networking_v1.ServiceCIDR | None, new: networking_v1.ServiceCIDR | None) -> None:
        before, after = (one.spec.cidrs if one is not None else [] for one in (old, new))
        if before != after:
            self._signal.set()

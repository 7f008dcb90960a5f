"""Which devices are taken, and how much of those that several claims share: counted allocation by allocation.

Pure. Source: `structured/internal/allocatedstate.go`. What administrators look at counts for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.scheduler.devices.pools import DeviceId

if TYPE_CHECKING:
    from carob.api.types import resource_v1

Amounts = dict[str, int]
"""By the names of capacities, in billionths."""


class Taken:
    """Invariant: the sums of all allocations that are counted. `whole` counts devices, `shared` their capacity."""

    def __init__(self) -> None:
        self.whole: dict[DeviceId, int] = {}
        self.shared: dict[DeviceId, Amounts] = {}
        self._shares: dict[DeviceId, int] = {}

    def __contains__(self, device_id: DeviceId) -> bool:
        """Whether it has a claim that shares it with nobody."""
        return device_id in self.whole

    def in_use(self, device_id: DeviceId) -> bool:
        """Whether any claim has it or a share of it."""
        return device_id in self.whole or device_id in self._shares

    def count(self, allocation: resource_v1.AllocationResult, sign: int) -> None:
        """Add (1) or take off (-1) what a claim has."""
        for one in allocation.devices.results:
            if one.admin_access:
                continue
            device_id = DeviceId(one.driver, one.pool, one.device)
            if one.share_id is None:
                _add(self.whole, device_id, sign)
                continue
            _add(self._shares, device_id, sign)
            amounts = self.shared.setdefault(device_id, {})
            for name, value in one.consumed_capacity.items():
                amounts[name] = amounts.get(name, 0) + sign * quantity.nano(value)
            if device_id not in self._shares:
                del self.shared[device_id]


def _add(counts: dict[DeviceId, int], key: DeviceId, sign: int) -> None:
    left = counts.get(key, 0) + sign
    if left:
        counts[key] = left
    else:
        counts.pop(key, None)

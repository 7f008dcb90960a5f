"""How much of a device's capacity a request takes, and whether that is left.

Pure. Source: `structured/internal/incubating/consumable_capacity.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.scalars import Quantity
    from carob.api.types import resource_v1
    from carob.scheduler.devices.taken import Amounts


def consumed(
    device: resource_v1.Device, driver: str, requests: Mapping[str, str], taken: Mapping[str, int]
) -> Amounts | None:
    """What a request takes of each capacity, in billionths; None if that is not to be had.

    Shape: `requests` are amounts by name, with or without the driver as domain; `taken` by the device's own names.
    """
    wanted: dict[str, int] = {}
    for name, value in requests.items():
        found = _name_of(name, driver, device.capacity)
        if found is None:
            return None
        wanted[found] = quantity.nano(value)
    amounts: Amounts = {}
    for name, capacity in device.capacity.items():
        amount = _rounded(wanted.get(name), capacity)
        if amount < 0 or _violates(amount, capacity.request_policy):
            return None
        if taken.get(name, 0) + amount > quantity.nano(capacity.value):
            return None
        amounts[name] = amount
    return amounts


def _name_of(name: str, driver: str, capacity: Mapping[str, object]) -> str | None:
    """The device's own name of a capacity: one without a domain is the driver's."""
    domain, _, plain = name.rpartition("/")
    candidates = (name, plain) if domain == driver else (name, f"{driver}/{name}") if not domain else (name,)
    return next((one for one in candidates if one in capacity), None)


def _rounded(wanted: int | None, capacity: resource_v1.DeviceCapacity) -> int:
    policy = capacity.request_policy
    if wanted is None:
        if policy is not None and policy.default is not None:
            return quantity.nano(policy.default)
        return quantity.nano(capacity.value)
    if policy is None:
        return wanted
    limits = policy.valid_range
    if limits is not None and limits.min is not None:
        lowest = quantity.nano(limits.min)
        if wanted <= lowest:
            return lowest
        if limits.step is None or quantity.nano(limits.step) <= 0:
            return wanted
        step = quantity.nano(limits.step)
        return lowest + -(-(wanted - lowest) // step) * step
    values = sorted(quantity.nano(one) for one in policy.valid_values)
    return next((one for one in values if one >= wanted), wanted)


def _violates(amount: int, policy: resource_v1.CapacityRequestPolicy | None) -> bool:
    if policy is None or (policy.default is not None and amount == quantity.nano(policy.default)):
        return False
    limits = policy.valid_range
    if limits is not None:
        if limits.max is not None and amount > quantity.nano(limits.max):
            return True
        if limits.min is not None and limits.step is not None and quantity.nano(limits.step) > 0:
            return (amount - quantity.nano(limits.min)) % quantity.nano(limits.step) != 0
        return False
    return bool(policy.valid_values) and amount not in {quantity.nano(one) for one in policy.valid_values}


def written(amounts: Amounts) -> dict[str, Quantity]:
    """As a claim's status has them."""
    return {name: quantity.canonical(f"{amount}n") for name, amount in amounts.items()}

"""What devices of one claim must have in common, or must not.

Pure state of one search: what is added is taken off again in the reverse order.
Source: `structured/internal/incubating` (matchAttributeConstraint, distinctAttributeConstraint).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carob.api.types import resource_v1
    from carob.scheduler.devices.pools import Device


def value_of(device: Device, attribute: str) -> Any:
    """The attribute with its kind, so that `1` and `"1"` differ; None if the device has none. Its driver's name may be
    left out."""
    attributes = device.device.attributes
    found = attributes.get(attribute)
    domain, _, plain = attribute.rpartition("/")
    if found is None and domain == device.id.driver:
        found = attributes.get(plain)
    if found is None:
        return None
    for kind in ("string", "int_", "bool_", "version"):
        value = getattr(found, kind)
        if value is not None:
            return kind, value
    return None


class Constraint:
    """One of a claim's. `distinct`: all values differ; else all are the same."""

    def __init__(self, spec: resource_v1.DeviceConstraint) -> None:
        self._requests = frozenset(spec.requests)
        self._distinct = spec.match_attribute is None
        self._attribute = spec.match_attribute or spec.distinct_attribute or ""
        self._values: list[Any] = []

    def _concerns(self, request: str, alternative: str) -> bool:
        if not self._requests or request in self._requests:
            return True
        return bool(alternative) and f"{request}/{alternative}" in self._requests

    def add(self, request: str, alternative: str, device: Device) -> bool:
        """Whether the device may be with those that were added; then it counts."""
        if not self._concerns(request, alternative):
            return True
        value = value_of(device, self._attribute)
        if value is None:
            return False
        if self._values and (value in self._values if self._distinct else value != self._values[0]):
            return False
        self._values.append(value)
        return True

    def remove(self, request: str, alternative: str) -> None:
        """Take off what was added last for it."""
        if self._concerns(request, alternative):
            self._values.pop()

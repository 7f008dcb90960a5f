"""What was measured, as the calculation takes it. Plain data.

Units: thousandths of the metric's own unit, as upstream calculates (`MilliValue`); seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from carob.api import quantity

if TYPE_CHECKING:
    from carob.api.scalars import Quantity

_NANO_PER_MILLI = 1_000_000


class PodReading(Struct, frozen=True):
    """One Pod's value, when it was taken (seconds since 1970) and over how long."""

    milli: int
    time: float = 0.0
    window_seconds: float = 60.0


class PerPod(Struct, frozen=True):
    """By the Pod's name."""

    pods: dict[str, PodReading] = field(default_factory=dict)


class OneValue(Struct, frozen=True):
    """Of an object, or the sum of an external metric."""

    milli: int


class Unreadable(Struct, frozen=True):
    """Why there is no value, in upstream's words."""

    why: str


Reading: TypeAlias = "PerPod | OneValue | Unreadable"


def milli(text: str) -> int:
    """A quantity in thousandths, rounded up."""
    return -(-quantity.nano(text) // _NANO_PER_MILLI)


def from_milli(value: int) -> Quantity:
    """The quantity of so many thousandths."""
    return quantity.canonical(f"{value}m")

"""What was measured, as the calculation takes it. Plain data.

Units: thousandths of the metric's own unit, as upstream calculates (`MilliValue`); seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from carob.api import quantity

if TYPE_CHECKING:
    from carob.api.scalars import Quantity

_NANO_PER_MILLI = 1_000_000


@dataclass(frozen=True, slots=True)
class PodReading:
    """One Pod's value, when it was taken (seconds since 1970) and over how long."""

    milli: int
    time: float = 0.0
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class PerPod:
    """By the Pod's name."""

    pods: dict[str, PodReading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OneValue:
    """Of an object, or the sum of an external metric."""

    milli: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why there is no value, in upstream's words."""

    why: str


Reading: TypeAlias = "PerPod | OneValue | Unreadable"


def milli(text: str) -> int:
    """A quantity in thousandths, rounded up."""
    return -(-quantity.nano(text) // _NANO_PER_MILLI)


def from_milli(value: int) -> Quantity:
    """The quantity of so many thousandths."""
    return quantity.canonical(f"{value}m")

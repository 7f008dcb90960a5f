"""Rules of what workloads count in their status. Pure. Source: `pkg/apis/{core,apps}/validation`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.api.validation import field, meta

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

_HUMP = re.compile(r"(?<!^)(?=[A-Z])")
# these are counted among all, so they cannot be more
_PARTS = (
    ("fullyLabeledReplicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
    ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
)


def value(status: Any, name: str) -> Any:
    """A field of a status by its name in the API; None where the kind has no such field."""
    return getattr(status, _HUMP.sub("_", name).lower(), None)


def not_negative(out: list[Cause], status: Any, *fields: str) -> None:
    """Counters cannot be less than nothing."""
    for name in fields:
        meta.non_negative(out, f"status.{name}", value(status, name) or 0)


def replicas(out: list[Cause], status: Any, *fields: str, stateful: bool = False) -> None:
    """Counters of Pods, of which each but the first is a part of it."""
    not_negative(out, status, *fields, "observedGeneration")
    if getattr(status, "collision_count", None) is not None:
        not_negative(out, status, "collisionCount")
    for name in _PARTS[stateful]:
        count = value(status, name) or 0
        if name in fields and count > status.replicas:
            out.append(field.invalid(f"status.{name}", count, "cannot be greater than status.replicas"))
    available, ready = value(status, "availableReplicas") or 0, value(status, "readyReplicas") or 0
    if available > ready:
        words = f"cannot be greater than {'status.' if stateful else ''}readyReplicas"
        out.append(field.invalid("status.availableReplicas", available, words))


def collisions(out: list[Cause], new: Any, old: Any) -> None:
    """How often a name was taken can only grow."""
    count, before = new.status.collision_count, old.status.collision_count
    if before is not None and (count is None or count < before):
        out.append(field.invalid("status.collisionCount", count or 0, "cannot be decremented"))

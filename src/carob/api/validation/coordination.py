"""Rules of Leases. Pure. Source: `pkg/apis/coordination/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import coordination_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.validation.field import Cause


def lease(out: list[Cause], obj: coordination_v1.Lease) -> None:
    """A Lease."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _spec(out, obj.spec)


def _spec(out: list[Cause], spec: coordination_v1.LeaseSpec) -> None:
    seconds, transitions = spec.lease_duration_seconds, spec.lease_transitions
    if seconds is not None and seconds <= 0:
        out.append(field.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        out.append(field.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))


def lease_update(out: list[Cause], new: coordination_v1.Lease, old: coordination_v1.Lease) -> None:
    """A changed Lease."""
    meta.core_updated(out, new.metadata, old.metadata)
    _spec(out, new.spec)


CREATE: dict[type[Any], Any] = {coordination_v1.Lease: lease}
UPDATE: dict[tuple[type[Any], str], Any] = {(coordination_v1.Lease, ""): lease_update}

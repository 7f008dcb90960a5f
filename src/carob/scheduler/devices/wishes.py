"""What the claims of a Pod ask for, one wish a request or alternative, with the class that each names.

Pure. Source: `structured/internal` (requestAccessor, validateDeviceRequest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from carob.api.types import resource_v1

ALL = "All"
ALLOCATED_EFFECTS = ("NoSchedule", "NoExecute")


class AllocationError(Exception):
    """Something is wrong with a claim, a class or a pool: no other node would do better. `str` is upstream's words."""


class Wish(Struct, frozen=True):
    """Devices for one request, or for one alternative of it (then `alternative` names that)."""

    request: str
    alternative: str
    class_: resource_v1.DeviceClass
    selectors: tuple[tuple[str, str], ...]
    """Expressions, each with how errors call where it stands."""
    every: bool
    """All that fit, instead of `count`."""
    count: int
    admin: bool
    tolerations: Sequence[resource_v1.DeviceToleration]
    capacity: Mapping[str, str]

    @property
    def name(self) -> str:
        """As allocations call it."""
        return f"{self.request}/{self.alternative}" if self.alternative else self.request

    def tolerates(self, taints: Sequence[resource_v1.DeviceTaint]) -> bool:
        """Whether no taint keeps the request from the device."""
        return all(
            taint.effect not in ALLOCATED_EFFECTS or any(_tolerates(one, taint) for one in self.tolerations)
            for taint in taints
        )


def _tolerates(toleration: resource_v1.DeviceToleration, taint: resource_v1.DeviceTaint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or (toleration.operator in ("", "Equal") and toleration.value == taint.value)


def classes_of(claim: resource_v1.ResourceClaim) -> Iterator[tuple[str, str]]:
    """Every request or alternative by its name, and the name of its class."""
    for request in claim.spec.devices.requests or ():
        if request.exactly is not None:
            yield request.name, request.exactly.device_class_name
        for one in request.first_available:
            yield f"{request.name}/{one.name}", one.device_class_name


def wishes_of(
    claim: resource_v1.ResourceClaim, classes: Mapping[str, resource_v1.DeviceClass]
) -> list[tuple[Wish, ...]]:
    """Each request with its alternatives, the best first; one alternative without a name for what is asked exactly.

    Raises: AllocationError for a request that asks for nothing.
    """
    found: list[tuple[Wish, ...]] = []
    key = f"{claim.metadata.namespace}/{claim.metadata.name}"
    for request in claim.spec.devices.requests or ():
        if request.exactly is not None:
            admin = bool(request.exactly.admin_access)
            found.append((_wish(key, request.name, "", request.exactly, classes, admin=admin),))
        elif request.first_available:
            found.append(
                tuple(_wish(key, request.name, one.name, one, classes, admin=False) for one in request.first_available)
            )
        else:
            raise AllocationError(f"request {request.name}: unsupported request type")
    return found


def _wish(
    key: str,
    request: str,
    alternative: str,
    spec: resource_v1.ExactDeviceRequest | resource_v1.DeviceSubRequest,
    classes: Mapping[str, resource_v1.DeviceClass],
    *,
    admin: bool,
) -> Wish:
    class_ = classes[spec.device_class_name]
    selectors = [
        (f"{where}: selector #{i}", one.cel.expression if one.cel is not None else "")
        for where, chosen in (
            (f"class {spec.device_class_name}", class_.spec.selectors),
            (f"claim {key}", spec.selectors),
        )
        for i, one in enumerate(chosen)
    ]
    return Wish(
        request=request,
        alternative=alternative,
        class_=class_,
        selectors=tuple(selectors),
        every=spec.allocation_mode == ALL,
        count=spec.count,
        admin=admin,
        tolerations=spec.tolerations,
        capacity=spec.capacity.requests if spec.capacity is not None else {},
    )

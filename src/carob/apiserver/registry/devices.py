"""Claims of devices: administrators' access needs a namespace of theirs; reports of devices end with their allocation.

Source: upstream `pkg/registry/resource/{resourceclaim,resourceclaimtemplate}/strategy.go`, `resourceutils`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.resources import TABLE
from carob.api.status import invalid
from carob.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from carob.api.types import resource_v1
    from carob.apiserver.registry.strategy import WriteContext

ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_NAMESPACES = TABLE.by_plural("", "v1", "namespaces")


class DeviceClaimStrategy(Strategy):
    """A ResourceClaim."""

    def prepare_create(self, obj: resource_v1.ResourceClaim, context: WriteContext) -> None:
        """Raises: ApiError Invalid."""
        super().prepare_create(obj, context)
        _authorize(obj.metadata.name, "spec.devices.requests", obj.spec.devices, context)

    def prepare_status(
        self, new: resource_v1.ResourceClaim, old: resource_v1.ResourceClaim, context: WriteContext
    ) -> None:
        """What is no longer allocated is no longer reported of."""
        super().prepare_status(new, old, context)
        if new.status.devices and old.status.allocation is not None:
            before, after = _allocated(old), _allocated(new)
            new.status.devices = [
                one
                for one in new.status.devices
                if (key := (one.driver, one.pool, one.device, one.share_id)) in after or key not in before
            ]


class DeviceClaimTemplateStrategy(Strategy):
    """A ResourceClaimTemplate."""

    def prepare_create(self, obj: resource_v1.ResourceClaimTemplate, context: WriteContext) -> None:
        """Raises: ApiError Invalid."""
        super().prepare_create(obj, context)
        _authorize(obj.metadata.name, "spec.spec.devices.requests", obj.spec.spec.devices, context)


def _allocated(claim: resource_v1.ResourceClaim) -> set[tuple[str, str, str, str | None]]:
    allocation = claim.status.allocation
    results = allocation.devices.results if allocation is not None else []
    return {(one.driver, one.pool, one.device, one.share_id) for one in results}


def _authorize(name: str, path: str, devices: resource_v1.DeviceClaim, context: WriteContext) -> None:
    """Source: `resourceutils.AuthorizedForAdmin`, which looks no further than the first such request."""
    asking = (i for i, one in enumerate(devices.requests or ()) if one.exactly is not None and one.exactly.admin_access)
    number = next(asking, None)
    if number is None:
        return
    assert _NAMESPACES is not None
    namespace = context.reader.get(_NAMESPACES, "", context.namespace)
    if namespace is not None and namespace.metadata.labels.get(ADMIN_LABEL) == "true":
        return
    words = f"Forbidden: admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
    field = f"{path}[{number}].adminAccess"
    raise invalid(context.row, name, [{"reason": "FieldValueForbidden", "message": words, "field": field}])

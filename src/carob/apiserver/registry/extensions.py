"""Custom resource definitions, devices and flow schemas: first states.

Source: upstream `apiextensions-apiserver/pkg/registry/customresourcedefinition/strategy.go`,
`pkg/registry/resource/resourceslice/strategy.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import apiextensions_v1
from carob.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from carob.api.types import resource_v1
    from carob.apiserver.registry.strategy import WriteContext


class DefinitionStrategy(Strategy):
    """A definition remembers every version that objects were stored in."""

    def prepare_create(self, obj: apiextensions_v1.CustomResourceDefinition, context: WriteContext) -> None:
        """The storage version is the first one stored."""
        obj.metadata.generation = 1
        obj.status = apiextensions_v1.CustomResourceDefinitionStatus(
            accepted_names=apiextensions_v1.CustomResourceDefinitionNames()
        )
        _remember(obj)

    def prepare_update(
        self,
        new: apiextensions_v1.CustomResourceDefinition,
        old: apiextensions_v1.CustomResourceDefinition,
        context: WriteContext,
    ) -> None:
        """A new storage version is added to those stored."""
        super().prepare_update(new, old, context)
        new.status = type(old.status)(
            conditions=old.status.conditions,
            accepted_names=old.status.accepted_names,
            stored_versions=list(old.status.stored_versions or []),
        )
        _remember(new)


def _remember(obj: apiextensions_v1.CustomResourceDefinition) -> None:
    for version in obj.spec.versions:
        stored = obj.status.stored_versions or []
        if version.storage and version.name not in stored:
            obj.status.stored_versions = [*stored, version.name]
            return


class SliceStrategy(Strategy):
    """Taints of devices carry the time when they were added."""

    def prepare_create(self, obj: resource_v1.ResourceSlice, context: WriteContext) -> None:
        """Stamp what has no time yet."""
        super().prepare_create(obj, context)
        _stamp(obj, context)

    def prepare_update(
        self, new: resource_v1.ResourceSlice, old: resource_v1.ResourceSlice, context: WriteContext
    ) -> None:
        """As at creation."""
        super().prepare_update(new, old, context)
        _stamp(new, context)


def _stamp(obj: resource_v1.ResourceSlice, context: WriteContext) -> None:
    for device in obj.spec.devices:
        for taint in device.taints:
            taint.time_added = taint.time_added or context.now

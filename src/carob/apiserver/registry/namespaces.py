"""Namespaces: they live until their spec's finalizers are gone, which the namespace controller removes at last.

Source: upstream `pkg/registry/core/namespace/{strategy.go,storage/storage.go}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.api.types.meta_v1 import DeleteOptions
    from carob.apiserver.registry.strategy import WriteContext

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    """See the module's docstring."""

    def prepare_create(self, obj: core_v1.Namespace, context: WriteContext) -> None:
        """Active, held by the finalizer of the namespace controller."""
        obj.status = type(obj.status)(phase="Active")
        if FINALIZER not in obj.spec.finalizers:
            obj.spec.finalizers.append(FINALIZER)

    def prepare_update(self, new: core_v1.Namespace, old: core_v1.Namespace, context: WriteContext) -> None:
        """Neither finalizers nor status change here."""
        new.spec.finalizers = old.spec.finalizers
        new.status = old.status

    def mark_deleted(self, obj: core_v1.Namespace, options: DeleteOptions, context: WriteContext) -> bool:
        """A deletion begins with the phase Terminating."""
        if obj.metadata.deletion_timestamp is not None:
            return False
        obj.metadata.deletion_timestamp = context.now
        obj.status.phase = "Terminating"
        return True

    def complete(self, obj: core_v1.Namespace) -> bool:
        """Gone only when nobody holds its content any more."""
        return not obj.spec.finalizers


def prepare_finalize(new: Any, old: Any, context: WriteContext) -> None:
    """Only the spec's finalizers change, by those who have cleaned up."""
    new.status = old.status

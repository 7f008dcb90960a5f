"""Nodes, volumes and claims: first states.

Source: upstream `pkg/registry/core/{node,persistentvolume,persistentvolumeclaim}/strategy.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from carob.api.types import coordination_v1, core_v1
    from carob.apiserver.registry.strategy import WriteContext


class NodeStrategy(Strategy):
    """A node registers itself with its status."""

    def prepare_create(self, obj: core_v1.Node, context: WriteContext) -> None:
        """As it comes."""
        _both_ranges(obj.spec)

    def prepare_update(self, new: core_v1.Node, old: core_v1.Node, context: WriteContext) -> None:
        """The spec alone."""
        super().prepare_update(new, old, context)
        _both_ranges(new.spec)


def _both_ranges(spec: core_v1.NodeSpec) -> None:
    """The one range and the list of them say the same. Source: `Convert_v1_NodeSpec_To_core_NodeSpec`."""
    if spec.pod_cidr and (not spec.pod_cidrs or spec.pod_cidrs[0] != spec.pod_cidr):
        spec.pod_cidrs = [spec.pod_cidr]
    elif spec.pod_cidrs and not spec.pod_cidr:
        spec.pod_cidr = spec.pod_cidrs[0]


class LeaseStrategy(Strategy):
    """Fields of coordinated leader election fall away: its feature gate is closed upstream."""

    def prepare_create(self, obj: coordination_v1.Lease, context: WriteContext) -> None:
        """Without them."""
        obj.spec.strategy = obj.spec.preferred_holder = None

    def prepare_update(self, new: coordination_v1.Lease, old: coordination_v1.Lease, context: WriteContext) -> None:
        """Without them."""
        new.spec.strategy = new.spec.preferred_holder = None


class VolumeStrategy(Strategy):
    """A volume's status says since when it is in its phase."""

    def prepare_create(self, obj: core_v1.PersistentVolume, context: WriteContext) -> None:
        """Pending, from now on."""
        obj.status = type(obj.status)(phase="Pending", last_phase_transition_time=context.now)

    def prepare_status(
        self, new: core_v1.PersistentVolume, old: core_v1.PersistentVolume, context: WriteContext
    ) -> None:
        """The server keeps the time of the phase."""
        super().prepare_status(new, old, context)
        given = new.status.last_phase_transition_time
        if new.status.phase != old.status.phase and given in (None, old.status.last_phase_transition_time):
            new.status.last_phase_transition_time = context.now
        elif given is None:
            new.status.last_phase_transition_time = old.status.last_phase_transition_time


class ClaimStrategy(Strategy):
    """A claim waits for a volume."""

    def prepare_create(self, obj: core_v1.PersistentVolumeClaim, context: WriteContext) -> None:
        """Pending; a source given in one of its two fields is in both."""
        obj.status = type(obj.status)(phase="Pending")
        settle_sources(obj.spec, None)

    def prepare_update(
        self, new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim, context: WriteContext
    ) -> None:
        """As at creation."""
        super().prepare_update(new, old, context)
        settle_sources(new.spec, old.spec)


# what a claim could be made from when it had but one field for it
_FIRST_SOURCES = {("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")}


def settle_sources(spec: core_v1.PersistentVolumeClaimSpec, old: core_v1.PersistentVolumeClaimSpec | None) -> None:
    """What a claim may not be made from falls away; what is left stands in both fields.

    Source: `pkg/api/persistentvolumeclaim/util.go`; its gate CrossNamespaceVolumeDataSource is closed.
    """
    from carob.api.types import core_v1

    source, reference = spec.data_source, spec.data_source_ref
    if reference is not None and reference.namespace and (old is None or old.data_source_ref is None):
        spec.data_source_ref = None
    known = source is None or (source.api_group or "", source.kind) in _FIRST_SOURCES
    if not known and (old is None or old.data_source is None):
        spec.data_source = None
    source, reference = spec.data_source, spec.data_source_ref
    if source is not None and reference is None:
        spec.data_source_ref = core_v1.TypedObjectReference(
            api_group=source.api_group, kind=source.kind, name=source.name
        )
    elif reference is not None and source is None and not reference.namespace:
        spec.data_source = core_v1.TypedLocalObjectReference(
            api_group=reference.api_group, kind=reference.kind, name=reference.name
        )

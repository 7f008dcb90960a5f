"""Defaults of StorageClasses and CSIDrivers. Source: `pkg/apis/storage/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import storage_v1

if TYPE_CHECKING:
    from collections.abc import Callable

_DRIVER_FLAGS = {
    "attach_required": True,
    "pod_info_on_mount": False,
    "storage_capacity": False,
    "requires_republish": False,
    "se_linux_mount": False,
}


def _storage_class(obj: storage_v1.StorageClass) -> None:
    if obj.reclaim_policy is None:
        obj.reclaim_policy = "Delete"
    if obj.volume_binding_mode is None:
        obj.volume_binding_mode = "Immediate"


def _csi_driver(obj: storage_v1.CSIDriver) -> None:
    spec = obj.spec
    for name, value in _DRIVER_FLAGS.items():
        if getattr(spec, name) is None:
            setattr(spec, name, value)
    if spec.fs_group_policy is None:
        spec.fs_group_policy = "ReadWriteOnceWithFSType"
    spec.volume_lifecycle_modes = spec.volume_lifecycle_modes or ["Persistent"]


def _csi_node(obj: storage_v1.CSINode) -> None:
    obj.spec.drivers = obj.spec.drivers or None


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    storage_v1.StorageClass: _storage_class,
    storage_v1.CSIDriver: _csi_driver,
    storage_v1.CSINode: _csi_node,
}

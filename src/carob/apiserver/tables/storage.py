"""Rows of volumes and of storage.k8s.io.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.tables.text import NONE, UNSET, access_modes, age

if TYPE_CHECKING:
    from carob.api.types import core_v1, storage_v1

_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _volume(obj: core_v1.PersistentVolume, now: float) -> list[Any]:
    spec, claim = obj.spec, obj.spec.claim_ref
    return [
        obj.metadata.name,
        str(spec.capacity.get("storage", "")),
        access_modes(spec.access_modes),
        spec.persistent_volume_reclaim_policy,
        "Terminating" if obj.metadata.deletion_timestamp is not None else obj.status.phase,
        f"{claim.namespace}/{claim.name}" if claim is not None else "",
        obj.metadata.annotations.get(_CLASS_ANNOTATION) or spec.storage_class_name,
        spec.volume_attributes_class_name or UNSET,
        obj.status.reason,
        age(obj, now),
        spec.volume_mode or UNSET,
    ]


def _claim(obj: core_v1.PersistentVolumeClaim, now: float) -> list[Any]:
    spec, status = obj.spec, obj.status
    bound = bool(spec.volume_name)
    return [
        obj.metadata.name,
        "Terminating" if obj.metadata.deletion_timestamp is not None else status.phase,
        spec.volume_name,
        str(status.capacity.get("storage", "")) if bound else "",
        access_modes(status.access_modes) if bound else "",
        obj.metadata.annotations.get(_CLASS_ANNOTATION) or spec.storage_class_name or "",
        spec.volume_attributes_class_name or UNSET,
        age(obj, now),
        spec.volume_mode or UNSET,
    ]


def _storage_class(obj: storage_v1.StorageClass, now: float) -> list[Any]:
    annotations = obj.metadata.annotations
    is_default = any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)
    return [
        obj.metadata.name + (" (default)" if is_default else ""),
        obj.provisioner,
        obj.reclaim_policy or "Delete",
        obj.volume_binding_mode or "Immediate",
        bool(obj.allow_volume_expansion),
        age(obj, now),
    ]


def _csi_driver(obj: storage_v1.CSIDriver, now: float) -> list[Any]:
    spec = obj.spec
    return [
        obj.metadata.name,
        True if spec.attach_required is None else spec.attach_required,
        bool(spec.pod_info_on_mount),
        bool(spec.storage_capacity),
        ",".join(one.audience for one in spec.token_requests) or UNSET,
        bool(spec.requires_republish),
        ",".join(spec.volume_lifecycle_modes) or NONE,
        age(obj, now),
    ]


def _csi_node(obj: storage_v1.CSINode, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.spec.drivers or []), age(obj, now)]


def _attachment(obj: storage_v1.VolumeAttachment, now: float) -> list[Any]:
    spec = obj.spec
    return [
        obj.metadata.name,
        spec.attacher,
        spec.source.persistent_volume_name or "",
        spec.node_name,
        obj.status.attached,
        age(obj, now),
    ]


def _attributes_class(obj: storage_v1.VolumeAttributesClass, now: float) -> list[Any]:
    return [obj.metadata.name, obj.driver_name, age(obj, now)]


CELLS = {
    "csidrivers.storage.k8s.io": _csi_driver,
    "csinodes.storage.k8s.io": _csi_node,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "storageclasses.storage.k8s.io": _storage_class,
    "volumeattachments.storage.k8s.io": _attachment,
    "volumeattributesclasses.storage.k8s.io": _attributes_class,
}

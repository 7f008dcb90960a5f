"""Rules of PersistentVolumes and PersistentVolumeClaims. Pure. Source: `pkg/apis/core/validation`."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

import msgspec

from carob.api import quantity
from carob.api.types import core_v1
from carob.api.validation import (
    claims,
    field,
    meta,
    names,
    paths,
    pod_diff,
    resources,
    scheduling,
    volume_sources,
    volumes,
)

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_CLAIM_STAYS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def claim(out: list[Cause], obj: core_v1.PersistentVolumeClaim) -> None:
    """A new claim."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    claims.spec(out, "spec", obj.spec)


def claim_update(out: list[Cause], new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim) -> None:
    """A changed claim: it is bound once, and a bound one may grow."""
    claim(out, new)
    meta.core_updated(out, new.metadata, old.metadata)
    if new.metadata.annotations.get(CLASS_ANNOTATION) != old.metadata.annotations.get(CLASS_ANNOTATION):
        here = f"metadata.annotations[{CLASS_ANNOTATION}]"
        out.append(field.invalid(here, new.metadata.annotations.get(CLASS_ANNOTATION, ""), meta.IMMUTABLE))
    wanted, was = new.spec, old.spec
    if not was.volume_name:
        was = msgspec.structs.replace(was, volume_name=wanted.volume_name)
    if old.status.phase != "Bound" and was.storage_class_name is None and not old.spec.volume_name:
        was = msgspec.structs.replace(was, storage_class_name=wanted.storage_class_name)
    if new.status.phase == "Bound":
        requests = dict(wanted.resources.requests)
        if requests and "storage" in was.resources.requests:
            requests["storage"] = was.resources.requests["storage"]
        asked = msgspec.structs.replace(wanted.resources, requests=requests)
        wanted = msgspec.structs.replace(wanted, resources=asked)
        if wanted.volume_attributes_class_name is not None:
            kept = was.volume_attributes_class_name
            wanted = msgspec.structs.replace(wanted, volume_attributes_class_name=kept)
    if wanted != was:
        out.append(field.forbidden("spec", f"{_CLAIM_STAYS}\n{pod_diff.difference(was, wanted)}"))
    size, previous = new.spec.resources.requests.get("storage"), old.spec.resources.requests.get("storage")
    if size is not None and previous is not None and quantity.compare(size, previous) < 0:
        there = old.status.capacity.get("storage")
        if there is not None and quantity.compare(size, there) <= 0:
            words = "field can not be less than status.capacity"
            out.append(field.forbidden("spec.resources.requests.storage", words))
    meta.immutable(out, "volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    if old.spec.volume_attributes_class_name is not None and new.spec.volume_attributes_class_name is None:
        words = "update from non-nil value to nil is forbidden"
        out.append(field.forbidden("spec.volumeAttributesClassName", words))


def claim_status(out: list[Cause], new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim) -> None:
    """What a claim got."""
    meta.core_updated(out, new.metadata, old.metadata)
    for key, amount in new.status.capacity.items():
        resources.value(out, f"status.capacity[{key}]", key, amount)


def volume(out: list[Cause], obj: core_v1.PersistentVolume) -> None:
    """A new volume."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    spec = obj.spec
    _capacity(out, "spec.capacity", spec)
    if not spec.access_modes:
        out.append(field.required("spec.accessModes"))
    claims.access_modes(out, "spec.accessModes", spec.access_modes)
    if spec.persistent_volume_reclaim_policy not in RECLAIM_POLICIES:
        here = "spec.persistentVolumeReclaimPolicy"
        out.append(field.not_supported(here, spec.persistent_volume_reclaim_policy, RECLAIM_POLICIES))
    if spec.node_affinity is not None:
        if spec.node_affinity.required is None:
            words = "must specify required node constraints"
            out.append(field.required("spec.nodeAffinity.required", words))
        else:
            scheduling.node_selector(out, "spec.nodeAffinity.required", spec.node_affinity.required)
    source(out, "spec", spec, obj.metadata.name)
    root = spec.host_path is not None and posixpath.normpath(spec.host_path.path or ".") == "/"
    if root and spec.persistent_volume_reclaim_policy == "Recycle":
        words = "may not be 'recycle' for a hostPath mount of '/'"
        out.append(field.forbidden("spec.persistentVolumeReclaimPolicy", words))
    if spec.storage_class_name:
        wrong = names.dns_subdomain(spec.storage_class_name)
        meta.wrong_name(out, "spec.storageClassName", spec.storage_class_name, wrong)
    if spec.volume_mode is not None and spec.volume_mode not in claims.VOLUME_MODES:
        out.append(field.not_supported("spec.volumeMode", spec.volume_mode, claims.VOLUME_MODES))
    _attributes_class(out, spec)


def _attributes_class(out: list[Cause], spec: core_v1.PersistentVolumeSpec) -> None:
    name = spec.volume_attributes_class_name
    if name is None:
        return
    here = "spec.volumeAttributesClassName"
    if not name:
        out.append(field.required(here, "an empty string is disallowed"))
    else:
        meta.wrong_name(out, here, name, names.dns_subdomain(name))
    if spec.csi is None:
        out.append(field.required("spec.csi", "has to be specified when using volumeAttributesClassName"))


def _capacity(out: list[Cause], path: str, spec: core_v1.PersistentVolumeSpec) -> None:
    if not spec.capacity:
        out.append(field.required(path))
    if list(spec.capacity) != ["storage"]:
        out.append(field.not_supported(path, field.map_or_null(spec.capacity), ("storage",)))
    for key, amount in spec.capacity.items():
        if quantity.nano(amount) < 0:
            out.append(field.invalid(f"{path}[{key}]", str(amount), resources.NOT_NEGATIVE))
        if quantity.nano(amount) <= 0:
            out.append(field.invalid(f"{path}[{key}]", str(amount), scheduling.NOT_POSITIVE))


def source(out: list[Cause], path: str, spec: core_v1.PersistentVolumeSpec, name: str) -> None:
    """Where the bytes are: exactly one place."""
    count = 0
    for attribute, shown, check in _SOURCES:
        found = getattr(spec, attribute)
        if found is None:
            continue
        if count:
            out.append(field.forbidden(f"{path}.{_FORBIDDEN_AS.get(shown, shown)}", volumes.ONE_TYPE))
            continue
        count += 1
        check(out, f"{path}.{shown}", found)
        if attribute == "local" and spec.node_affinity is None:
            out.append(field.required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    if not count:
        out.append(field.required(path, "must specify a volume type"))


def _local(out: list[Cause], path: str, local: core_v1.LocalVolumeSource) -> None:
    if not local.path:
        out.append(field.required(f"{path}.path"))
        return
    paths.no_backsteps(out, f"{path}.path", local.path)


def _secret(out: list[Cause], path: str, secret: core_v1.SecretReference | None) -> None:
    if secret is None:
        return
    if not secret.name:
        out.append(field.required(f"{path}.name"))
    if not secret.namespace:
        out.append(field.required(f"{path}.namespace"))


def _csi(out: list[Cause], path: str, csi: core_v1.CSIPersistentVolumeSource) -> None:
    if not csi.driver:
        out.append(field.required(f"{path}.driver"))
    else:
        volume_sources.csi_driver_name(out, f"{path}.driver", csi.driver)
    if not csi.volume_handle:
        out.append(field.required(f"{path}.volumeHandle"))
    _secret(out, f"{path}.controllerPublishSecretRef", csi.controller_publish_secret_ref)
    _secret(out, f"{path}.controllerExpandSecretRef", csi.controller_expand_secret_ref)
    _secret(out, f"{path}.nodePublishSecretRef", csi.node_publish_secret_ref)
    _secret(out, f"{path}.nodeExpandSecretRef", csi.node_expand_secret_ref)


def _cinder(out: list[Cause], path: str, cinder: core_v1.CinderPersistentVolumeSource) -> None:
    if not cinder.volume_id:
        out.append(field.required(f"{path}.volumeID"))
    _secret(out, f"{path}.secretRef", cinder.secret_ref)


def _storage_os(out: list[Cause], path: str, found: core_v1.StorageOSPersistentVolumeSource) -> None:
    if not found.volume_name:
        out.append(field.required(f"{path}.volumeName"))


def _azure_file(out: list[Cause], path: str, found: core_v1.AzureFilePersistentVolumeSource) -> None:
    for name, value in (("secretName", found.secret_name), ("shareName", found.share_name)):
        if not value:
            out.append(field.required(f"{path}.{name}"))
    if found.secret_namespace == "":
        out.append(field.required(f"{path}.secretNamespace"))


def volume_update(out: list[Cause], new: core_v1.PersistentVolume, old: core_v1.PersistentVolume) -> None:
    """A changed volume: where its bytes are stays."""
    volume(out, new)
    meta.core_updated(out, new.metadata, old.metadata)
    if any(getattr(new.spec, name) != getattr(old.spec, name) for name, _, _ in _SOURCES):
        bare = core_v1.PersistentVolumeSpec()
        before, after = (
            msgspec.structs.replace(bare, **{name: getattr(spec, name) for name, _, _ in _SOURCES})
            for spec in (old.spec, new.spec)
        )
        words = f"spec.persistentvolumesource is immutable after creation\n{pod_diff.difference(before, after)}"
        out.append(field.forbidden("spec.persistentvolumesource", words))
    meta.immutable(out, "volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    if old.spec.node_affinity is not None:
        meta.immutable(out, "nodeAffinity", new.spec.node_affinity, old.spec.node_affinity)


def volume_status(out: list[Cause], new: core_v1.PersistentVolume, old: core_v1.PersistentVolume) -> None:
    """The phase of a volume."""
    meta.core_updated(out, new.metadata, old.metadata)


# attribute, name in paths, rule; in the order in which upstream looks
_SOURCES: tuple[tuple[str, str, Any], ...] = (
    ("host_path", "hostPath", volume_sources.host_path),
    ("gce_persistent_disk", "persistentDisk", volume_sources.gce_disk),
    ("aws_elastic_block_store", "awsElasticBlockStore", volume_sources.aws_disk),
    ("glusterfs", "glusterfs", volume_sources.glusterfs),
    ("flocker", "flocker", volume_sources.flocker),
    ("nfs", "nfs", volume_sources.nfs),
    ("rbd", "rbd", volume_sources.rbd),
    ("quobyte", "quobyte", volume_sources.quobyte),
    ("cephfs", "cephfs", volume_sources.cephfs),
    ("iscsi", "iscsi", volume_sources.iscsi),
    ("cinder", "cinder", _cinder),
    ("fc", "fc", volume_sources.fibre_channel),
    ("flex_volume", "flexVolume", volume_sources.flex),
    ("azure_file", "azureFile", _azure_file),
    ("vsphere_volume", "vsphereVolume", volume_sources.vsphere),
    ("photon_persistent_disk", "photonPersistentDisk", volume_sources.photon),
    ("portworx_volume", "portworxVolume", volume_sources.portworx),
    ("azure_disk", "azureDisk", volume_sources.azure_disk),
    ("scale_io", "scaleIO", volume_sources.scale_io),
    ("local", "local", _local),
    ("storageos", "storageos", _storage_os),
    ("csi", "csi", _csi),
)
_FORBIDDEN_AS = {"persistentDisk": "gcePersistentDisk", "cephfs": "cephFS"}

CREATE: dict[type[Any], Any] = {core_v1.PersistentVolumeClaim: claim, core_v1.PersistentVolume: volume}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (core_v1.PersistentVolumeClaim, ""): claim_update,
    (core_v1.PersistentVolumeClaim, "status"): claim_status,
    (core_v1.PersistentVolume, ""): volume_update,
    (core_v1.PersistentVolume, "status"): volume_status,
}

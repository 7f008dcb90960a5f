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
    from carob.api.scalars import Quantity
    from carob.api.validation.field import Cause

RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
RESIZE_STATES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)
_NOT_INLINE = "may not be specified in the context of inline volumes"
# names of node labels as they were and as they are
_NEWER_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}
_CLAIM_STAYS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def claim(out: list[Cause], obj: core_v1.PersistentVolumeClaim) -> None:
    """A new claim."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    claims.spec(out, "spec", obj.spec)


def claim_update(out: list[Cause], new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim) -> None:
    """A changed claim: it is bound once, and a bound one may grow."""
    meta.core_updated(out, new.metadata, old.metadata)
    claim(out, new)
    wanted, was = new.spec, old.spec
    if not was.volume_name:
        was = msgspec.structs.replace(was, volume_name=wanted.volume_name)
    if _class_moved(new, old):
        wanted = msgspec.structs.replace(wanted, storage_class_name=None)
    else:
        ours, theirs = (obj.metadata.annotations.get(CLASS_ANNOTATION) for obj in (new, old))
        meta.immutable(out, f"metadata.annotations.{CLASS_ANNOTATION}", ours or "", theirs or "")
        given = wanted.storage_class_name
        if was.storage_class_name is None and given is not None and theirs in (None, given):
            # a claim without a class may be given one
            was = msgspec.structs.replace(was, storage_class_name=given)
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
    if old.spec.volume_attributes_class_name is not None and not new.spec.volume_attributes_class_name:
        what = "nil" if new.spec.volume_attributes_class_name is None else "an empty string"
        words = f"update from non-nil value to {what} is forbidden"
        out.append(field.forbidden("spec.volumeAttributesClassName", words))


def _class_moved(new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim) -> bool:
    """Whether the class goes from the annotation, its old place, into the field."""
    ours, theirs = (obj.metadata.annotations.get(CLASS_ANNOTATION) for obj in (new, old))
    moved = old.spec.storage_class_name is None and new.spec.storage_class_name == theirs
    return theirs is not None and moved and ours in (None, theirs)


def claim_status(out: list[Cause], new: core_v1.PersistentVolumeClaim, old: core_v1.PersistentVolumeClaim) -> None:
    """What a claim got."""
    meta.core_updated(out, new.metadata, old.metadata)
    if not new.spec.access_modes:
        out.append(field.required("Spec.accessModes"))
    for key, amount in new.status.capacity.items():
        _basic(out, f"status.capacity[{key}]", amount)
    here = "status.allocatedResourceStatus"
    for key, state in new.status.allocated_resource_statuses.items():
        _resized_key(out, here, key)
        if state not in RESIZE_STATES:
            out.append(field.not_supported(here, key, RESIZE_STATES))
    for key, amount in new.status.allocated_resources.items():
        here = f"status.allocatedResources[{key}]"
        if _resized_key(out, "status.allocatedResources", key) and _basic(out, here, amount):
            resources.value(out, here, "storage", amount)


def _resized_key(out: list[Cause], path: str, key: str) -> bool:
    """Of a claim only the storage grows, or what somebody else defined; True if the name is right."""
    if wrong := names.qualified_name(key):
        meta.wrong_name(out, path, key, wrong)
        return False
    if resources.is_native(key) and key != "storage":
        out.append(field.not_supported(path, key, ("storage",)))
        return False
    return True


def _basic(out: list[Cause], path: str, amount: Quantity) -> bool:
    whole = quantity.whole(amount)
    if whole < 0:
        out.append(field.invalid(path, whole, "must be a valid resource quantity"))
    return whole >= 0


def volume(out: list[Cause], obj: core_v1.PersistentVolume) -> None:
    """A new volume."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    spec, path = obj.spec, "spec"
    _access_modes(out, path, spec)
    _capacity(out, f"{path}.capacity", spec)
    if spec.persistent_volume_reclaim_policy not in RECLAIM_POLICIES:
        here = f"{path}.persistentVolumeReclaimPolicy"
        out.append(field.not_supported(here, spec.persistent_volume_reclaim_policy, RECLAIM_POLICIES))
    if spec.node_affinity is not None:
        if spec.node_affinity.required is None:
            words = "must specify required node constraints"
            out.append(field.required(f"{path}.nodeAffinity.required", words))
        else:
            scheduling.node_selector(out, f"{path}.nodeAffinity.required", spec.node_affinity.required)
    source(out, path, spec, obj.metadata.name)
    if spec.storage_class_name:
        wrong = names.dns_subdomain(spec.storage_class_name)
        meta.wrong_name(out, f"{path}.storageClassName", spec.storage_class_name, wrong)
    if spec.volume_mode is not None and spec.volume_mode not in claims.VOLUME_MODES:
        out.append(field.not_supported(f"{path}.volumeMode", spec.volume_mode, claims.VOLUME_MODES))
    _attributes_class(out, path, spec)


def inline_volume(out: list[Cause], path: str, spec: core_v1.PersistentVolumeSpec) -> None:
    """A volume that an attachment carries in itself: only what attaching needs."""
    for name, given in (("claimRef", spec.claim_ref), ("capacity", spec.capacity)):
        if given:
            out.append(field.forbidden(f"{path}.{name}", _NOT_INLINE))
    if spec.csi is None:
        out.append(field.required(f"{path}.csi", "has to be specified in the context of inline volumes"))
    _access_modes(out, path, spec)
    if spec.persistent_volume_reclaim_policy not in ("", "Retain"):
        words = "may only be Retain in the context of inline volumes"
        out.append(field.forbidden(f"{path}.persistentVolumeReclaimPolicy", words))
    if spec.node_affinity is not None:
        out.append(field.forbidden(f"{path}.nodeAffinity", _NOT_INLINE))
    source(out, path, spec, "")
    if spec.storage_class_name:
        out.append(field.forbidden(f"{path}.storageClassName", _NOT_INLINE))
    if spec.volume_mode is not None and spec.volume_mode != "Filesystem":
        words = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        out.append(field.forbidden(f"{path}.volumeMode", words))
    _attributes_class(out, path, spec)


def _access_modes(out: list[Cause], path: str, spec: core_v1.PersistentVolumeSpec) -> None:
    if not spec.access_modes:
        out.append(field.required(f"{path}.accessModes"))
    claims.access_modes(out, f"{path}.accessModes", spec.access_modes)


def _attributes_class(out: list[Cause], path: str, spec: core_v1.PersistentVolumeSpec) -> None:
    name = spec.volume_attributes_class_name
    if name is None:
        return
    here = f"{path}.volumeAttributesClassName"
    if not name:
        out.append(field.required(here, "an empty string is disallowed"))
    else:
        meta.wrong_name(out, here, name, names.dns_subdomain(name))
    if spec.csi is None:
        out.append(field.required(f"{path}.csi", "has to be specified when using volumeAttributesClassName"))


def _capacity(out: list[Cause], path: str, spec: core_v1.PersistentVolumeSpec) -> None:
    if not spec.capacity:
        out.append(field.required(path))
    if list(spec.capacity) != ["storage"]:
        out.append(field.not_supported(path, field.map_or_null(spec.capacity), ("storage",)))
    for key, amount in spec.capacity.items():
        _basic(out, f"{path}[{key}]", amount)
        if quantity.nano(amount) <= 0:
            out.append(field.invalid(f"{path}[{key}]", str(amount), scheduling.NOT_POSITIVE))


def source(out: list[Cause], path: str, spec: core_v1.PersistentVolumeSpec, name: str) -> None:
    """Where the bytes are: exactly one place."""
    count = 0
    for attribute, shown, check in _SOURCES:
        found = getattr(spec, attribute)
        if found is None:
            continue
        if count and attribute != "flex_volume":
            out.append(field.forbidden(f"{path}.{_FORBIDDEN_AS.get(shown, shown)}", volumes.ONE_TYPE))
            continue
        count += 1
        if attribute == "iscsi":
            volume_sources.persistent_iscsi(out, f"{path}.{shown}", found, name)
        else:
            check(out, f"{path}.{shown}", found)
        if attribute == "local" and spec.node_affinity is None:
            out.append(field.required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    if not count:
        out.append(field.required(path, "must specify a volume type"))
    root = spec.host_path is not None and posixpath.normpath(spec.host_path.path or ".") == "/"
    if root and spec.persistent_volume_reclaim_policy == "Recycle":
        words = "may not be 'recycle' for a hostPath mount of '/'"
        out.append(field.forbidden(f"{path}.persistentVolumeReclaimPolicy", words))


def _local(out: list[Cause], path: str, local: core_v1.LocalVolumeSource) -> None:
    if not local.path:
        out.append(field.required(f"{path}.path"))
        return
    paths.no_backsteps(out, f"{path}.path", local.path)


def _secret(out: list[Cause], path: str, secret: core_v1.SecretReference | None) -> None:
    """The secret of a CSI driver; its names are looked at, unlike those of the older places."""
    if secret is None:
        return
    for name, value, rule in (
        ("name", secret.name, names.dns_subdomain),
        ("namespace", secret.namespace, names.dns_label),
    ):
        if not value:
            out.append(field.required(f"{path}.{name}"))
        else:
            meta.wrong_name(out, f"{path}.{name}", value, rule(value))


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
    if cinder.secret_ref is not None:
        volume_sources.needs(out, f"{path}.secretRef", cinder.secret_ref, "name", "namespace")


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
    bare = core_v1.PersistentVolumeSpec()
    before, after = (
        msgspec.structs.replace(bare, **{name: getattr(spec, name) for name, _, _ in _SOURCES})
        for spec in (old.spec, new.spec)
    )
    if before.csi is not None and before.csi.controller_expand_secret_ref is None and after.csi is not None:
        # what growing needs may be said later
        after.csi = msgspec.structs.replace(after.csi, controller_expand_secret_ref=None)
    if before != after:
        words = f"spec.persistentvolumesource is immutable after creation\n{pod_diff.difference(before, after)}"
        out.append(field.forbidden("spec.persistentvolumesource", words))
    meta.immutable(out, "volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    was = old.spec.node_affinity
    if was is not None and not _same_nodes(new.spec.node_affinity, was):
        words = f"{meta.IMMUTABLE}, except for updating from beta label to GA"
        out.append(field.invalid("nodeAffinity", new.spec.node_affinity, words))
    if old.spec.volume_attributes_class_name is not None and new.spec.volume_attributes_class_name is None:
        words = "update from non-nil value to nil is forbidden"
        out.append(field.forbidden("spec.volumeAttributesClassName", words))


def _same_nodes(new: core_v1.VolumeNodeAffinity | None, old: core_v1.VolumeNodeAffinity) -> bool:
    """Whether the same nodes are meant, if maybe by the newer names of labels."""
    if new == old or new is None or new.required is None or old.required is None:
        return new == old
    ours, theirs = new.required.node_selector_terms, old.required.node_selector_terms
    if len(ours) != len(theirs):
        return False
    for one, other in zip(ours, theirs, strict=True):
        renamed = [
            msgspec.structs.replace(was, key=now.key) if _NEWER_LABELS.get(was.key) == now.key else was
            for was, now in zip(other.match_expressions, one.match_expressions, strict=False)
        ]
        renamed += other.match_expressions[len(renamed) :]
        if one.match_fields != other.match_fields or one.match_expressions != renamed:
            return False
    return True


def volume_status(out: list[Cause], new: core_v1.PersistentVolume, old: core_v1.PersistentVolume) -> None:
    """The phase of a volume."""
    meta.core_updated(out, new.metadata, old.metadata)


# attribute, name in paths, rule; in the order in which upstream looks
_SOURCES: tuple[tuple[str, str, Any], ...] = (
    ("host_path", "hostPath", volume_sources.host_path),
    ("gce_persistent_disk", "persistentDisk", volume_sources.gce_disk),
    ("aws_elastic_block_store", "awsElasticBlockStore", volume_sources.aws_disk),
    ("glusterfs", "glusterfs", volume_sources.persistent_glusterfs),
    ("flocker", "flocker", volume_sources.flocker),
    ("nfs", "nfs", volume_sources.nfs),
    ("rbd", "rbd", volume_sources.rbd),
    ("quobyte", "quobyte", volume_sources.quobyte),
    ("cephfs", "cephfs", volume_sources.cephfs),
    ("iscsi", "iscsi", None),
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
    ("storageos", "storageos", volume_sources.storage_os),
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

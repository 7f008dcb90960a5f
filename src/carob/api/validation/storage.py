"""Rules of the `storage.k8s.io` group. Pure. Source: `pkg/apis/storage/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.api.types import core_v1, storage_v1
from carob.api.validation import field, meta, names, resources, volume_kinds, volume_sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.scalars import Quantity
    from carob.api.validation.field import Cause

MAX_PARAMETERS = 512
MAX_PARAMETER_BYTES = 256 * 1024
TEN_MINUTES = 600
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def storage_class(out: list[Cause], obj: storage_v1.StorageClass) -> None:
    """A StorageClass."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _provisioner(out, "provisioner", obj.provisioner)
    _parameters(out, obj.parameters, may_be_empty=True)
    policy, mode = obj.reclaim_policy, obj.volume_binding_mode
    if policy and policy not in ("Delete", "Retain"):
        out.append(field.not_supported("reclaimPolicy", policy, ("Delete", "Retain")))
    if mode is None:
        out.append(field.required("volumeBindingMode"))
    elif mode not in ("Immediate", "WaitForFirstConsumer"):
        out.append(field.not_supported("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer")))
    _topologies(out, "allowedTopologies", obj.allowed_topologies)


def _provisioner(out: list[Cause], path: str, name: str) -> None:
    if not name:
        out.append(field.required(path))
    else:
        meta.wrong_name(out, path, name.lower(), names.qualified_name(name.lower()))


def _parameters(out: list[Cause], parameters: Mapping[str, str], *, may_be_empty: bool) -> None:
    if not parameters and not may_be_empty:
        out.append(field.required("parameters", "must contain at least one key/value pair"))
    if len(parameters) > MAX_PARAMETERS:
        out.append(field.too_long("parameters", MAX_PARAMETERS))
    if "" in parameters:
        out.append(field.invalid("parameters", "", "field can not be empty."))
    size = sum(len(k.encode("utf-8", "replace")) + len(v.encode("utf-8", "replace")) for k, v in parameters.items())
    if size > MAX_PARAMETER_BYTES:
        out.append(field.too_long("parameters", MAX_PARAMETER_BYTES))


def _topologies(out: list[Cause], path: str, terms: Sequence[core_v1.TopologySelectorTerm]) -> None:
    seen: list[dict[str, set[str]]] = []
    for i, term in enumerate(terms):
        here = f"{path}[{i}].matchLabelExpressions"
        known: dict[str, set[str]] = {}
        for j, expression in enumerate(term.match_label_expressions):
            there = f"{here}[{j}]"
            if not expression.values:
                out.append(field.required(f"{there}.values"))
            again = field.repeated(expression.values)
            for k, value in enumerate(expression.values):
                if again[k]:
                    out.append(field.duplicate(f"{there}.values[{k}]", value))
            meta.wrong_name(out, f"{there}.key", expression.key, names.qualified_name(expression.key))
            if expression.key in known:
                out.append(field.duplicate(f"{there}.key", expression.key))
            known[expression.key] = set(expression.values)
        if known in seen:
            out.append(field.duplicate(here, ""))
        seen.append(known)


def storage_class_update(out: list[Cause], new: storage_v1.StorageClass, old: storage_v1.StorageClass) -> None:
    """A changed StorageClass: how volumes are made stays."""
    storage_class(out, new)
    meta.core_updated(out, new.metadata, old.metadata)
    if new.parameters != old.parameters:
        out.append(field.forbidden("parameters", "updates to parameters are forbidden."))
    meta.immutable(out, "provisioner", new.provisioner, old.provisioner)
    meta.immutable(out, "reclaimPolicy", new.reclaim_policy, old.reclaim_policy)
    meta.immutable(out, "volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)


def csi_driver(out: list[Cause], obj: storage_v1.CSIDriver) -> None:
    """What the cluster must know about a driver."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    spec = obj.spec
    for name, value in (
        ("attachedRequired", spec.attach_required),
        ("podInfoOnMount", spec.pod_info_on_mount),
        ("storageCapacity", spec.storage_capacity),
    ):
        if value is None:
            out.append(field.required(f"spec.{name}"))
    policies = ("File", "None", "ReadWriteOnceWithFSType")
    if spec.fs_group_policy is None:
        out.append(field.required("spec.fsGroupPolicy"))
    elif spec.fs_group_policy not in policies:
        out.append(field.not_supported("spec.fsGroupPolicy", spec.fs_group_policy, policies))
    _driver_tokens(out, spec)
    for mode in spec.volume_lifecycle_modes:
        if mode not in ("Persistent", "Ephemeral"):
            out.append(field.not_supported("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral")))
    if spec.se_linux_mount is None:
        out.append(field.required("spec.seLinuxMount"))
    _update_period(out, spec)


def _driver_tokens(out: list[Cause], spec: storage_v1.CSIDriverSpec) -> None:
    seen: set[str] = set()
    for i, request in enumerate(spec.token_requests):
        here = f"spec.tokenRequests[{i}]"
        if request.audience in seen:
            out.append(field.duplicate(f"{here}.audience", request.audience))
            continue
        seen.add(request.audience)
        seconds = request.expiration_seconds
        if seconds is not None and seconds < TEN_MINUTES:
            words = "may not specify a duration less than 10 minutes"
            out.append(field.invalid(f"{here}.expirationSeconds", seconds, words))
        if seconds is not None and seconds > 1 << 32:
            words = "may not specify a duration larger than 2^32 seconds"
            out.append(field.invalid(f"{here}.expirationSeconds", seconds, words))


def _update_period(out: list[Cause], spec: storage_v1.CSIDriverSpec) -> None:
    seconds = spec.node_allocatable_update_period_seconds
    if seconds is not None and seconds < 10:
        words = "must be greater than or equal to 10 seconds"
        out.append(field.invalid("spec.nodeAllocatableUpdatePeriodSeconds", seconds, words))


def csi_driver_update(out: list[Cause], new: storage_v1.CSIDriver, old: storage_v1.CSIDriver) -> None:
    """A changed driver: how its volumes are attached stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec.attachedRequired", new.spec.attach_required, old.spec.attach_required)
    modes, were = new.spec.volume_lifecycle_modes, old.spec.volume_lifecycle_modes
    meta.immutable(out, "spec.volumeLifecycleModes", modes, were)
    _driver_tokens(out, new.spec)
    _update_period(out, new.spec)


def csi_node(out: list[Cause], obj: storage_v1.CSINode) -> None:
    """The drivers of a node."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    seen: set[str] = set()
    for i, driver in enumerate(obj.spec.drivers or ()):
        here = f"spec.drivers[{i}]"
        volume_sources.csi_driver_name(out, f"{here}.name", driver.name)
        if not driver.node_id:
            out.append(field.required(f"{here}.nodeID"))
        if len(driver.node_id) > 256:
            out.append(field.invalid(f"{here}.nodeID", driver.node_id, "must be 256 characters or less"))
        if driver.allocatable is not None and (driver.allocatable.count or 0) < 0:
            count = driver.allocatable.count or 0
            meta.non_negative(out, f"{here}.allocatable.count", count)
        if driver.name in seen:
            out.append(field.duplicate(f"{here}.name", driver.name))
        seen.add(driver.name)
        again = field.repeated(driver.topology_keys)
        for j, key in enumerate(driver.topology_keys):
            if again[j]:
                out.append(field.duplicate(f"{here}.topologyKeys", key))
            meta.wrong_name(out, f"{here}.topologyKeys", key, names.qualified_name(key))


def csi_node_update(out: list[Cause], new: storage_v1.CSINode, old: storage_v1.CSINode) -> None:
    """Drivers come and go; one that stays does not change."""
    csi_node(out, new)
    known = {driver.name: driver for driver in old.spec.drivers or ()}
    for i, driver in enumerate(new.spec.drivers or ()):
        was = known.get(driver.name)
        if was is not None and (was.node_id, was.topology_keys) != (driver.node_id, driver.topology_keys):
            out.append(field.invalid(f"spec.drivers[{i}]", driver, meta.IMMUTABLE))


def attachment(out: list[Cause], obj: storage_v1.VolumeAttachment) -> None:
    """A volume on a node."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    spec = obj.spec
    if not spec.attacher:
        out.append(field.required("spec.attacher"))
    name, inline = spec.source.persistent_volume_name, spec.source.inline_volume_spec
    if name is None and inline is None:
        out.append(field.required("spec.source", _ONE_SOURCE))
    elif name is not None and inline is not None:
        out.append(field.forbidden("spec.source", _ONE_SOURCE))
    elif name == "":
        words = "must specify non empty persistentVolumeName"
        out.append(field.required("spec.source.persistentVolumeName", words))
    elif inline is not None:
        volume_kinds.inline_volume(out, "spec.source.inlineVolumeSpec", inline)
    meta.wrong_name(out, "spec.nodeName", spec.node_name, names.dns_subdomain(spec.node_name))
    _attachment_status(out, obj)
    if spec.attacher:
        volume_sources.csi_driver_name(out, "spec.attacher", spec.attacher)
    if name:
        meta.wrong_name(out, "spec.source.persistentVolumeName", name, names.dns_subdomain(name))


def _attachment_status(out: list[Cause], obj: storage_v1.VolumeAttachment) -> None:
    for name, error in (("attachError", obj.status.attach_error), ("detachError", obj.status.detach_error)):
        if error is not None and len(error.message.encode("utf-8", "replace")) > 1024:
            out.append(field.too_long(f"status.{name}.message", 1024))


def attachment_update(out: list[Cause], new: storage_v1.VolumeAttachment, old: storage_v1.VolumeAttachment) -> None:
    """What is attached where stays."""
    attachment(out, new)
    meta.immutable(out, "spec", new.spec, old.spec)


def attributes_class(out: list[Cause], obj: storage_v1.VolumeAttributesClass) -> None:
    """A VolumeAttributesClass."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _provisioner(out, "driverName", obj.driver_name)
    _parameters(out, obj.parameters, may_be_empty=False)


def attributes_class_update(
    out: list[Cause], new: storage_v1.VolumeAttributesClass, old: storage_v1.VolumeAttributesClass
) -> None:
    """Driver and parameters stay."""
    meta.core_updated(out, new.metadata, old.metadata)
    if new.driver_name != old.driver_name:
        out.append(field.forbidden("driverName", "updates to driverName are forbidden."))
    if new.parameters != old.parameters:
        out.append(field.forbidden("parameters", "updates to parameters are forbidden."))


def storage_capacity(out: list[Cause], obj: storage_v1.CSIStorageCapacity) -> None:
    """How much a driver has left."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    meta.label_selector(out, "nodeTopology", obj.node_topology)
    wrong = names.dns_subdomain(obj.storage_class_name)
    meta.wrong_name(out, "storageClassName", obj.storage_class_name, wrong)
    _amount(out, "capacity", obj.capacity)
    _amount(out, "maximumVolumeSize", obj.maximum_volume_size)


def _amount(out: list[Cause], path: str, amount: Quantity | None) -> None:
    if amount is not None and quantity.nano(amount) < 0:
        out.append(field.invalid(path, str(amount), resources.NOT_NEGATIVE))


def storage_capacity_update(
    out: list[Cause], new: storage_v1.CSIStorageCapacity, old: storage_v1.CSIStorageCapacity
) -> None:
    """Where the storage is stays."""
    storage_capacity(out, new)
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "nodeTopology", new.node_topology, old.node_topology)
    meta.immutable(out, "storageClassName", new.storage_class_name, old.storage_class_name)


CREATE: dict[type[Any], Any] = {
    storage_v1.StorageClass: storage_class,
    storage_v1.CSIDriver: csi_driver,
    storage_v1.CSINode: csi_node,
    storage_v1.VolumeAttachment: attachment,
    storage_v1.VolumeAttributesClass: attributes_class,
    storage_v1.CSIStorageCapacity: storage_capacity,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (storage_v1.StorageClass, ""): storage_class_update,
    (storage_v1.CSIDriver, ""): csi_driver_update,
    (storage_v1.CSINode, ""): csi_node_update,
    (storage_v1.VolumeAttachment, ""): attachment_update,
    (storage_v1.VolumeAttributesClass, ""): attributes_class_update,
    (storage_v1.CSIStorageCapacity, ""): storage_capacity_update,
}

"""Rules of PersistentVolumeClaims, alone or inside other kinds. Pure. Source: `pkg/apis/core/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def access_modes(out: list[Cause], path: str, modes: list[str]) -> None:
    """How many nodes may use a volume at once."""
    for mode in modes:
        if mode not in ACCESS_MODES:
            out.append(field.not_supported(path, mode, ACCESS_MODES))
    others = [m for m in modes if m in ACCESS_MODES and m != "ReadWriteOncePod"]
    if "ReadWriteOncePod" in modes and others:
        out.append(field.forbidden(path, "may not use ReadWriteOncePod with other access modes"))


def spec(out: list[Cause], path: str, claim: core_v1.PersistentVolumeClaimSpec) -> None:
    """What a claim asks for."""
    if not claim.access_modes:
        out.append(field.required(f"{path}.accessModes", "at least 1 access mode is required"))
    if claim.selector is not None:
        meta.label_selector(out, f"{path}.selector", claim.selector)
    access_modes(out, f"{path}.accessModes", claim.access_modes)
    storage = claim.resources.requests.get("storage")
    if storage is None:
        out.append(field.required(f"{path}.resources[storage]"))
    else:
        if quantity.nano(storage) <= 0:
            out.append(field.invalid(f"{path}.resources[storage]", str(storage), "must be greater than zero"))
    if claim.storage_class_name:
        for why in names.dns_subdomain(claim.storage_class_name):
            out.append(field.invalid(f"{path}.storageClassName", claim.storage_class_name, why))
    if claim.volume_mode is not None and claim.volume_mode not in VOLUME_MODES:
        out.append(field.not_supported(f"{path}.volumeMode", claim.volume_mode, VOLUME_MODES))
    _data_source(out, path, claim)
    if claim.volume_attributes_class_name:
        for why in names.dns_subdomain(claim.volume_attributes_class_name):
            here = f"{path}.volumeAttributesClassName"
            out.append(field.invalid(here, claim.volume_attributes_class_name, why))


def _data_source(out: list[Cause], path: str, claim: core_v1.PersistentVolumeClaimSpec) -> None:
    for name, source in (("dataSource", claim.data_source), ("dataSourceRef", claim.data_source_ref)):
        if source is None:
            continue
        here = f"{path}.{name}"
        if not source.name:
            out.append(field.required(f"{here}.name"))
        if not source.kind:
            out.append(field.required(f"{here}.kind"))
        group = source.api_group or ""
        if not group and source.kind != "PersistentVolumeClaim":
            words = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            out.append(field.invalid(here, source.kind, words))
        elif group:
            meta.wrong_name(out, f"{here}.apiGroup", group, names.dns_subdomain(group))
    one, other = claim.data_source, claim.data_source_ref
    if other is not None and other.namespace:
        meta.wrong_name(out, f"{path}.dataSourceRef.namespace", other.namespace, names.dns_label(other.namespace))
        if one is not None:
            words = "may not be specified when dataSourceRef.namespace is specified"
            out.append(field.raw_invalid(path, "{}", words))
    elif one is not None and other is not None and _reference(one) != _reference(other):
        out.append(field.raw_invalid(path, "{}", "must match dataSourceRef"))


def _reference(
    source: core_v1.TypedLocalObjectReference | core_v1.TypedObjectReference,
) -> tuple[str | None, str, str]:
    return source.api_group, source.kind, source.name

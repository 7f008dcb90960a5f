"""Rules of claims of devices, and of their classes. Pure. Source: `pkg/apis/resource/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import device_selectors
from carob.api.types import resource_v1
from carob.api.validation import conditions, devices, field, meta, names, resources, scheduling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

MAX_REQUESTS = MAX_CONSTRAINTS = MAX_CONFIGS = MAX_SELECTORS = 32
MAX_ALTERNATIVES = 8
_MODES = ("All", "ExactCount")
_NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
MAX_RESULTS = 32
MAX_CONSUMERS = 256
MAX_STATUS_CONDITIONS = 8
MAX_ADDRESSES = 16


def claim(out: list[Cause], obj: resource_v1.ResourceClaim) -> None:
    """A claim of devices."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    wishes(out, "spec.devices", obj.spec.devices)


def template(out: list[Cause], obj: resource_v1.ResourceClaimTemplate) -> None:
    """What claims are made of."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    meta.of_template(out, "spec.metadata", obj.spec.metadata)
    wishes(out, "spec.spec.devices", obj.spec.spec.devices)


def wishes(out: list[Cause], path: str, wanted: resource_v1.DeviceClaim) -> None:
    """The devices that a claim asks for."""
    requests = wanted.requests or []
    known = _known(wanted)
    if devices.fits(out, f"{path}.requests", requests, MAX_REQUESTS):
        for i, request in enumerate(requests):
            _request(out, f"{path}.requests[{i}]", request)
        devices.once(out, f"{path}.requests", [request.name for request in requests])
    if devices.fits(out, f"{path}.constraints", wanted.constraints, MAX_CONSTRAINTS):
        for i, constraint in enumerate(wanted.constraints):
            _constraint(out, f"{path}.constraints[{i}]", constraint, known)
    if devices.fits(out, f"{path}.config", wanted.config, MAX_CONFIGS):
        for i, config in enumerate(wanted.config):
            here = f"{path}.config[{i}]"
            _references(out, f"{here}.requests", config.requests, known)
            devices.opaque(out, here, config.opaque)


def _known(wanted: resource_v1.DeviceClaim) -> set[str]:
    """What can be referred to: requests, and their alternatives behind a slash."""
    requests = wanted.requests or []
    known = {request.name for request in requests}
    return known | {f"{request.name}/{sub.name}" for request in requests for sub in request.first_available}


def _constraint(out: list[Cause], path: str, constraint: resource_v1.DeviceConstraint, known: set[str]) -> None:
    _references(out, f"{path}.requests", constraint.requests, known)
    if constraint.match_attribute is not None:
        devices.qualified_name(out, f"{path}.matchAttribute", constraint.match_attribute, fully=True)
    elif constraint.distinct_attribute is not None:
        devices.qualified_name(out, f"{path}.distinctAttribute", constraint.distinct_attribute, fully=True)
    else:
        words = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        out.append(field.required(path, words))


def _references(out: list[Cause], path: str, requests: Sequence[str], known: set[str]) -> None:
    if not devices.fits(out, path, requests, MAX_REQUESTS):
        return
    for i, name in enumerate(requests):
        _reference(out, f"{path}[{i}]", name, known)
    devices.once(out, path, requests)


def _reference(out: list[Cause], path: str, name: str, known: set[str]) -> None:
    parts = name.split("/")
    if len(parts) < 3:
        for part in parts:
            meta.wrong_name(out, path, part, names.dns_label(part))
    if name not in known:
        out.append(field.invalid(path, name, _NO_REQUEST))


def _request(out: list[Cause], path: str, request: resource_v1.DeviceRequest) -> None:
    meta.wrong_name(out, f"{path}.name", request.name, names.dns_label(request.name))
    one_of = "exactly one of `exactly` or `firstAvailable` is required"
    if request.exactly is None and not request.first_available:
        out.append(field.required(path, one_of))
    elif request.exactly is not None and request.first_available:
        out.append(field.raw_invalid(path, "null", f"{one_of}, but multiple fields are set"))
    elif request.exactly is not None:
        _wish(out, f"{path}.exactly", request.exactly)
    elif devices.fits(out, f"{path}.firstAvailable", request.first_available, MAX_ALTERNATIVES):
        for i, alternative in enumerate(request.first_available):
            here = f"{path}.firstAvailable[{i}]"
            meta.wrong_name(out, f"{here}.name", alternative.name, names.dns_label(alternative.name))
            _wish(out, here, alternative)
        devices.once(out, f"{path}.firstAvailable", [one.name for one in request.first_available])


def _wish(out: list[Cause], path: str, wish: resource_v1.ExactDeviceRequest | resource_v1.DeviceSubRequest) -> None:
    if not wish.device_class_name:
        out.append(field.required(f"{path}.deviceClassName"))
    else:
        wrong = names.dns_subdomain(wish.device_class_name)
        meta.wrong_name(out, f"{path}.deviceClassName", wish.device_class_name, wrong)
    _selectors(out, f"{path}.selectors", wish.selectors)
    mode, count = wish.allocation_mode, wish.count
    if mode == "All":
        if count:
            words = "must not be specified when allocationMode is 'All'"
            out.append(field.invalid(f"{path}.count", count, words))
    elif mode == "ExactCount":
        if count <= 0:
            out.append(field.invalid(f"{path}.count", count, scheduling.NOT_POSITIVE))
    else:
        out.append(field.not_supported(f"{path}.allocationMode", mode, _MODES))
    devices.tolerations(out, f"{path}.tolerations", wish.tolerations)


def _selectors(
    out: list[Cause], path: str, selectors: Sequence[resource_v1.DeviceSelector], *, stored: bool = False
) -> None:
    if not devices.fits(out, path, selectors, MAX_SELECTORS):
        return
    for i, selector in enumerate(selectors):
        if selector.cel is None:
            out.append(field.required(f"{path}[{i}].cel"))
        elif not stored:
            _expression(out, f"{path}[{i}].cel.expression", selector.cel.expression)


def _expression(out: list[Cause], path: str, expression: str) -> None:
    if not expression.strip():
        out.append(field.required(path))
    elif len(expression.encode()) > device_selectors.MAX_LENGTH:
        out.append(field.too_long(path, device_selectors.MAX_LENGTH))
    else:
        try:
            device_selectors.selector(expression)
        except device_selectors.SelectorError as error:
            out.append(field.invalid(path, expression, str(error)))


def claim_update(out: list[Cause], new: resource_v1.ResourceClaim, old: resource_v1.ResourceClaim) -> None:
    """What a claim asks for stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec", new.spec, old.spec)


def claim_status(out: list[Cause], new: resource_v1.ResourceClaim, old: resource_v1.ResourceClaim) -> None:
    """What a claim got: an allocation is made whole, and ends only when nobody uses it."""
    meta.core_updated(out, new.metadata, old.metadata)
    ours, theirs = new.status, old.status
    if devices.fits(out, "status.reservedFor", ours.reserved_for, MAX_CONSUMERS):
        for i, consumer in enumerate(ours.reserved_for):
            for name, value in (("resource", consumer.resource), ("name", consumer.name), ("uid", consumer.uid)):
                if not value:
                    out.append(field.required(f"status.reservedFor[{i}].{name}"))
        devices.once(out, "status.reservedFor", [consumer.uid for consumer in ours.reserved_for])
    _reports(out, ours)
    if ours.reserved_for and ours.allocation is None:
        words = "may not be specified when `allocated` is not set"
        out.append(field.forbidden("status.reservedFor", words))
    more = any(consumer not in theirs.reserved_for for consumer in ours.reserved_for)
    if ours.allocation is not None and more and new.metadata.deletion_timestamp is not None:
        words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        out.append(field.forbidden("status.reservedFor", words))
    if ours.allocation is not None and theirs.allocation is not None:
        meta.immutable(out, "status.allocation", ours.allocation, theirs.allocation)
    elif ours.allocation is not None:
        _allocation(out, "status.allocation", ours.allocation, _known(new.spec.devices))


def _key(one: resource_v1.AllocatedDeviceStatus | resource_v1.DeviceRequestAllocationResult) -> str:
    whole = f"{one.driver}/{one.pool}/{one.device}"
    return f"{whole}/{one.share_id}" if one.share_id else whole


def _reports(out: list[Cause], status: resource_v1.ResourceClaimStatus) -> None:
    """What drivers say of the devices that were given."""
    given = {_key(one) for one in status.allocation.devices.results} if status.allocation is not None else set()
    for i, device in enumerate(status.devices):
        here = f"status.devices[{i}]"
        _device(out, here, device)
        if _key(device) not in given:
            out.append(field.raw_invalid(here, _key(device), "must be an allocated device in the claim"))
        devices.fits(out, f"{here}.conditions", device.conditions, MAX_STATUS_CONDITIONS)
        conditions.check(out, f"{here}.conditions", device.conditions)
        if device.data is not None:
            devices.parameters(out, f"{here}.data", device.data)
        if device.network_data is not None:
            _network(out, f"{here}.networkData", device.network_data)
    keys = [_key(device) for device in status.devices]
    for i, repeated in enumerate(field.repeated(keys)):
        if repeated:
            out.append(field.raw_duplicate(f"status.devices[{i}]", keys[i]))


def _device(
    out: list[Cause],
    path: str,
    one: resource_v1.AllocatedDeviceStatus | resource_v1.DeviceRequestAllocationResult,
) -> None:
    devices.driver(out, f"{path}.driver", one.driver)
    devices.pool(out, f"{path}.pool", one.pool)
    meta.wrong_name(out, f"{path}.device", one.device, names.dns_label(one.device))
    if one.share_id is not None:
        devices.uid(out, f"{path}.shareID", one.share_id)


def _network(out: list[Cause], path: str, found: resource_v1.NetworkDeviceData) -> None:
    for name, value, limit in (
        ("interfaceName", found.interface_name, 256),
        ("hardwareAddress", found.hardware_address, 128),
    ):
        if len(value.encode("utf-8", "replace")) > limit:
            out.append(field.too_long(f"{path}.{name}", limit))
    if not devices.fits(out, f"{path}.ips", found.ips, MAX_ADDRESSES):
        return
    for i, text in enumerate(found.ips):
        here, parsed = f"{path}.ips[{i}]", names.parse_cidr(text)
        if parsed is None:
            words = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
            out.append(field.invalid(here, text, words))
        elif str(parsed) != text:
            out.append(field.invalid(here, text, f"must be in canonical form ({field.quoted(str(parsed))})"))
    devices.once(out, f"{path}.ips", found.ips)


def _allocation(out: list[Cause], path: str, found: resource_v1.AllocationResult, known: set[str]) -> None:
    """What was given; looked at once, when it is given."""
    here = f"{path}.devices.results"
    if devices.fits(out, here, found.devices.results, MAX_RESULTS):
        for i, result in enumerate(found.devices.results):
            there = f"{here}[{i}]"
            _reference(out, f"{there}.request", result.request, known)
            _device(out, there, result)
            devices.binding_conditions(out, there, result.binding_conditions, result.binding_failure_conditions)
            devices.tolerations(out, f"{there}.tolerations", result.tolerations)
    here = f"{path}.devices.config"
    if devices.fits(out, here, found.devices.config, 2 * MAX_CONFIGS):
        for i, config in enumerate(found.devices.config):
            there, source = f"{here}[{i}]", config.source
            if source not in ("FromClaim", "FromClass"):
                supported = ("FromClaim", "FromClass")
                missing = field.required(f"{there}.source")
                out.append(field.not_supported(f"{there}.source", source, supported) if source else missing)
            _references(out, f"{there}.requests", config.requests, known)
            devices.opaque(out, there, config.opaque)
    if found.node_selector is not None:
        scheduling.node_selector(out, f"{path}.nodeSelector", found.node_selector)


def template_update(
    out: list[Cause], new: resource_v1.ResourceClaimTemplate, old: resource_v1.ResourceClaimTemplate
) -> None:
    """What claims are made of stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec", new.spec, old.spec)


def device_class(out: list[Cause], obj: resource_v1.DeviceClass) -> None:
    """A class of devices."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _class_spec(out, obj.spec, None)


def _class_spec(out: list[Cause], spec: resource_v1.DeviceClassSpec, old: resource_v1.DeviceClassSpec | None) -> None:
    """What was there before, and has not changed, was right once: it is not looked at again."""
    _selectors(out, "spec.selectors", spec.selectors, stored=old is not None and old.selectors == spec.selectors)
    if devices.fits(out, "spec.config", spec.config, MAX_CONFIGS):
        stored = old is not None and old.config == spec.config
        for i, config in enumerate(spec.config):
            devices.opaque(out, f"spec.config[{i}]", config.opaque, stored=stored)
    name = spec.extended_resource_name
    if name is not None and not resources.is_extended(name):
        out.append(field.invalid("spec.extendedResourceName", name, "must be a valid extended resource name"))


def _device_class_update(out: list[Cause], new: resource_v1.DeviceClass, old: resource_v1.DeviceClass) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    meta.core(out, new.metadata, False, names.dns_subdomain)
    _class_spec(out, new.spec, old.spec)


CREATE: dict[type[Any], Any] = {
    resource_v1.ResourceClaim: claim,
    resource_v1.ResourceClaimTemplate: template,
    resource_v1.DeviceClass: device_class,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (resource_v1.ResourceClaim, ""): claim_update,
    (resource_v1.ResourceClaim, "status"): claim_status,
    (resource_v1.ResourceClaimTemplate, ""): template_update,
    (resource_v1.DeviceClass, ""): _device_class_update,
}

"""Rules of the `resource.k8s.io` group: claims of devices, their classes, and what drivers offer.

Pure. Source: `pkg/apis/resource/validation`. Differs: of the newest fields (counters, sharing, taints of devices) only the
shape is checked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.api import codec, device_selectors
from carob.api.types import resource_v1
from carob.api.validation import field, meta, names, scheduling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

MAX_REQUESTS = MAX_CONSTRAINTS = MAX_CONFIGS = MAX_SELECTORS = 32
MAX_ALTERNATIVES = 8
MAX_DEVICES = 128
MAX_ATTRIBUTES = 32
_MODES = ("All", "ExactCount")
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII)
_NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_PLACES = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"


def claim(out: list[Cause], obj: resource_v1.ResourceClaim) -> None:
    """A claim of devices."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    devices(out, "spec.devices", obj.spec.devices)


def template(out: list[Cause], obj: resource_v1.ResourceClaimTemplate) -> None:
    """What claims are made of."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    meta.labels(out, "spec.metadata.labels", obj.spec.metadata.labels)
    meta.annotation_map(out, "spec.metadata.annotations", obj.spec.metadata.annotations)
    devices(out, "spec.spec.devices", obj.spec.spec.devices)


def devices(out: list[Cause], path: str, wanted: resource_v1.DeviceClaim) -> None:
    """The devices that a claim asks for."""
    requests = wanted.requests or []
    _limited(out, f"{path}.requests", requests, MAX_REQUESTS)
    known: set[str] = set()
    for i, request in enumerate(requests):
        here = f"{path}.requests[{i}]"
        _request(out, here, request)
        if request.name in known:
            out.append(field.duplicate(here, request.name))
        known.add(request.name)
    known |= {f"{r.name}/{sub.name}" for r in requests for sub in r.first_available}
    _limited(out, f"{path}.constraints", wanted.constraints, MAX_CONSTRAINTS)
    for i, constraint in enumerate(wanted.constraints):
        here = f"{path}.constraints[{i}]"
        _references(out, f"{here}.requests", constraint.requests, known)
        if constraint.match_attribute is None and constraint.distinct_attribute is None:
            out.append(field.required(f"{here}.matchAttribute"))
        elif constraint.match_attribute is not None:
            _attribute_name(out, f"{here}.matchAttribute", constraint.match_attribute, qualified=True)
    _limited(out, f"{path}.config", wanted.config, MAX_CONFIGS)
    for i, config in enumerate(wanted.config):
        here = f"{path}.config[{i}]"
        _references(out, f"{here}.requests", config.requests, known)
        _opaque(out, here, config.opaque)


def _limited(out: list[Cause], path: str, values: Sequence[Any], limit: int) -> None:
    if len(values) > limit:
        out.append(field.too_many(path, len(values), limit))


def _references(out: list[Cause], path: str, requests: Sequence[str], known: set[str]) -> None:
    again = field.repeated(requests)
    for i, name in enumerate(requests):
        if name not in known:
            out.append(field.invalid(f"{path}[{i}]", name, _NO_REQUEST))
        if again[i]:
            out.append(field.duplicate(f"{path}[{i}]", name))


def _request(out: list[Cause], path: str, request: resource_v1.DeviceRequest) -> None:
    meta.wrong_name(out, f"{path}.name", request.name, names.dns_label(request.name))
    one_of = "exactly one of `exactly` or `firstAvailable` is required"
    if request.exactly is None and not request.first_available:
        out.append(field.required(path, one_of))
    elif request.exactly is not None and request.first_available:
        out.append(field.raw_invalid(path, "null", f"{one_of}, but multiple fields are set"))
    if request.exactly is not None:
        _wish(out, f"{path}.exactly", request.exactly)
    _limited(out, f"{path}.firstAvailable", request.first_available, MAX_ALTERNATIVES)
    seen: set[str] = set()
    for i, alternative in enumerate(request.first_available):
        here = f"{path}.firstAvailable[{i}]"
        meta.wrong_name(out, f"{here}.name", alternative.name, names.dns_label(alternative.name))
        _wish(out, here, alternative)
        if alternative.name in seen:
            out.append(field.duplicate(here, alternative.name))
        seen.add(alternative.name)


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


def _selectors(out: list[Cause], path: str, selectors: Sequence[resource_v1.DeviceSelector]) -> None:
    _limited(out, path, selectors, MAX_SELECTORS)
    for i, selector in enumerate(selectors):
        if selector.cel is None:
            out.append(field.required(f"{path}[{i}].cel"))
        else:
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


def _opaque(out: list[Cause], path: str, opaque: resource_v1.OpaqueDeviceConfiguration | None) -> None:
    if opaque is None:
        out.append(field.required(f"{path}.opaque"))
        return
    _driver(out, f"{path}.opaque.driver", opaque.driver)
    if opaque.parameters is None:
        out.append(field.required(f"{path}.opaque.parameters"))


def _driver(out: list[Cause], path: str, name: str) -> None:
    if not name:
        out.append(field.required(path))
    if len(name) > 63:
        out.append(field.too_long(path, 63))
    meta.wrong_name(out, path, name, names.dns_subdomain(name))


def claim_update(out: list[Cause], new: resource_v1.ResourceClaim, old: resource_v1.ResourceClaim) -> None:
    """What a claim asks for stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec", new.spec, old.spec)


def claim_status(out: list[Cause], new: resource_v1.ResourceClaim, old: resource_v1.ResourceClaim) -> None:
    """What a claim got: an allocation is made whole, and ends only when nobody uses it."""
    meta.core_updated(out, new.metadata, old.metadata)
    ours, theirs = new.status, old.status
    if ours.allocation is None and ours.reserved_for:
        words = "may not be specified when `allocated` is not set"
        out.append(field.forbidden("status.reservedFor", words))
    _limited(out, "status.reservedFor", ours.reserved_for, 256)
    if ours.allocation is not None and theirs.allocation is not None:
        meta.immutable(out, "status.allocation", ours.allocation, theirs.allocation)


def template_update(
    out: list[Cause], new: resource_v1.ResourceClaimTemplate, old: resource_v1.ResourceClaimTemplate
) -> None:
    """What claims are made of stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec", new.spec, old.spec)


def device_class(out: list[Cause], obj: resource_v1.DeviceClass) -> None:
    """A class of devices."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _selectors(out, "spec.selectors", obj.spec.selectors)
    _limited(out, "spec.config", obj.spec.config, MAX_CONFIGS)
    for i, config in enumerate(obj.spec.config):
        _opaque(out, f"spec.config[{i}]", config.opaque)


def _device_class_update(out: list[Cause], new: resource_v1.DeviceClass, old: resource_v1.DeviceClass) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    device_class(out, new)


def offer(out: list[Cause], obj: resource_v1.ResourceSlice) -> None:
    """Devices that a driver offers."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _offer_spec(out, obj.spec)


def _offer_spec(out: list[Cause], spec: resource_v1.ResourceSliceSpec) -> None:
    _driver(out, "spec.driver", spec.driver)
    _pool(out, "spec.pool", spec.pool)
    places = [spec.node_name, spec.node_selector, spec.all_nodes, spec.per_device_node_selection]
    given = sum(place is not None for place in places)
    if not given:
        out.append(field.required("spec", _PLACES))
    elif given > 1:
        out.append(field.raw_invalid("spec", "null", f"{_PLACES}, but multiple fields are set"))
    if spec.node_name is not None:
        if not spec.node_name:
            words = "must be either unset or set to a non-empty string"
            out.append(field.invalid("spec.nodeName", spec.node_name, words))
        else:
            meta.wrong_name(out, "spec.nodeName", spec.node_name, names.dns_subdomain(spec.node_name))
    _place(out, "spec.nodeSelector", spec.node_selector)
    _limited(out, "spec.devices", spec.devices, MAX_DEVICES)
    seen: set[str] = set()
    for i, device in enumerate(spec.devices):
        here = f"spec.devices[{i}]"
        meta.wrong_name(out, f"{here}.name", device.name, names.dns_label(device.name))
        _attributes(out, here, device)
        _place(out, f"{here}.nodeSelector", device.node_selector)
        if device.name in seen:
            out.append(field.duplicate(f"{here}.name", device.name))
        seen.add(device.name)


def _place(out: list[Cause], path: str, chosen: core_v1.NodeSelector | None) -> None:
    """One term only: so the places of several devices can be put together."""
    if chosen is None:
        return
    scheduling.node_selector(out, path, chosen)
    terms = chosen.node_selector_terms
    if len(terms) != 1:
        words = "must have exactly one node selector term"
        out.append(field.invalid(f"{path}.nodeSelectorTerms", codec.to_tree(terms), words))


def _pool(out: list[Cause], path: str, pool: resource_v1.ResourcePool) -> None:
    if not pool.name:
        out.append(field.required(f"{path}.name"))
    else:
        for part in pool.name.split("/"):
            meta.wrong_name(out, f"{path}.name", part, names.dns_subdomain(part))
    if pool.resource_slice_count <= 0:
        words = scheduling.NOT_POSITIVE
        out.append(field.invalid(f"{path}.resourceSliceCount", pool.resource_slice_count, words))
    meta.non_negative(out, f"{path}.generation", pool.generation)


def _attributes(out: list[Cause], path: str, device: resource_v1.Device) -> None:
    count = len(device.attributes) + len(device.capacity)
    if count > MAX_ATTRIBUTES:
        words = f"the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES}"
        out.append(field.invalid(path, count, words))
    for key, value in device.attributes.items():
        here = f"{path}.attributes[{key}]"
        _attribute_name(out, here, key)
        values = (value.int_, value.bool_, value.string, value.version)
        lists = (value.ints, value.bools, value.strings, value.versions)
        given = sum(v is not None for v in values) + sum(bool(v) for v in lists)
        if given != 1:
            out.append(field.invalid(here, "", "exactly one value must be specified"))
        if value.string is not None and len(value.string) > 64:
            out.append(field.too_long(f"{here}.string", 64))
        if value.version is not None and not _SEMVER.fullmatch(value.version):
            words = "must be a string compatible with semver.org spec 2.0.0"
            out.append(field.invalid(f"{here}.version", value.version, words))
    for key in device.capacity:
        _attribute_name(out, f"{path}.capacity[{key}]", key)


def _attribute_name(out: list[Cause], path: str, name: str, *, qualified: bool = False) -> None:
    if not name:
        out.append(field.required(path))
        return
    domain, slash, identifier = name.rpartition("/")
    if not slash:
        if qualified:
            out.append(field.invalid(path, name, "must include a domain"))
    elif not domain:
        out.append(field.required(path, "the domain must not be empty"))
    else:
        meta.wrong_name(out, path, domain, names.dns_subdomain(domain))
    if slash and not identifier:
        out.append(field.required(path, "the name must not be empty"))
    elif identifier:
        if len(identifier) > 32:
            out.append(field.too_long(path, 32))
        meta.wrong_name(out, path, identifier, names.c_identifier(identifier))


def _offer_update(out: list[Cause], new: resource_v1.ResourceSlice, old: resource_v1.ResourceSlice) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    _offer_spec(out, new.spec)
    meta.immutable(out, "spec.nodeName", new.spec.node_name, old.spec.node_name)
    meta.immutable(out, "spec.driver", new.spec.driver, old.spec.driver)
    meta.immutable(out, "spec.pool.name", new.spec.pool.name, old.spec.pool.name)


CREATE: dict[type[Any], Any] = {
    resource_v1.ResourceClaim: claim,
    resource_v1.ResourceClaimTemplate: template,
    resource_v1.DeviceClass: device_class,
    resource_v1.ResourceSlice: offer,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (resource_v1.ResourceClaim, ""): claim_update,
    (resource_v1.ResourceClaim, "status"): claim_status,
    (resource_v1.ResourceClaimTemplate, ""): template_update,
    (resource_v1.DeviceClass, ""): _device_class_update,
    (resource_v1.ResourceSlice, ""): _offer_update,
}

"""Rules of ResourceSlices: devices that drivers offer. Pure. Source: `pkg/apis/resource/validation`."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from carob.api import codec, quantity
from carob.api.types import resource_v1
from carob.api.validation import devices, field, meta, names, scheduling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.scalars import Quantity
    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

MAX_DEVICES, MAX_ADVANCED_DEVICES = 128, 64
MAX_ATTRIBUTES = 32
MAX_VALUE_BYTES = 64
MAX_KEY = 63 + 1 + devices.MAX_IDENTIFIER
MAX_TAINTS = 16
MAX_COUNTER_SETS, MAX_COUNTERS, MAX_CONSUMPTIONS = 8, 32, 2
MAX_VALID_VALUES = 10
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
_PLACES = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_OWN_PLACE = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)
_NO_OWN_PLACE = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the "
    "ResourceSlice spec"
)
_ONE_VALUE = "exactly one value must be specified"


def offer(out: list[Cause], obj: resource_v1.ResourceSlice) -> None:
    """Devices that a driver offers."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _spec(out, obj.spec, None)


def offer_update(out: list[Cause], new: resource_v1.ResourceSlice, old: resource_v1.ResourceSlice) -> None:
    """A changed offer: whose it is, and from which node, stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    _spec(out, new.spec, old.spec)


def _spec(out: list[Cause], spec: resource_v1.ResourceSliceSpec, old: resource_v1.ResourceSliceSpec | None) -> None:
    devices.driver(out, "spec.driver", spec.driver)
    _pool(out, "spec.pool", spec.pool)
    if old is not None:
        meta.immutable(out, "spec.pool.name", spec.pool.name, old.pool.name)
        meta.immutable(out, "spec.driver", spec.driver, old.driver)
        meta.immutable(out, "spec.nodeName", spec.node_name, old.node_name)
    _places(out, spec)
    if spec.shared_counters and spec.devices:
        out.append(field.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    advanced = any(one.taints or one.consumes_counters or _lists(one) for one in spec.devices)
    if devices.fits(out, "spec.devices", spec.devices, MAX_ADVANCED_DEVICES if advanced else MAX_DEVICES):
        known = {one.name: one for one in old.devices} if old is not None else {}
        for i, device in enumerate(spec.devices):
            here = f"spec.devices[{i}]"
            _device(out, here, device, known.get(device.name), own_place=bool(spec.per_device_node_selection))
        devices.once(out, "spec.devices", [one.name for one in spec.devices])
    if devices.fits(out, "spec.sharedCounters", spec.shared_counters, MAX_COUNTER_SETS):
        for i, found in enumerate(spec.shared_counters):
            _counters(out, f"spec.sharedCounters[{i}]", "name", found.name, found.counters)
        devices.once(out, "spec.sharedCounters", [found.name for found in spec.shared_counters])


def _pool(out: list[Cause], path: str, pool: resource_v1.ResourcePool) -> None:
    devices.pool(out, f"{path}.name", pool.name)
    if pool.resource_slice_count <= 0:
        words = scheduling.NOT_POSITIVE
        out.append(field.invalid(f"{path}.resourceSliceCount", pool.resource_slice_count, words))
    if pool.generation < 0:
        words = "must be greater than or equal to zero"
        out.append(field.invalid(f"{path}.generation", pool.generation, words))


def _places(out: list[Cause], spec: resource_v1.ResourceSliceSpec) -> None:
    given = []
    if spec.node_name is not None:
        if spec.node_name:
            given.append("`nodeName`")
            meta.wrong_name(out, "spec.nodeName", spec.node_name, names.dns_subdomain(spec.node_name))
        else:
            words = "must be either unset or set to a non-empty string"
            out.append(field.invalid("spec.nodeName", spec.node_name, words))
    if spec.node_selector is not None:
        given.append("`nodeSelector`")
        _one_term(out, "spec.nodeSelector", spec.node_selector)
    for name, value in (("allNodes", spec.all_nodes), ("perDeviceNodeSelection", spec.per_device_node_selection)):
        if value:
            given.append(f"`{name}`")
        elif value is not None:
            out.append(field.invalid(f"spec.{name}", value, "must be either unset or set to true"))
    if not given:
        out.append(field.required("spec", _PLACES))
    elif len(given) > 1:
        out.append(field.invalid("spec", "{" + ", ".join(given) + "}", f"{_PLACES}, but multiple fields are set"))


def _one_term(out: list[Cause], path: str, chosen: core_v1.NodeSelector) -> None:
    """One term only: so the places of several devices can be put together."""
    scheduling.node_selector(out, path, chosen)
    terms = chosen.node_selector_terms
    if len(terms) != 1:
        words = "must have exactly one node selector term"
        out.append(field.invalid(f"{path}.nodeSelectorTerms", codec.to_tree(terms), words))


def _lists(device: resource_v1.Device) -> bool:
    return any(one.ints or one.bools or one.strings or one.versions for one in device.attributes.values())


def _device(
    out: list[Cause], path: str, device: resource_v1.Device, old: resource_v1.Device | None, *, own_place: bool
) -> None:
    meta.wrong_name(out, f"{path}.name", device.name, names.dns_label(device.name))
    count = len(device.attributes) + len(device.capacity)
    if count > MAX_ATTRIBUTES:
        words = f"the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES}"
        out.append(field.invalid(path, count, words))
    for key, value in device.attributes.items():
        here = f"{path}.attributes"
        devices.qualified_name(out, here, key)
        _attribute(out, f"{here}[{devices.shown_key(key, MAX_KEY)}]", value)
    if old is None or old.capacity != device.capacity:
        for key, capacity in device.capacity.items():
            here = f"{path}.capacity"
            devices.qualified_name(out, here, key)
            there = f"{here}[{devices.shown_key(key, MAX_KEY)}].requestPolicy"
            if capacity.request_policy is not None and not device.allow_multiple_allocations:
                out.append(field.forbidden(there, "allowMultipleAllocations must be true"))
            elif capacity.request_policy is not None:
                _request_policy(out, there, capacity.value, capacity.request_policy)
    unchanged = old is not None and old.taints == device.taints
    if not unchanged and devices.fits(out, f"{path}.taints", device.taints, MAX_TAINTS):
        for i, taint in enumerate(device.taints):
            devices.taint(out, f"{path}.taints[{i}]", taint)
    here = f"{path}.consumesCounters"
    if devices.fits(out, here, device.consumes_counters, MAX_CONSUMPTIONS):
        for i, found in enumerate(device.consumes_counters):
            _counters(out, f"{here}[{i}]", "counterSet", found.counter_set, found.counters)
        devices.once(out, here, [found.counter_set for found in device.consumes_counters])
    _own_place(out, path, device, wanted=own_place)
    devices.binding_conditions(out, path, device.binding_conditions, device.binding_failure_conditions)


def _attribute(out: list[Cause], path: str, value: resource_v1.DeviceAttribute) -> None:
    lists = (value.ints, value.bools, value.strings, value.versions)
    given = sum(v is not None for v in (value.int_, value.bool_, value.string, value.version))
    given += sum(bool(v) for v in lists)
    texts = [("string", value.string), *((f"strings[{i}]", one) for i, one in enumerate(value.strings))]
    for name, text in texts:
        if text is not None and len(text.encode()) > MAX_VALUE_BYTES:
            out.append(field.too_long(f"{path}.{name}", MAX_VALUE_BYTES))
    versions = [("version", value.version), *((f"versions[{i}]", one) for i, one in enumerate(value.versions))]
    for name, text in versions:
        if text is not None and not _SEMVER.fullmatch(text):
            words = "must be a string compatible with semver.org spec 2.0.0"
            out.append(field.invalid(f"{path}.{name}", text, words))
        if text is not None and len(text.encode()) > MAX_VALUE_BYTES:
            out.append(field.too_long(f"{path}.{name}", MAX_VALUE_BYTES))
    if given != 1:
        out.append(field.invalid(path, value if given else "", _ONE_VALUE))


def _counters(out: list[Cause], path: str, name: str, value: str, counters: Mapping[str, resource_v1.Counter]) -> None:
    if not value:
        out.append(field.required(f"{path}.{name}"))
    else:
        meta.wrong_name(out, f"{path}.{name}", value, names.dns_label(value))
    here = f"{path}.counters"
    if not counters:
        out.append(field.required(here))
    elif devices.fits(out, here, list(counters), MAX_COUNTERS):
        for key in counters:
            meta.wrong_name(out, here, key, names.dns_label(key))


def _own_place(out: list[Cause], path: str, device: resource_v1.Device, *, wanted: bool) -> None:
    if not wanted:
        if not (device.node_name is None and device.node_selector is None and device.all_nodes is None):
            out.append(field.raw_invalid(path, "null", _NO_OWN_PLACE))
        return
    given = []
    if device.node_name is not None:
        here = f"{path}.nodeName"
        if device.node_name:
            given.append("`nodeName`")
            meta.wrong_name(out, here, device.node_name, names.dns_subdomain(device.node_name))
        else:
            out.append(field.invalid(here, device.node_name, "must not be empty"))
    if device.node_selector is not None:
        given.append("`nodeSelector`")
        _one_term(out, f"{path}.nodeSelector", device.node_selector)
    if device.all_nodes:
        given.append("`allNodes`")
    elif device.all_nodes is not None:
        words = "must be either unset or set to true"
        out.append(field.invalid(f"{path}.allNodes", device.all_nodes, words))
    if not given:
        out.append(field.required(path, _OWN_PLACE))
    elif len(given) > 1:
        out.append(field.invalid(path, "{" + ", ".join(given) + "}", _OWN_PLACE))


def _request_policy(out: list[Cause], path: str, capacity: Quantity, policy: resource_v1.CapacityRequestPolicy) -> None:
    """How much of a shared device's capacity a claim may take."""
    if policy.valid_values and policy.valid_range is not None:
        words = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        out.append(field.forbidden(path, words))
        return
    default = policy.default
    if policy.valid_values:
        if default is None:
            out.append(field.required(f"{path}.default", "required when validValues is defined"))
        else:
            _valid_values(out, f"{path}.validValues", default, capacity, policy.valid_values)
    elif policy.valid_range is not None:
        if default is None:
            out.append(field.required(f"{path}.default", "required when validRange is defined"))
        else:
            _valid_range(out, f"{path}.validRange", default, capacity, policy.valid_range)


def _valid_values(out: list[Cause], path: str, default: Quantity, capacity: Quantity, values: list[Quantity]) -> None:
    for i, (one, following) in enumerate(itertools.pairwise(values), 1):
        if quantity.compare(one, following) > 0:
            out.append(field.invalid(f"{path}[{i}]", str(following), "values must be sorted in ascending order"))
    if devices.fits(out, path, values, MAX_VALID_VALUES):
        for i, value in enumerate(values):
            if quantity.compare(value, capacity) > 0:
                words = f"option is larger than capacity value: {capacity}"
                out.append(field.invalid(f"{path}[{i}]", str(value), words))
        devices.once(out, path, [str(quantity.whole(value)) for value in values])
    if not any(quantity.compare(value, default) == 0 for value in values[:MAX_VALID_VALUES]):
        words = "default value is not valid according to the requestPolicy"
        out.append(field.invalid(path, str(default), words))


def _valid_range(
    out: list[Cause], path: str, default: Quantity, capacity: Quantity, found: resource_v1.CapacityRequestPolicyRange
) -> None:
    low, high, step = found.min, found.max, found.step
    if low is None:
        out.append(field.required(f"{path}.min", "required when validRange is defined"))
        return
    for name, shown, one, other, words in (
        ("min", low, low, capacity, f"min is larger than capacity value: {capacity}"),
        ("default", default, low, default, f"default is less than min: {low}"),
        ("max", low, low, high, f"min is larger than max: {high}"),
        ("max", high, high, capacity, f"max is larger than capacity value: {capacity}"),
        ("default", default, default, high, f"default is more than max: {high}"),
    ):
        if one is not None and other is not None and quantity.compare(one, other) > 0:
            out.append(field.invalid(f"{path}.{name}", str(shown), words))
    if step is None:
        return
    here = f"{path}.step"
    if quantity.nano(step) <= 0:
        out.append(field.invalid(here, str(step), scheduling.NOT_POSITIVE))
        return
    first = quantity.add(low, step)
    if quantity.compare(first, capacity) > 0:
        words = f"one step {first} is larger than capacity value: {capacity}"
        out.append(field.invalid(here, str(step), words))
    for value in (default, high):
        if value is not None and (quantity.whole(value) - quantity.whole(low)) % max(quantity.whole(step), 1):
            words = f"value is not a multiple of a given step ({step}) from ({low})"
            out.append(field.invalid(here, str(value), words))


CREATE: dict[type[Any], Any] = {resource_v1.ResourceSlice: offer}
UPDATE: dict[tuple[type[Any], str], Any] = {(resource_v1.ResourceSlice, ""): offer_update}

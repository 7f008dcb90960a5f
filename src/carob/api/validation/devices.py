"""Rules that claims of devices and offers of them share: names, taints, tolerations, conditions, drivers' parameters.

Pure. Source: `pkg/apis/resource/validation`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from carob.api.types import resource_v1
    from carob.api.validation.field import Cause

MAX_POOL_NAME, MAX_IDENTIFIER = 253, 32
MAX_BINDING_CONDITIONS = 4
MAX_PARAMETER_BYTES = 10 * 1024
EFFECTS = ("NoExecute", "NoSchedule", "None")
_OMITTED = "<value omitted>"
_hex_digits = re.compile(r"[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}").fullmatch


def fits(out: list[Cause], path: str, values: Sequence[Any], limit: int) -> bool:
    """Whether a list is short enough to be looked at."""
    if len(values) > limit:
        out.append(field.too_many(path, len(values), limit))
    return len(values) <= limit


def once(out: list[Cause], path: str, keys: Sequence[Hashable]) -> None:
    """Each key of a list's items stands there once."""
    for i, repeated in enumerate(field.repeated(keys)):
        if repeated:
            out.append(field.duplicate(f"{path}[{i}]", keys[i]))


def driver(out: list[Cause], path: str, name: str) -> None:
    """The name of a driver."""
    if not name:
        out.append(field.required(path))
    if len(name) > 63:
        out.append(field.too_long(path, 63))
    meta.wrong_name(out, path, name, names.dns_subdomain(name.lower()))


def pool(out: list[Cause], path: str, name: str) -> None:
    """The name of a pool: one or more domains with slashes between them."""
    if not name:
        out.append(field.required(path))
        return
    if len(name) > MAX_POOL_NAME:
        out.append(field.too_long(path, MAX_POOL_NAME))
    for part in name.split("/"):
        meta.wrong_name(out, path, part, names.dns_subdomain(part))


def uid(out: list[Cause], path: str, value: str) -> None:
    """An id as it is usually written."""
    plain = value.removeprefix("urn:uuid:").removeprefix("{").removesuffix("}")
    if len(value) not in (32, 36, 38, 45):
        out.append(field.invalid(path, value, f"error validating uid: invalid UUID length: {len(value)}"))
    elif not _hex_digits(plain) and not re.fullmatch("[0-9A-Fa-f]{32}", value):
        out.append(field.invalid(path, value, "error validating uid: invalid UUID format"))
    elif len(value) != 36 or value != value.lower():
        words = (
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase "
            "hexadecimal characters"
        )
        out.append(field.invalid(path, value, words))


def qualified_name(out: list[Cause], path: str, name: str, *, fully: bool = False) -> None:
    """A name of an attribute or a capacity, with or without its domain."""
    domain, slash, identifier = name.partition("/")
    if "/" in identifier:
        out.append(field.invalid(path, name, "must not contain more than one slash"))
        return
    if not slash:
        _identifier(out, path, name)
        if fully:
            words = "a fully qualified name must be a domain and a name separated by a slash"
            out.append(field.invalid(path, name, words))
        return
    if not domain:
        out.append(field.invalid(path, "", "the domain must not be empty"))
    else:
        driver(out, path, domain)
    if not identifier:
        out.append(field.invalid(path, "", "the name must not be empty"))
    else:
        _identifier(out, path, identifier)


def _identifier(out: list[Cause], path: str, identifier: str) -> None:
    if len(identifier) > MAX_IDENTIFIER:
        out.append(field.too_long(path, MAX_IDENTIFIER))
    meta.wrong_name(out, path, identifier, names.c_identifier(identifier))


def shown_key(key: str, limit: int) -> str:
    """A key as it stands in a path: shortened in the middle when it is longer than any right one."""
    if len(key) <= limit:
        return key
    rest = limit - 3
    return key[: (rest + 1) // 2] + "..." + key[len(key) - rest // 2 :]


def parameters(out: list[Cause], path: str, value: Any, *, stored: bool = False) -> None:
    """What a driver, and nobody else, understands: any JSON object."""
    if value is None:
        out.append(field.required(path))
    elif not stored and len(orjson.dumps(value)) > MAX_PARAMETER_BYTES:
        out.append(field.too_long(path, MAX_PARAMETER_BYTES))
    elif not isinstance(value, dict):
        out.append(field.invalid(path, _OMITTED, "must be a valid JSON object"))


def opaque(
    out: list[Cause], path: str, found: resource_v1.OpaqueDeviceConfiguration | None, *, stored: bool = False
) -> None:
    """The configuration of a device, for its driver."""
    if found is None:
        out.append(field.required(f"{path}.opaque"))
        return
    driver(out, f"{path}.opaque.driver", found.driver)
    parameters(out, f"{path}.opaque.parameters", found.parameters, stored=stored)


def taint(out: list[Cause], path: str, found: resource_v1.DeviceTaint) -> None:
    """Why a device should not be used."""
    meta.wrong_name(out, f"{path}.key", found.key, names.qualified_name(found.key))
    if found.value:
        meta.wrong_name(out, f"{path}.value", found.value, names.label_value(found.value))
    if not found.effect:
        out.append(field.required(f"{path}.effect"))
    elif found.effect not in EFFECTS:
        out.append(field.not_supported(f"{path}.effect", found.effect, EFFECTS))


def tolerations(out: list[Cause], path: str, found: Sequence[resource_v1.DeviceToleration]) -> None:
    """Which taints of devices do not matter."""
    for i, toleration in enumerate(found):
        here, operator, value = f"{path}[{i}]", toleration.operator, toleration.value
        if toleration.key:
            meta.wrong_name(out, f"{here}.key", toleration.key, names.qualified_name(toleration.key))
        if operator == "Exists":
            if value:
                out.append(field.invalid(f"{here}.value", value, "must be empty for operator `Exists`"))
        elif operator == "Equal":
            meta.wrong_name(out, f"{here}.value", value, names.label_value(value))
        elif not operator:
            out.append(field.required(f"{here}.operator"))
        else:
            out.append(field.not_supported(f"{here}.operator", operator, ("Equal", "Exists")))
        if toleration.effect and toleration.effect not in EFFECTS:
            out.append(field.not_supported(f"{here}.effect", toleration.effect, EFFECTS))


def binding_conditions(out: list[Cause], path: str, ready: Sequence[str], failed: Sequence[str]) -> None:
    """Conditions that a Pod waits for before it is bound, and those that end the wait."""
    lists = (("bindingConditions", ready), ("bindingFailureConditions", failed))
    for name, found in lists:
        if fits(out, f"{path}.{name}", found, MAX_BINDING_CONDITIONS):
            for i, condition in enumerate(found):
                meta.wrong_name(out, f"{path}.{name}[{i}]", condition, names.qualified_name(condition))
    once(out, f"{path}.bindingConditions", ready)
    again = field.repeated(failed)
    for i, condition in enumerate(failed):
        here = f"{path}.bindingFailureConditions[{i}]"
        if again[i]:
            out.append(field.duplicate(here, condition))
        if condition in ready:
            words = "bindingFailureConditions must not overlap with bindingConditions"
            out.append(field.invalid(here, condition, words))
    for (name, found), (other, others) in (lists, lists[::-1]):
        if not found and others:
            out.append(field.invalid(f"{path}.{name}", None, f"{name} are required to use {other}"))

"""Expressions (CEL) by which claims and classes choose devices.

Pure. The language is that of `carob.api.cel`; here is the variable `device`.
Source: `k8s.io/dynamic-resource-allocation/cel/compile.go`.
Differs: the bound is 10,000 steps of comprehensions instead of a cost (docs/known-limits.md).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from carob.api.cel import environment
from carob.api.cel.values import to_quantity, to_semver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.types import resource_v1

MAX_LENGTH = 10 * 1024
MAX_KEPT = 256
_FIELDS = "driver|attributes|capacity|allowMultipleAllocations"
# `device` as a value of its own, or asked whether it has something: then it must be a map, and less is checked
_WHOLE = re.compile(rf"\bdevice\b(?!\s*\.\s*(?:{_FIELDS})\b)|\bhas\s*\(\s*device\s*\.\s*(?:{_FIELDS})\s*\)")
_LOOKED_UP = re.compile(r"""\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\]""")
_NO_KEY = re.compile(r'Key not found in map : "?([^"]*)"?')


class SelectorError(ValueError):
    """The expression cannot be understood, or not be answered for a device; the text says why."""


class Selector:
    """An expression, checked."""

    def __init__(self, expression: str) -> None:
        """Raises: SelectorError with upstream's words."""
        self._whole = _WHOLE.search(expression) is not None
        env = _environment(self._whole)
        try:
            self._program = env.compile(expression)
        except RuntimeError as error:
            raise SelectorError(f"compilation failed: {_words(error)}") from error
        kind = self._program.return_type().name()
        if kind not in ("BOOL", "DYN"):
            raise SelectorError(f"must evaluate to bool or the unknown type, not {kind.lower()}")
        # an unknown domain is an empty map, not an error
        self._domains = {one or other for one, other in _LOOKED_UP.findall(expression)}

    def matches(self, driver: str, device: resource_v1.Device) -> bool:
        """Whether a driver's device is meant. Raises: SelectorError."""
        fields: dict[str, Any] = {
            "driver": driver,
            "attributes": self._by_domain(driver, {k: _value(v) for k, v in device.attributes.items()}),
            "capacity": self._by_domain(driver, {k: to_quantity(v.value) for k, v in device.capacity.items()}),
            "allowMultipleAllocations": bool(device.allow_multiple_allocations),
        }
        data = {"device": fields} if self._whole else {f"device.{name}": value for name, value in fields.items()}
        try:
            answer = self._program.eval(data=data)
            value = answer.plain_value()
        except RuntimeError as error:
            raise SelectorError(_words(error)) from error
        if isinstance(value, bool):
            return value
        kind = answer.type().name()
        if kind == "ERROR":
            raise SelectorError(_words(value))
        raise SelectorError(f"CEL result of type {kind.lower()} could not be converted to bool")

    def _by_domain(self, driver: str, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {domain: {} for domain in self._domains}
        for name, value in values.items():
            domain, _, plain = name.rpartition("/")
            found.setdefault(domain or driver, {})[plain] = value
        return found


@lru_cache(maxsize=MAX_KEPT)
def _kept(expression: str) -> Selector | SelectorError:
    try:
        return Selector(expression)
    except SelectorError as error:
        return error


def selector(expression: str) -> Selector:
    """The selector of an expression; the ones used last are kept. Raises: SelectorError."""
    found = _kept(expression)
    if isinstance(found, SelectorError):
        raise SelectorError(str(found))
    return found


def _words(error: object) -> str:
    text = environment.words(error)
    found = _NO_KEY.search(text)
    if found is not None:
        return f"no such key: {found.group(1)}"
    return text


def _value(attribute: resource_v1.DeviceAttribute) -> Any:
    if attribute.int_ is not None:
        return attribute.int_
    if attribute.bool_ is not None:
        return attribute.bool_
    if attribute.string is not None:
        return attribute.string
    if attribute.version is not None:
        return to_semver(attribute.version)
    raise SelectorError("unsupported attribute value")


@cache
def _environment(whole: bool) -> Any:
    """`whole`: `device` is one value; else each of its fields is a variable, and the check knows their types."""
    from carob.api.cel.declaring import QUANTITY
    from carob.api.cel.declaring import Kind as kind

    domains = kind.Map(kind.STRING, kind.Map(kind.STRING, kind.DYN))
    fields = {
        "driver": kind.STRING,
        "attributes": domains,
        "capacity": kind.Map(kind.STRING, kind.Map(kind.STRING, QUANTITY)),
        "allowMultipleAllocations": kind.BOOL,
    }
    variables = {"device": kind.Map(kind.STRING, kind.DYN)} if whole else {f"device.{k}": v for k, v in fields.items()}
    return environment.environment(variables)

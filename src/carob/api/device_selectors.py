"""Expressions (CEL) by which claims and classes choose devices.

Pure. The language is that of `carob.api.cel`; here is the variable `device`.
Source: `k8s.io/dynamic-resource-allocation/cel/compile.go`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from carob.api.cel.values import CelError, Fields, to_quantity, to_semver, type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.cel.types import Type
    from carob.api.types import resource_v1

MAX_LENGTH = 10 * 1024
MAX_COST = 100_000
MAX_KEPT = 256
_DOMAINS = "map(string, map(string, {}))"
_FIELDS = {
    "driver": "string",
    "attributes": _DOMAINS.format("dyn"),
    "capacity": _DOMAINS.format("kubernetes.Quantity"),
    "allowMultipleAllocations": "bool",
}


class SelectorError(ValueError):
    """The expression cannot be understood, or not be answered for a device; the text says why."""


class Selector:
    """An expression, checked."""

    def __init__(self, expression: str) -> None:
        """Raises: SelectorError with upstream's words."""
        from carob.api.cel import inference
        from carob.api.cel.evaluation import Program

        try:
            kind = inference.checked(expression, _variables()).text
            self._program = Program(expression)
        except ValueError as error:
            raise SelectorError(f"compilation failed: {error}") from error
        if kind not in ("bool", "dyn"):
            raise SelectorError(f"must evaluate to bool or the unknown type, not {kind}")

    def matches(self, driver: str, device: resource_v1.Device) -> bool:
        """Whether a driver's device is meant. Raises: SelectorError."""
        from carob.api.cel.evaluation import OutOfBudget, Run

        fields: dict[str, Any] = {
            "driver": driver,
            "attributes": _Domains(driver, {k: _value(v) for k, v in device.attributes.items()}),
            "capacity": _Domains(driver, {k: to_quantity(v.value) for k, v in device.capacity.items()}),
            "allowMultipleAllocations": bool(device.allow_multiple_allocations),
        }
        try:
            value = self._program.run(Run({"device": fields}, MAX_COST))
        except (CelError, OutOfBudget) as error:
            raise SelectorError(str(error)) from error
        if isinstance(value, bool):
            return value
        raise SelectorError(f"CEL result of type {type_of(value)} could not be converted to bool")


@cache
def _variables() -> dict[str, Type]:
    from carob.api.cel.types import Type, named

    return {"device": Type("kubernetes.DRADevice", (), lambda: {name: named(text) for name, text in _FIELDS.items()})}


class _Domains(Fields):
    """Values by their domain and name; a domain that nobody has is empty, not missing."""

    __slots__ = ("_found",)
    type_name = "map"

    def __init__(self, driver: str, values: Mapping[str, Any]) -> None:
        self._found: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            domain, _, plain = name.rpartition("/")
            self._found.setdefault(domain or driver, {})[plain] = value

    def field(self, name: str) -> Any:
        return self._found.get(name, {})

    def has(self, name: str) -> bool:
        return True


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

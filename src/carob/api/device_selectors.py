"""Expressions (CEL) by which claims and classes choose devices.

Pure. The expressions are checked and run by cel-expr-python, imported with the first of them; what is ours is what
upstream adds to the language: the variable `device`, quantities and semantic versions. Values of these two are maps,
because the library knows no foreign values, of types that nothing else has, so that the check tells them apart.
Source: `k8s.io/dynamic-resource-allocation/cel/compile.go`, `k8s.io/apiserver/pkg/cel/library/{quantity,semverlib}.go`.
Differs: the libraries for lists, regular expressions, URLs, addresses and formats are missing; the bound is 10,000 steps
of comprehensions instead of a cost (docs/known-limits.md).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from carob.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.types import resource_v1

MAX_LENGTH = 10 * 1024
MAX_KEPT = 256
_FIELDS = "driver|attributes|capacity|allowMultipleAllocations"
# `device` as a value of its own, or asked whether it has something: then it must be a map, and less is checked
_WHOLE = re.compile(rf"\bdevice\b(?!\s*\.\s*(?:{_FIELDS})\b)|\bhas\s*\(\s*device\s*\.\s*(?:{_FIELDS})\s*\)")
_LOOKED_UP = re.compile(r"""\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\]""")
_STATUS = re.compile(r"^[A-Z_]+: (.*?)(?:\s*\[[A-Z_]+\])?$", re.DOTALL)
_NO_KEY = re.compile(r'Key not found in map : "?([^"]*)"?')
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_NANO = 10**9

Quantity = dict[int, str]
Semver = dict[bool, str]


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
    text = _STATUS.sub(r"\1", str(error))
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


# what upstream adds to the language


def to_quantity(text: str) -> Quantity:
    """Its value in billionths; equal quantities are equal maps. Raises: ValueError."""
    return {0: str(quantity.nano(text))}


def _nano(value: Quantity) -> int:
    return int(value[0])


def to_semver(text: str) -> Semver:
    """Without its build, which does not count. Raises: ValueError."""
    found = _SEMVER.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid semantic version: {text}")
    major, minor, patch, before = found.groups()
    return {True: f"{major}.{minor}.{patch}" + (f"-{before}" if before else "")}


def _lenient_semver(text: str, normalize: bool) -> Semver:
    if normalize:
        text = text.strip().removeprefix("v")
        core, rest = re.match(r"([\d.]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        numbers = [str(int(part)) if part else part for part in core.split(".")]
        text = ".".join((*numbers, *["0"] * (3 - len(numbers)))) + rest
    return to_semver(text)


def _precedence(text: str) -> tuple[Any, ...]:
    core, _, before = text.partition("-")
    numbers = tuple(int(part) for part in core.split("."))
    # a release comes after its pre-releases; of these numbers come before words
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split(".")) if before else ()
    return (numbers, not before, parts)


def _compare(one: Any, other: Any) -> int:
    """Of two quantities, or of two versions: the library tells both by their kind alone, and both are maps."""
    if 0 in one and 0 in other:
        left: Any = _nano(one)
        right: Any = _nano(other)
    elif True in one and True in other:
        left, right = _precedence(one[True]), _precedence(other[True])
    else:
        raise ValueError("no such overload")
    return int(left > right) - int(left < right)


def _is(convert: Any) -> Any:
    def check(*arguments: Any) -> bool:
        try:
            convert(*arguments)
        except ValueError:
            return False
        return True

    return check


def _as_integer(value: Quantity) -> int:
    whole, rest = divmod(_nano(value), _NANO)
    if rest or not -(2**63) <= whole < 2**63:
        raise ValueError("cannot convert value to integer")
    return whole


def _number_of(position: int) -> Any:
    return lambda value: int(value[True].partition("-")[0].split(".")[position])


@cache
def _environment(whole: bool) -> Any:
    """`whole`: `device` is one value; else each of its fields is a variable, and the check knows their types."""
    from cel_expr_python import cel  # type: ignore[import-untyped]
    from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings  # type: ignore[import-untyped]

    kind = cel.Type
    amount, version = kind.Map(kind.INT, kind.STRING), kind.Map(kind.BOOL, kind.STRING)
    domains = kind.Map(kind.STRING, kind.Map(kind.STRING, kind.DYN))
    fields = {
        "driver": kind.STRING,
        "attributes": domains,
        "capacity": kind.Map(kind.STRING, kind.Map(kind.STRING, amount)),
        "allowMultipleAllocations": kind.BOOL,
    }
    variables = {"device": kind.Map(kind.STRING, kind.DYN)} if whole else {f"device.{k}": v for k, v in fields.items()}

    def function(name: str, *overloads: tuple[Any, list[Any], Any], member: bool = True) -> Any:
        made = []
        for i, (answer, parameters, run) in enumerate(overloads):
            more = {} if run is None else {"impl": run}
            made.append(cel.Overload(f"carob_{name}_{i}", answer, parameters, member, **more))
        return cel.FunctionDecl(name, made)

    def compared(name: str, answer: Any, run: Any) -> Any:
        # one implementation serves both, for their kinds are one at run time
        return function(name, (answer, [amount, amount], run), (answer, [version, version], None))

    text = kind.STRING
    functions = [
        function("quantity", (amount, [text], to_quantity), member=False),
        function("isQuantity", (kind.BOOL, [text], _is(to_quantity)), member=False),
        function("sign", (kind.INT, [amount], lambda v: (_nano(v) > 0) - (_nano(v) < 0))),
        function("isInteger", (kind.BOOL, [amount], _is(_as_integer))),
        function("asInteger", (kind.INT, [amount], _as_integer)),
        function("asApproximateFloat", (kind.DOUBLE, [amount], lambda v: _nano(v) / _NANO)),
        function(
            "add",
            (amount, [amount, amount], lambda a, b: {0: str(_nano(a) + _nano(b))}),
            (amount, [amount, kind.INT], lambda a, b: {0: str(_nano(a) + b * _NANO)}),
        ),
        function(
            "sub",
            (amount, [amount, amount], lambda a, b: {0: str(_nano(a) - _nano(b))}),
            (amount, [amount, kind.INT], lambda a, b: {0: str(_nano(a) - b * _NANO)}),
        ),
        function("semver", (version, [text], to_semver), (version, [text, kind.BOOL], _lenient_semver), member=False),
        function(
            "isSemver",
            (kind.BOOL, [text], _is(to_semver)),
            (kind.BOOL, [text, kind.BOOL], _is(_lenient_semver)),
            member=False,
        ),
        function("major", (kind.INT, [version], _number_of(0))),
        function("minor", (kind.INT, [version], _number_of(1))),
        function("patch", (kind.INT, [version], _number_of(2))),
        compared("compareTo", kind.INT, _compare),
        compared("isGreaterThan", kind.BOOL, lambda a, b: _compare(a, b) > 0),
        compared("isLessThan", kind.BOOL, lambda a, b: _compare(a, b) < 0),
    ]
    extensions = [ext_optional.ExtOptional(), ext_bindings.ExtBindings(), ext_strings.ExtStrings()]
    return cel.NewEnv(variables=variables, extensions=extensions, functions=functions)

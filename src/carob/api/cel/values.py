"""Values of expressions. JSON's are Python's own; here is what else the language and upstream's libraries know.

Pure, and without the library that reads expressions: who only makes values does not import it.
Shape: null, bool, int (64 bits), float, str, bytes, list and dict are themselves; `Uint`, `Duration` and `Timestamp` are not.
Source: cel-spec `doc/langdef.md`; `k8s.io/apiserver/pkg/cel/library`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from carob.api import quantity

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

NANO = 10**9
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)


class CelError(ValueError):
    """An expression has no answer; the words are upstream's."""


class Uint(int):
    """An unsigned number of 64 bits."""

    __slots__ = ()


class Duration(int):
    """A time span in nanoseconds."""

    __slots__ = ()


class Timestamp(int):
    """A moment in nanoseconds since 1970."""

    __slots__ = ()


class Foreign:
    """A value that expressions know by its functions alone; `type_name` is what they call its type."""

    __slots__ = ()
    type_name: ClassVar[str] = ""
    methods: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    """Functions of this type that no library has; each takes the value first."""


class Fields(Foreign):
    """A value with fields that are found when they are asked for."""

    __slots__ = ()

    def field(self, name: str) -> Any:
        """Raises: CelError."""
        raise CelError(f"no such key: {name}")

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        raise NotImplementedError


class TypeName(Foreign):
    """A type as a value."""

    __slots__ = ("name",)
    type_name = "type"

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeName) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Maybe(Foreign):
    """An optional value."""

    __slots__ = ("present", "value")
    type_name = "optional_type"

    def __init__(self, value: Any, present: bool = True) -> None:
        self.value = value
        self.present = present


NONE = Maybe(None, present=False)


class Quantity(Foreign):
    """An amount, kept in billionths."""

    __slots__ = ("nano",)
    type_name = "kubernetes.Quantity"

    def __init__(self, nano: int) -> None:
        self.nano = nano

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and other.nano == self.nano

    def __hash__(self) -> int:
        return hash(self.nano)


class Semver(Foreign):
    """A semantic version without its build, which does not count."""

    __slots__ = ("text",)
    type_name = "kubernetes.Semver"

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class Url(Foreign):
    """A URL, taken apart."""

    __slots__ = ("parts",)
    type_name = "kubernetes.URL"

    def __init__(self, parts: SplitResult) -> None:
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and other.parts == self.parts

    def __hash__(self) -> int:
        return hash(self.parts)


class Address(Foreign):
    """An IP address."""

    __slots__ = ("value",)
    type_name = "net.IP"

    def __init__(self, value: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


class AddressRange(Foreign):
    """A CIDR, with the address that it was written with."""

    __slots__ = ("value",)
    type_name = "net.CIDR"

    def __init__(self, value: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AddressRange) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


class NamedFormat(Foreign):
    """A format of texts; `check` says what is wrong with one."""

    __slots__ = ("check", "name")
    type_name = "kubernetes.NamedFormat"

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self.check = check


class ObjectValue(Fields):
    """What `Object{…}`, `Object.spec{…}` or `JSONPatch{…}` makes."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self.name = name
        self.fields = fields

    def field(self, name: str) -> Any:
        if name in self.fields:
            return self.fields[name]
        raise CelError(f"no such field {name!r}".replace("'", '"'))

    def has(self, name: str) -> bool:
        return name in self.fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectValue) and (other.name, other.fields) == (self.name, self.fields)

    def __hash__(self) -> int:
        return hash(self.name)


_TYPES: dict[type[Any], str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Duration: "google.protobuf.Duration",
    Timestamp: "google.protobuf.Timestamp",
}


def type_of(value: Any) -> str:
    """What expressions call the type of a value."""
    found = _TYPES.get(value.__class__)
    if found is not None:
        return found
    return value.name if isinstance(value, ObjectValue) else str(value.type_name)


def to_quantity(text: str) -> Quantity:
    """Raises: ValueError."""
    return Quantity(quantity.nano(text))


def to_semver(text: str) -> Semver:
    """Raises: ValueError."""
    found = _SEMVER.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid semantic version: {text}")
    major, minor, patch, before = found.groups()
    return Semver(f"{major}.{minor}.{patch}" + (f"-{before}" if before else ""))


def precedence(text: str) -> tuple[Any, ...]:
    """What versions are ordered by."""
    core, _, before = text.partition("-")
    numbers = tuple(int(part) for part in core.split("."))
    # a release comes after its pre-releases; of these numbers come before words
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split(".")) if before else ()
    return (numbers, not before, parts)


MAX_PLAIN = 100_000
"""How many parts a value may have that becomes JSON: those that share their parts are larger than their memory."""


def plain(value: Any) -> Any:
    """A value as JSON has it. Raises: CelError for what JSON cannot say, or would be too large."""
    return _plain(value, [0])


def _plain(value: Any, seen: list[int]) -> Any:
    seen[0] += 1
    if seen[0] > MAX_PLAIN:
        raise CelError(f"value is too large: more than {MAX_PLAIN} parts")
    kind = value.__class__
    if kind in (str, bool, int, float, type(None)):
        return value
    if kind is Uint:
        return int(value)
    if kind is list:
        return [_plain(one, seen) for one in value]
    if kind is dict:
        return {_key(key): _plain(one, seen) for key, one in value.items()}
    if kind is ObjectValue:
        return {key: _plain(one, seen) for key, one in value.fields.items()}
    if kind in (Timestamp, Duration, bytes):
        return _written(value)
    raise CelError(f"type conversion error from '{type_of(value)}' to JSON")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise CelError(f"bad key type: {type_of(key)}")
    return key


def _written(value: Any) -> str:
    import base64

    from carob.api.cel.times import written_duration, written_timestamp

    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return written_timestamp(value) if isinstance(value, Timestamp) else written_duration(value)

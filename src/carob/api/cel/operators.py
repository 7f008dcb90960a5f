"""The language's own operators and functions: arithmetic, order, equality, conversions, texts, calendars.

Pure. Source: cel-go `common/stdlib/standard.go`, `common/types`; overflows are errors as there.
"""

from __future__ import annotations

import math
import operator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from carob.api.cel import linear_regex, times
from carob.api.cel.library import ANY, FUNCTIONS, REGEX, bounded, costs, function, no_overload, size, traversed
from carob.api.cel.values import (
    NANO,
    CelError,
    Duration,
    Foreign,
    Maybe,
    Timestamp,
    TypeName,
    Uint,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
NUMBERS = (int, Uint, float)
_OWN = (*NUMBERS, str, bytes, bool, Duration, Timestamp)


# -- arithmetic ----------------------------------------------------------------------------------------------------


def integer(value: int) -> int:
    """Raises: CelError beyond 64 bits."""
    if not INT_MIN <= value <= INT_MAX:
        raise CelError("integer overflow")
    return value


def unsigned(value: int) -> Uint:
    """Raises: CelError beyond 64 bits without a sign."""
    if not 0 <= value <= UINT_MAX:
        raise CelError("unsigned integer overflow")
    return Uint(value)


def _wrong(name: str) -> Callable[..., Any]:
    """What an operator says of types that it does not go with: shorter where the left one knows it at all."""

    def run(left: Any, right: Any) -> Any:
        if left.__class__ in _OWN or (name == "_+_" and left.__class__ is list):
            raise CelError("no such overload")
        raise no_overload(name, (left, right))

    return run


def _truncated(left: int, right: int) -> int:
    if right == 0:
        raise CelError("division by zero")
    found = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise CelError("modulus by zero")
    return int(math.copysign(1, left)) * (abs(left) % abs(right))


def _quotient(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)
    return left / right


def _product(left: float, right: float) -> float:
    return left * right


def _joined(left: list[Any], right: list[Any]) -> list[Any]:
    bounded(len(left) + len(right), "list")
    return left + right


def plus(left: Any, right: Any) -> int:
    """The sum of two integers. Raises: CelError."""
    return integer(int(left) + int(right))


function(
    "_+_",
    ((int, int), plus),
    ((Uint, Uint), lambda a, b: unsigned(int(a) + int(b))),
    ((float, float), operator.add),
    ((str, str), operator.add),
    ((bytes, bytes), operator.add),
    ((list, list), _joined),
    ((Duration, Duration), lambda a, b: times.checked_duration(int(a) + int(b))),
    ((Timestamp, Duration), lambda a, b: times.checked_timestamp(int(a) + int(b))),
    ((Duration, Timestamp), lambda a, b: times.checked_timestamp(int(a) + int(b))),
    ((ANY, ANY), _wrong("_+_")),
    cost=lambda args: traversed(size(args[0]) + size(args[1])) if args[0].__class__ in (str, bytes) else 1,
)
function(
    "_-_",
    ((int, int), lambda a, b: integer(a - b)),
    ((Uint, Uint), lambda a, b: unsigned(int(a) - int(b))),
    ((float, float), operator.sub),
    ((Duration, Duration), lambda a, b: times.checked_duration(int(a) - int(b))),
    ((Timestamp, Duration), lambda a, b: times.checked_timestamp(int(a) - int(b))),
    ((Timestamp, Timestamp), lambda a, b: times.checked_duration(int(a) - int(b))),
    ((ANY, ANY), _wrong("_-_")),
)
function(
    "_*_",
    ((int, int), lambda a, b: integer(a * b)),
    ((Uint, Uint), lambda a, b: unsigned(int(a) * int(b))),
    ((float, float), _product),
    ((ANY, ANY), _wrong("_*_")),
)
function(
    "_/_",
    ((int, int), lambda a, b: integer(_truncated(a, b))),
    ((Uint, Uint), lambda a, b: unsigned(_truncated(int(a), int(b)))),
    ((float, float), _quotient),
    ((ANY, ANY), _wrong("_/_")),
)
function(
    "_%_",
    ((int, int), _remainder),
    ((Uint, Uint), lambda a, b: unsigned(_remainder(int(a), int(b)))),
    ((ANY, ANY), _wrong("_%_")),
)
function(
    "-_",
    ((int,), lambda a: integer(-a)),
    ((float,), operator.neg),
    ((Duration,), lambda a: times.checked_duration(-int(a))),
)
function("!_", ((bool,), operator.not_))


# -- order and equality --------------------------------------------------------------------------------------------


def equal(left: Any, right: Any) -> bool:
    """Whether two values are one: numbers by what they mean, all else only of one type."""
    if left.__class__ in _DEEP and left.__class__ is right.__class__:
        return _deeply_equal(left, right, [0])
    return _equal_leaves(left, right)


_DEEP = (list, dict, Maybe)


def _equal_leaves(left: Any, right: Any) -> bool:
    one, other = left.__class__, right.__class__
    if one is other or (one in NUMBERS and other in NUMBERS):
        return bool(left == right)
    return False


def _deeply_equal(left: Any, right: Any, seen: list[int]) -> bool:
    """`seen` counts what was looked at: values that share their parts are larger than their memory."""
    seen[0] += 1
    bounded(seen[0], "value")
    kind = left.__class__
    if kind not in _DEEP or kind is not right.__class__:
        return _equal_leaves(left, right)
    if kind is list:
        return len(left) == len(right) and all(map(_deeply_equal, left, right, repeat(seen)))
    if kind is dict:
        return left.keys() == right.keys() and all(
            _deeply_equal(value, right[key], seen) for key, value in left.items()
        )
    return left.present == right.present and _deeply_equal(left.value, right.value, seen)


def ordered(name: str, left: Any, right: Any) -> Any:
    """The two as values that Python can compare. Raises: CelError."""
    one, other = left.__class__, right.__class__
    if one is other and one in _OWN:
        return left, right
    if one in NUMBERS and other in NUMBERS:
        return left, right
    if one in _OWN:
        raise CelError("no such overload")
    raise no_overload(name, (left, right))


def _comparison(name: str, compare: Callable[[Any, Any], bool]) -> None:
    def run(left: Any, right: Any) -> bool:
        return bool(compare(*ordered(name, left, right)))

    function(
        name,
        ((int, int), compare),
        ((str, str), compare),
        ((float, float), compare),
        ((ANY, ANY), run),
        cost=lambda args: traversed(min(size(args[0]), size(args[1]))) if args[0].__class__ in (str, bytes) else 1,
    )


for _name, _compare in (("_<_", operator.lt), ("_<=_", operator.le), ("_>_", operator.gt), ("_>=_", operator.ge)):
    _comparison(_name, _compare)


def _in(value: Any, where: Any) -> bool:
    if where.__class__ is dict:
        return key_of(value) in where
    if where.__class__ is list:
        return any(equal(value, one) for one in where)
    raise no_overload("@in", (value, where))


def key_of(key: Any) -> Any:
    """A key as maps keep it: whole numbers are one whatever their type. Raises: CelError for what is no key."""
    if key.__class__ in (list, dict):
        raise CelError(f"unsupported key type: {type_of(key)}")
    return int(key) if key.__class__ is float and key.is_integer() else key


_smaller: Any = lambda args: max(1, traversed(min(size(args[0]), size(args[1]))))  # noqa: E731
function("_==_", ((ANY, ANY), equal), cost=_smaller)
function("_!=_", ((ANY, ANY), lambda a, b: not equal(a, b)), cost=_smaller)
function("@in", ((ANY, ANY), _in), cost=lambda args: size(args[1]) if args[1].__class__ is list else 1)


def item(container: Any, index: Any) -> Any:
    """`container[index]`. Raises: CelError."""
    kind = container.__class__
    if kind is dict:
        key = key_of(index)
        if key in container:
            return container[key]
        raise CelError(f"no such key: {shown(index)}")
    if kind is list:
        at = key_of(index)
        if at.__class__ not in (int, Uint):
            raise CelError(f"unsupported index type '{type_of(index)}' in list")
        if not 0 <= at < len(container):
            raise CelError(f"index out of bounds: {at}")
        return container[at]
    if kind is Maybe:
        return (
            Maybe(item(container.value, index)) if container.present and has_item(container.value, index) else _none()
        )
    if isinstance(container, Foreign) and hasattr(container, "field"):
        return container.field(index)
    raise CelError(f"no such key: {shown(index)}")


def has_item(container: Any, index: Any) -> bool:
    """Whether there is something at an index."""
    kind = container.__class__
    if kind is dict:
        return key_of(index) in container
    if kind is list:
        at = key_of(index)
        return at.__class__ in (int, Uint) and 0 <= at < len(container)
    if kind is Maybe:
        return container.present and has_item(container.value, index)
    return bool(isinstance(container, Foreign) and hasattr(container, "has") and container.has(index))


def _none() -> Maybe:
    from carob.api.cel.values import NONE

    return NONE


def shown(value: Any) -> str:
    """A value as messages show it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return written_float(value) if value.__class__ is float else str(value)


# -- conversions ---------------------------------------------------------------------------------------------------


def written_float(value: float) -> str:
    """As Go writes numbers: the shortest digits, an exponent outside of 1e-4 to 1e21."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent and -4 <= (math.floor(math.log10(abs(value))) if value else 0) < 21:
        return mantissa.removesuffix(".0")
    if not exponent or -4 <= int(exponent) < 21:
        return f"{value:.17f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.0f}"
    sign = exponent[0] if exponent[0] in "+-" else "+"
    return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').rjust(2, '0')}"


def _conversion(name: str, target: str, *overloads: tuple[type[Any], Callable[[Any], Any]]) -> None:
    def wrong(value: Any) -> Any:
        raise CelError(f"type conversion error from '{type_of(value)}' to '{target}'")

    def tried(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def convert(value: Any) -> Any:
            try:
                return run(value)
            except CelError:
                raise
            except (ValueError, OverflowError):
                return wrong(value)

        return convert

    function(name, *(((kind,), tried(run)) for kind, run in overloads), ((ANY,), wrong))


def _whole(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()) or not INT_MIN <= int(text) <= INT_MAX:
        raise ValueError(text)
    return int(text)


def _natural(text: str) -> Uint:
    if not (text.isascii() and text.isdigit()) or int(text) > UINT_MAX:
        raise ValueError(text)
    return Uint(text)


def _from_float(value: float) -> int:
    if math.isnan(value) or not -(2.0**63) < value < 2.0**63:
        raise CelError("integer overflow")
    return int(value)


def _natural_float(value: float) -> Uint:
    if not 0 <= value < 2.0**64:
        raise CelError("unsigned integer overflow")
    return Uint(int(value))


def _flag(text: str) -> bool:
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(text)


def _number(text: str) -> float:
    if text != text.strip() or "_" in text:
        raise ValueError(text)
    return float(text)


def _same(value: Any) -> Any:
    return value


_conversion(
    "int",
    "int",
    (int, _same),
    (Uint, lambda v: integer(int(v))),
    (float, _from_float),
    (str, _whole),
    (Timestamp, lambda v: int(v) // NANO),
    (Duration, int),
)
_conversion(
    "uint",
    "uint",
    (Uint, _same),
    (int, unsigned),
    (float, _natural_float),
    (str, _natural),
)
_conversion("double", "double", (float, _same), (int, float), (Uint, lambda v: float(int(v))), (str, _number))
_conversion("bool", "bool", (bool, _same), (str, _flag))
_conversion("bytes", "bytes", (bytes, _same), (str, lambda v: v.encode("utf-8", "replace")))
_conversion(
    "string",
    "string",
    (str, _same),
    (int, str),
    (Uint, lambda v: str(int(v))),
    (float, written_float),
    (bool, shown),
    (bytes, lambda v: v.decode("utf-8")),
    (Timestamp, times.written_timestamp),
    (Duration, times.written_duration),
    (TypeName, lambda v: v.name),
)
_conversion(
    "timestamp",
    "google.protobuf.Timestamp",
    (Timestamp, _same),
    (str, times.to_timestamp),
    (int, lambda v: times.checked_timestamp(v * NANO)),
)
_conversion("duration", "google.protobuf.Duration", (Duration, _same), (str, times.to_duration), (int, Duration))
function("dyn", ((ANY,), _same))
function("type", ((ANY,), lambda v: TypeName(type_of(v))))


# -- texts ---------------------------------------------------------------------------------------------------------


def _matches(text: str, pattern: str) -> bool:
    return next(linear_regex.found(pattern, text), None) is not None


def _size(value: Any) -> int:
    if value.__class__ in (str, bytes, list, dict):
        return len(value)
    raise no_overload("size", (value,))


def regex_cost(text: int, pattern: int) -> int:
    """What a search costs, by the sizes of both."""
    return traversed(1 + text) * math.ceil(pattern * REGEX)


function("size", ((ANY,), _size))
function("contains", ((str, str), lambda a, b: b in a))
function("startsWith", ((str, str), str.startswith))
function("endsWith", ((str, str), str.endswith))
function("matches", ((str, str), _matches))
costs("contains", lambda args: traversed(size(args[0])) * traversed(size(args[1])))
costs("startsWith endsWith", lambda args: traversed(size(args[0])))
costs("matches", lambda args: regex_cost(size(args[0]), size(args[1])))
FUNCTIONS["bytes"].cost = FUNCTIONS["string"].cost = lambda args: (
    traversed(size(args[0])) if args[0].__class__ in (str, bytes) else 1
)


# -- calendars -----------------------------------------------------------------------------------------------------

_CALENDAR: dict[str, Callable[[Any], int]] = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
}
_SPANS = {"getHours": 3600 * NANO, "getMinutes": 60 * NANO, "getSeconds": NANO, "getMilliseconds": 10**6}


def _read(read: Callable[[Any], int]) -> Callable[..., int]:
    return lambda value, zone="": read(times.local(value, zone))


for _name, _part in _CALENDAR.items():
    function(_name, ((Timestamp,), _read(_part)), ((Timestamp, str), _read(_part)))
for _name, _unit in _SPANS.items():
    function(_name, ((Duration,), lambda value, unit=_unit: _truncated(int(value), unit)))
function(
    "getMilliseconds",
    ((Timestamp,), lambda value: int(value) % NANO // 10**6),
    ((Timestamp, str), lambda value, zone: int(value) % NANO // 10**6),
)

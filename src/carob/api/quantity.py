"""Resource quantities: parsing, the canonical text, comparing and adding.

Pure. Every quantity is a whole number of nano units (10^-9), as upstream rounds up to that, so all arithmetic here is
exact integer arithmetic in nanos. Texts repeat endlessly in a cluster, so what was parsed once is remembered
(bounded caches).

Source: apimachinery `pkg/api/resource` (quantity.go, suffix.go).
Differs: exponents beyond ±999 are refused, because one such number would cost gigabytes.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from carob.api.scalars import Quantity

NANO = 10**9
MAX_BINARY_NANO = (2**63 - 1) * NANO
LARGEST_EXPONENT = 999
LONGEST_TEXT = 1024

ERROR_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
ERROR_NUMERIC = "unable to parse numeric part of quantity"
ERROR_SUFFIX = "unable to parse quantity's suffix"

DECIMAL_SI = "DecimalSI"
DECIMAL_EXPONENT = "DecimalExponent"
BINARY_SI = "BinarySI"

_SCANNER = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES = {exponent: name for name, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_NAMES = {exponent // 10: name for name, exponent in _BINARY_SUFFIXES.items()} | {0: ""}
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)

# how many decimal digits upstream's fast path handles exactly; beyond it a text is always rewritten
_FAST_DIGITS = 18


class _Parsed(NamedTuple):
    nano: int
    format: str
    kept: bool
    """True when upstream writes the text back just as it came."""


@lru_cache(maxsize=8192)
def _parse(text: str) -> _Parsed:
    if text == "0":
        return _Parsed(0, DECIMAL_SI, True)
    match = _SCANNER.fullmatch(text) if 0 < len(text) <= LONGEST_TEXT else None
    if match is None:
        raise ValueError(ERROR_FORMAT)
    sign, whole, fraction, suffix = match.groups()
    fraction = fraction or ""
    exponent, form = _interpret(suffix)
    digits = (whole or "0") + fraction
    unscaled = int(digits)
    if form == BINARY_SI:
        nano, form, kept = _binary(unscaled, exponent, whole or "0", fraction)
    else:
        power = exponent - len(fraction)
        nano = _scaled_up(unscaled, power)
        kept = (
            len(digits) <= _FAST_DIGITS
            and power >= -9
            and power % 3 == 0
            and not digits.endswith("000")
            and digits[0] != "0"
        )
    return _Parsed(-nano if sign == "-" else nano, form, kept)


def _interpret(suffix: str) -> tuple[int, str]:
    if suffix in _DECIMAL_SUFFIXES:
        return _DECIMAL_SUFFIXES[suffix], DECIMAL_SI
    if suffix in _BINARY_SUFFIXES:
        return _BINARY_SUFFIXES[suffix], BINARY_SI
    match = _EXPONENT.fullmatch(suffix)
    if match is None or abs(int(match[1])) > LARGEST_EXPONENT:
        raise ValueError(ERROR_SUFFIX)
    return int(match[1]), DECIMAL_EXPONENT


def _scaled_up(unscaled: int, power: int) -> int:
    """`unscaled` times ten to the `power`, in nanos, away from zero."""
    shift = power + 9
    if shift >= 0:
        return int(unscaled * 10**shift)
    return int(-(-unscaled // 10**-shift))


def _binary(unscaled: int, exponent: int, whole: str, fraction: str) -> tuple[int, str, bool]:
    nano = min(_scaled_up(unscaled << exponent, -len(fraction)), MAX_BINARY_NANO)
    if 0 < nano < NANO:
        return nano, DECIMAL_SI, False
    fast = not fraction and 15 - len(whole) - int(exponent * 3 / 10) - 1 >= 0
    return nano, BINARY_SI, fast and exponent % 10 == 0 and unscaled & 7 != 0


def _written(nano: int, form: str) -> str:
    if nano == 0:
        return "0"
    sign, size = ("-", -nano) if nano < 0 else ("", nano)
    if form == BINARY_SI and size >= 1024 * NANO and size % NANO == 0:
        size //= NANO
        power = 0
        while size % 1024 == 0 and power < 6:
            size //= 1024
            power += 1
        return f"{sign}{size}{_BINARY_NAMES[power]}"
    exponent = -9
    while size % 1000 == 0 and (form == DECIMAL_EXPONENT or exponent < 18):
        size //= 1000
        exponent += 3
    if form == DECIMAL_EXPONENT:
        return f"{sign}{size}e{exponent}" if exponent else f"{sign}{size}"
    return f"{sign}{size}{_DECIMAL_NAMES[exponent]}"


@lru_cache(maxsize=8192)
def canonical(text: str) -> Quantity:
    """The quantity of a text in upstream's canonical form: `0.5` is `500m`, `1024Ki` is `1Mi`.

    Raises: ValueError with upstream's words.
    """
    if type(text) is not str:
        text = str(text)
    text = text.strip()
    parsed = _parse(text)
    return Quantity(text if parsed.kept else _written(parsed.nano, parsed.format))


def of_json(value: object) -> Quantity:
    """The quantity of a JSON string or number. Raises: ValueError."""
    if isinstance(value, str):
        return canonical(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(ERROR_FORMAT)
    text = repr(value)
    return canonical(text.removesuffix(".0") if isinstance(value, float) else text)


def nano(quantity: str) -> int:
    """The exact value in units of 10^-9. Raises: ValueError for what is no quantity."""
    return _parse(quantity).nano


def parse(quantity: str) -> Fraction:
    """The exact value. Raises: ValueError for what is no quantity."""
    return Fraction(_parse(quantity).nano, NANO)


def cpu_millicores(quantity: str) -> int:
    """Thousandths, rounded up: of a CPU quantity the millicores."""
    return -(-_parse(quantity).nano // 1_000_000)


def whole(quantity: str) -> int:
    """The value rounded up to a whole number; for memory and storage the bytes."""
    return -(-_parse(quantity).nano // NANO)


memory_bytes = whole


def compare(left: str, right: str) -> int:
    """Negative, zero or positive, as `left` is smaller than, equal to or greater than `right`."""
    difference = _parse(left).nano - _parse(right).nano
    return (difference > 0) - (difference < 0)


def is_whole(quantity: str) -> bool:
    """True when the value has no fraction."""
    return _parse(quantity).nano % NANO == 0


def add(left: str, right: str) -> Quantity:
    """The sum, written in the form of `left` (of `right` if `left` is zero)."""
    one, other = _parse(left), _parse(right)
    return Quantity(_written(one.nano + other.nano, one.format if one.nano else other.format))


def subtract(left: str, right: str) -> Quantity:
    """The difference, written in the form of `left` (of `right` if `left` is zero)."""
    one, other = _parse(left), _parse(right)
    return Quantity(_written(one.nano - other.nano, one.format if one.nano else other.format))


@lru_cache(maxsize=8192)
def rounded_to_milli(quantity: str) -> Quantity:
    """The quantity rounded up to thousandths, as resource lists of Pods and Nodes are kept."""
    parsed = _parse(quantity)
    if parsed.nano % 1_000_000 == 0:
        return quantity if isinstance(quantity, Quantity) else Quantity(quantity)
    steps = -(-abs(parsed.nano) // 1_000_000) * 1_000_000
    return Quantity(_written(-steps if parsed.nano < 0 else steps, parsed.format))


def from_millicores(millicores: int) -> Quantity:
    """The CPU quantity of so many thousandths."""
    return Quantity(_written(millicores * 1_000_000, DECIMAL_SI))


def from_bytes(count: int, form: str = BINARY_SI) -> Quantity:
    """The quantity of so many bytes, in powers of 1024 unless told otherwise."""
    return Quantity(_written(count * NANO, form))

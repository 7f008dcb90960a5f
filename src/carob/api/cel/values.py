"""Values of quantities and semantic versions: maps, whose keys tell them apart.

Needs nothing of the library, so that who only makes values does not import it.
"""

from __future__ import annotations

import re
from typing import Any

from carob.api import quantity

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
NANO = 10**9

Quantity = dict[int, str]
Semver = dict[bool, str]


def to_quantity(text: str) -> Quantity:
    """Its value in billionths; equal quantities are equal maps. Raises: ValueError."""
    return {0: str(quantity.nano(text))}


def nano(value: Quantity) -> int:
    """The value in billionths."""
    return int(value[0])


def to_semver(text: str) -> Semver:
    """Without its build, which does not count. Raises: ValueError."""
    found = _SEMVER.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid semantic version: {text}")
    major, minor, patch, before = found.groups()
    return {True: f"{major}.{minor}.{patch}" + (f"-{before}" if before else "")}


def lenient_semver(text: str, normalize: bool) -> Semver:
    """With a `v` in front, missing numbers and leading zeros, where they are allowed. Raises: ValueError."""
    if normalize:
        text = text.strip().removeprefix("v")
        core, rest = re.match(r"([\d.]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        numbers = [str(int(part)) if part else part for part in core.split(".")]
        text = ".".join((*numbers, *["0"] * (3 - len(numbers)))) + rest
    return to_semver(text)


def precedence(text: str) -> tuple[Any, ...]:
    """What versions are ordered by."""
    core, _, before = text.partition("-")
    numbers = tuple(int(part) for part in core.split("."))
    # a release comes after its pre-releases; of these numbers come before words
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split(".")) if before else ()
    return (numbers, not before, parts)


def compare(one: Any, other: Any) -> int:
    """Of two quantities, or of two versions: the library tells both by their kind alone, and both are maps."""
    if 0 in one and 0 in other:
        left: Any = nano(one)
        right: Any = nano(other)
    elif True in one and True in other:
        left, right = precedence(one[True]), precedence(other[True])
    else:
        raise ValueError("no such overload")
    return int(left > right) - int(left < right)


def as_integer(value: Quantity) -> int:
    """Raises: ValueError."""
    whole, rest = divmod(nano(value), NANO)
    if rest or not -(2**63) <= whole < 2**63:
        raise ValueError("cannot convert value to integer")
    return whole


def number_of(position: int) -> Any:
    """Reads one of the three numbers of a version."""
    return lambda value: int(value[True].partition("-")[0].split(".")[position])

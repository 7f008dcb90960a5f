"""Quantities and semantic versions. Source: `k8s.io/apiserver/pkg/cel/library/{quantity,semverlib}.go`."""

from __future__ import annotations

import re
from typing import Any

from carob.api.cel.library import costs, function, size, traversed, works
from carob.api.cel.values import NANO, CelError, Quantity, Semver, precedence, to_quantity, to_semver


def lenient_semver(text: str, normalize: bool) -> Semver:
    """With a `v` in front, missing numbers and leading zeros, where they are allowed. Raises: ValueError."""
    if normalize:
        text = text.strip().removeprefix("v")
        core, rest = re.match(r"([\d.]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        numbers = [str(int(part)) if part else part for part in core.split(".")]
        text = ".".join((*numbers, *["0"] * (3 - len(numbers)))) + rest
    return to_semver(text)


def _compare(one: Any, other: Any) -> int:
    left: Any
    right: Any
    left, right = (value.nano if isinstance(value, Quantity) else precedence(value.text) for value in (one, other))
    return int(left > right) - int(left < right)


def _as_integer(value: Quantity) -> int:
    whole, rest = divmod(value.nano, NANO)
    if rest or not -(2**63) <= whole < 2**63:
        raise CelError("cannot convert value to integer")
    return whole


def _number(position: int) -> Any:
    return lambda value: int(value.text.partition("-")[0].split(".")[position])


def _compared(name: str, run: Any) -> None:
    function(name, ((Quantity, Quantity), run), ((Semver, Semver), run))


function("quantity", ((str,), to_quantity))
function("isQuantity", ((str,), works(to_quantity)))
function("sign", ((Quantity,), lambda v: (v.nano > 0) - (v.nano < 0)))
function("isInteger", ((Quantity,), works(_as_integer)))
function("asInteger", ((Quantity,), _as_integer))
function("asApproximateFloat", ((Quantity,), lambda v: v.nano / NANO))
function(
    "add",
    ((Quantity, Quantity), lambda a, b: Quantity(a.nano + b.nano)),
    ((Quantity, int), lambda a, b: Quantity(a.nano + b * NANO)),
)
function(
    "sub",
    ((Quantity, Quantity), lambda a, b: Quantity(a.nano - b.nano)),
    ((Quantity, int), lambda a, b: Quantity(a.nano - b * NANO)),
)
function("semver", ((str,), to_semver), ((str, bool), lenient_semver))
function("isSemver", ((str,), works(to_semver)), ((str, bool), works(lenient_semver)))
function("major", ((Semver,), _number(0)))
function("minor", ((Semver,), _number(1)))
function("patch", ((Semver,), _number(2)))
_compared("compareTo", _compare)
_compared("isGreaterThan", lambda a, b: _compare(a, b) > 0)
_compared("isLessThan", lambda a, b: _compare(a, b) < 0)
costs("quantity isQuantity semver isSemver", lambda args: traversed(size(args[0])))

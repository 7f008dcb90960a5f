"""Quantities and semantic versions. Source: `k8s.io/apiserver/pkg/cel/library/{quantity,semverlib}.go`."""

from __future__ import annotations

from typing import Any

from carob.api.cel.declaring import QUANTITY, SEMVER, Kind, function, works
from carob.api.cel.values import NANO, as_integer, compare, lenient_semver, nano, number_of, to_quantity, to_semver

_TEXT = Kind.STRING


def _compared(name: str, answer: Any, run: Any) -> Any:
    # one implementation serves both, for their kinds are one at run time
    return function(name, (answer, [QUANTITY, QUANTITY], run), (answer, [SEMVER, SEMVER], None))


FUNCTIONS = (
    function("quantity", (QUANTITY, [_TEXT], to_quantity), member=False),
    function("isQuantity", (Kind.BOOL, [_TEXT], works(to_quantity)), member=False),
    function("sign", (Kind.INT, [QUANTITY], lambda v: (nano(v) > 0) - (nano(v) < 0))),
    function("isInteger", (Kind.BOOL, [QUANTITY], works(as_integer))),
    function("asInteger", (Kind.INT, [QUANTITY], as_integer)),
    function("asApproximateFloat", (Kind.DOUBLE, [QUANTITY], lambda v: nano(v) / NANO)),
    function(
        "add",
        (QUANTITY, [QUANTITY, QUANTITY], lambda a, b: {0: str(nano(a) + nano(b))}),
        (QUANTITY, [QUANTITY, Kind.INT], lambda a, b: {0: str(nano(a) + b * NANO)}),
    ),
    function(
        "sub",
        (QUANTITY, [QUANTITY, QUANTITY], lambda a, b: {0: str(nano(a) - nano(b))}),
        (QUANTITY, [QUANTITY, Kind.INT], lambda a, b: {0: str(nano(a) - b * NANO)}),
    ),
    function("semver", (SEMVER, [_TEXT], to_semver), (SEMVER, [_TEXT, Kind.BOOL], lenient_semver), member=False),
    function(
        "isSemver",
        (Kind.BOOL, [_TEXT], works(to_semver)),
        (Kind.BOOL, [_TEXT, Kind.BOOL], works(lenient_semver)),
        member=False,
    ),
    function("major", (Kind.INT, [SEMVER], number_of(0))),
    function("minor", (Kind.INT, [SEMVER], number_of(1))),
    function("patch", (Kind.INT, [SEMVER], number_of(2))),
    _compared("compareTo", Kind.INT, compare),
    _compared("isGreaterThan", Kind.BOOL, lambda a, b: compare(a, b) > 0),
    _compared("isLessThan", Kind.BOOL, lambda a, b: compare(a, b) < 0),
)

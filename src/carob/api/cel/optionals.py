"""Optional values, and what expressions of mutating policies have besides: `jsonpatch.escapeKey`.

Pure. Source: cel-go `cel/library.go` (optional), `k8s.io/apiserver/pkg/cel/library/jsonpatch.go`.
"""

from __future__ import annotations

from typing import Any

from carob.api.cel.library import ANY, costs, function, size, traversed
from carob.api.cel.values import NONE, CelError, Maybe

_ZEROES = (None, False, 0, 0.0, "", b"")


def _value(found: Maybe) -> Any:
    if not found.present:
        raise CelError("optional.none() dereference")
    return found.value


def _of_non_zero(value: Any) -> Maybe:
    empty = value in _ZEROES if value.__class__ not in (list, dict) else not value
    return NONE if empty else Maybe(value)


def escaped(key: str) -> str:
    """A key as a step of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


function("optional.of", ((ANY,), Maybe))
function("optional.ofNonZeroValue", ((ANY,), _of_non_zero))
function("optional.none", ((), lambda: NONE))
function("hasValue", ((Maybe,), lambda found: found.present))
function("value", ((Maybe,), _value))
function("jsonpatch.escapeKey", ((str,), escaped))
costs("jsonpatch.escapeKey", lambda args: traversed(size(args[0])))
costs("check", lambda args: 350_000)  # two checks an expression, no more

"""Rules of the conditions that all newer kinds share. Pure. Source: `pkg/apis/meta/v1/validation` (ValidateConditions)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import meta_v1
    from carob.api.validation.field import Cause

MAX_REASON_BYTES, MAX_MESSAGE_BYTES = 1024, 32 * 1024
STATUSES = ("False", "True", "Unknown")
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_reason = re.compile(_REASON, re.ASCII).fullmatch
_REASON_WORDS = names.pattern_words(
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_'",
    _REASON,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)


def check(out: list[Cause], path: str, found: Sequence[meta_v1.Condition]) -> None:
    """Each condition, and that there is one of a type."""
    again = field.repeated(condition.type for condition in found)
    for i, condition in enumerate(found):
        here = f"{path}[{i}]"
        if again[i]:
            out.append(field.duplicate(f"{here}.type", condition.type))
        _condition(out, here, condition)


def _condition(out: list[Cause], path: str, condition: meta_v1.Condition) -> None:
    if not condition.type:
        out.append(field.required(f"{path}.type", "must be set"))
    else:
        meta.wrong_name(out, f"{path}.type", condition.type, names.qualified_name(condition.type))
    if condition.status not in STATUSES:
        out.append(field.not_supported(f"{path}.status", condition.status, STATUSES))
    meta.non_negative(out, f"{path}.observedGeneration", condition.observed_generation)
    if not condition.last_transition_time:
        out.append(field.required(f"{path}.lastTransitionTime", "must be set"))
    reason = condition.reason
    if not reason:
        out.append(field.required(f"{path}.reason", "must be set"))
    else:
        if not _reason(reason):
            out.append(field.invalid(f"{path}.reason", reason, _REASON_WORDS))
        if len(reason.encode("utf-8", "replace")) > MAX_REASON_BYTES:
            out.append(field.too_long(f"{path}.reason", MAX_REASON_BYTES))
    if len(condition.message.encode("utf-8", "replace")) > MAX_MESSAGE_BYTES:
        out.append(field.too_long(f"{path}.message", MAX_MESSAGE_BYTES))

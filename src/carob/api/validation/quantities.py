"""Rules of IntOrString fields: counts and percentages. Pure. Source: `pkg/apis/apps/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import int_or_string
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.validation.field import Cause


def positive(out: list[Cause], path: str, value: int | str) -> None:
    """A number that is not negative, or a percentage."""
    if isinstance(value, int):
        meta.non_negative(out, path, value)
    else:
        meta.wrong_name(out, path, value, names.percent(value))


def at_most_all(out: list[Cause], path: str, value: int | str) -> None:
    """A percentage within a hundred."""
    percent = int_or_string.percent_of(value)
    if percent is not None and percent > 100:
        out.append(field.invalid(path, value, "must not be greater than 100%"))


def number(value: int | str | None) -> int:
    """The number, or the percentage's number; zero for what is none."""
    if isinstance(value, str):
        return int_or_string.percent_of(value) or 0
    return value or 0

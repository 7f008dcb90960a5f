"""The difference of two Pod specs as upstream shows it: a unified diff of the indented internal form. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from carob.api.validation import internal

if TYPE_CHECKING:
    from carob.api.types import core_v1


def spec_difference(old: core_v1.PodSpec, new: core_v1.PodSpec) -> str:
    """What was taken away and what was added, three lines around each."""
    return _difference(old, new)


def container_difference(old: core_v1.EphemeralContainer, new: core_v1.EphemeralContainer) -> str:
    """As `spec_difference`, for one container."""
    return _difference(old, new)


def _difference(old: object, new: object) -> str:
    before, after = ((internal.indented(value) + "\n").splitlines(keepends=True) for value in (old, new))
    return "".join(list(difflib.unified_diff(before, after))[2:])

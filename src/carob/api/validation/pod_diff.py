"""The difference of two Pod specs as upstream shows it: a unified diff of an indented rendering. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import orjson

from carob.api import codec

if TYPE_CHECKING:
    from carob.api.types import core_v1


def spec_difference(old: core_v1.PodSpec, new: core_v1.PodSpec) -> str:
    """What was taken away and what was added, three lines around each."""
    return _difference(old, new)


def container_difference(old: core_v1.EphemeralContainer, new: core_v1.EphemeralContainer) -> str:
    """As `spec_difference`, for one container."""
    return _difference(old, new)


def _difference(old: object, new: object) -> str:
    before, after = (
        orjson.dumps(codec.to_tree(x), option=orjson.OPT_INDENT_2).decode().splitlines(True) for x in (old, new)
    )
    return "".join(list(difflib.unified_diff(before, after))[2:]) + "\n"

"""Expressions checked before anything runs: whether they can be understood, and of what type their value is.

Pure. The library checks, over upstream's functions (`declarations`); what it says is upstream's, too.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TOO_DEEP = "expression recursion limit exceeded: 32"
"""Upstream's words with the library's limit, which nobody can set; theirs is 250."""
_STATUS = re.compile(r"^[A-Z_]+: (.*?)(?:\s*\[[A-Z_]+\])?$", re.DOTALL)


class CheckError(ValueError):
    """The expression cannot be understood; the words are the library's, without its status codes."""


def type_of(text: str, variables: Mapping[str, str]) -> str:
    """The type of an expression's value, as messages write it. Shape: `variables` are types by names. Raises: CheckError."""
    from carob.api.cel import declarations

    environment = _environment(tuple(variables.items()))
    try:
        return declarations.shown(environment.compile(text).return_type().name())
    except RuntimeError as error:
        raise CheckError(words(error)) from None


def words(error: object) -> str:
    """What the library says, without its status codes."""
    text = _STATUS.sub(r"\1", str(error)).strip()
    return f"ERROR: <input>:-1:0: {TOO_DEEP}" if "recursion" in text.lower() else text


def likely_type_of(text: str, variables: Mapping[str, str]) -> str:
    """As `type_of`; but `dyn` where upstream, whose functions have more overloads, may have no complaint. Raises: CheckError."""
    from carob.api.cel import declarations

    try:
        return type_of(text, variables)
    except CheckError as error:
        if all(map(declarations.unsure, str(error).split("\nERROR: "))):
            return "dyn"
        raise


@cache
def _types() -> Any:
    from carob.api.cel import declarations

    return declarations.Types()


@lru_cache(maxsize=64)
def _environment(variables: tuple[tuple[str, str], ...]) -> Any:
    types = _types()
    return types.environment({name: types.of(kind) for name, kind in variables})

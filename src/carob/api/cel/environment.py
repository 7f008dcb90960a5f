"""The environment in which expressions are checked: upstream's language with its libraries, over some variables.

Source: apiserver `pkg/cel/environment/base.go`.
Differs: no cost; who needs a bound gives one (docs/known-limits.md). Of `math`, `sets`, two-variable comprehensions: nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS = re.compile(r"^[A-Z_]+: (.*?)(?:\s*\[[A-Z_]+\])?$", re.DOTALL)


def environment(variables: Mapping[str, Any]) -> Any:
    """An environment of the library. Shape: `variables` by name, with the library's types."""
    from cel_expr_python import cel  # type: ignore[import-untyped]
    from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings  # type: ignore[import-untyped]

    from carob.api.cel import addresses, formats, lists, quantities, texts

    libraries = (lists, texts, quantities, addresses, formats)
    ours = [one for library in libraries for one in library.FUNCTIONS]
    # further overloads of functions that the library has itself can come with an extension alone
    more = [one for library in (lists, addresses, formats) for one in library.OVERLOADS]
    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_bindings.ExtBindings(),
        cel.CelExtension("kubernetes", more),
    ]
    return cel.NewEnv(variables=dict(variables), extensions=extensions, functions=ours)


def words(error: object) -> str:
    """What the library says, without its status codes."""
    return _STATUS.sub(r"\1", str(error)).strip()

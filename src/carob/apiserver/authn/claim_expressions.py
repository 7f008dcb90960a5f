"""Expressions (CEL) over the claims of a token, and over the user that was made of them.

`cel-expr-python` is imported with the first expression.
Source: kubernetes `apiserver/pkg/authentication/cel`, KEP-3331.
Differs: of upstream's libraries, strings and optional values are there (docs/known-limits.md).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

CLAIMS, USER = "claims", "user"
_STATUS = re.compile(r"^[A-Z_]+: (.*?)(?:\s*\[[A-Z_]+\])?$", re.DOTALL)
_TEXTS = frozenset(("STRING", "DYN"))
_LISTS = frozenset(("LIST", "NULL_TYPE"))


class ExpressionError(ValueError):
    """The expression cannot be understood, or has no answer for these claims."""


class ClaimExpression:
    """An expression over one variable: `claims`, or `user`."""

    def __init__(self, text: str, variable: str) -> None:
        """Raises: ExpressionError."""
        self.text = text
        self._variable = variable
        try:
            self._program = _environment(variable).compile(text)
        except RuntimeError as error:
            raise ExpressionError(f"compilation failed: {_words(error)}") from error
        self.kind: str = self._program.return_type().name().partition("<")[0]

    def evaluate(self, value: dict[str, Any]) -> Any:
        """The answer as a plain value. Raises: ExpressionError."""
        try:
            answer = self._program.eval(data={self._variable: value})
            plain = answer.plain_value()
        except (RuntimeError, TypeError) as error:
            raise ExpressionError(_words(error)) from error
        if answer.type().name() == "ERROR":
            raise ExpressionError(_words(plain))
        return plain


@lru_cache(maxsize=512)
def compiled(text: str, variable: str) -> ClaimExpression:
    """The expression, compiled once. Raises: ExpressionError."""
    return ClaimExpression(text, variable)


def fault(text: str, variable: str, wanted: str) -> str:
    """Why the expression cannot be used where `wanted` (`bool`, `string`, `list`) is needed; empty if it can."""
    try:
        kind = compiled(text, variable).kind
    except ExpressionError as error:
        return str(error)
    allowed = {"bool": {"BOOL", "DYN"}, "string": set(_TEXTS), "list": _TEXTS | _LISTS}[wanted]
    if kind in allowed:
        return ""
    said = {"bool": "bool", "string": "string", "list": "a string or a list of strings"}[wanted]
    return f"must evaluate to {said}, not {kind.lower()}"


def texts_of(value: Any) -> list[str]:
    """A string or a list of strings as a list without empty ones. Raises: ExpressionError."""
    if value is None:
        return []
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ExpressionError("expression must return a string or a list of strings")
    return [one for one in values if one]


@lru_cache(maxsize=2)
def _environment(variable: str) -> Any:
    from cel_expr_python import cel  # type: ignore[import-untyped]
    from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings  # type: ignore[import-untyped]

    kind = cel.Type
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_bindings.ExtBindings()]
    return cel.NewEnv(variables={variable: kind.Map(kind.STRING, kind.DYN)}, extensions=extensions)


def _words(error: object) -> str:
    text = str(error)
    found = _STATUS.match(text)
    return (found[1] if found else text).strip()

"""Expressions (CEL) over the claims of a token, and over the user that was made of them.

The language is that of `carob.api.cel`; here are the variables `claims` and `user`.
Source: kubernetes `apiserver/pkg/authentication/cel`, KEP-3331.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from carob.api.cel import environment

CLAIMS, USER = "claims", "user"
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
            raise ExpressionError(f"compilation failed: {environment.words(error)}") from error
        self.kind: str = self._program.return_type().name().partition("<")[0]

    def evaluate(self, value: dict[str, Any]) -> Any:
        """The answer as a plain value. Raises: ExpressionError."""
        try:
            answer = self._program.eval(data={self._variable: value})
            plain = answer.plain_value()
        except (RuntimeError, TypeError) as error:
            raise ExpressionError(environment.words(error)) from error
        if answer.type().name() == "ERROR":
            raise ExpressionError(environment.words(plain))
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
    from carob.api.cel.declaring import Kind

    return environment.environment({variable: Kind.Map(Kind.STRING, Kind.DYN)})

"""Expressions (CEL) over the claims of a token, and over the user that was made of them.

The language is that of `carob.api.cel`; here are the variables `claims` and `user`.
Source: kubernetes `apiserver/pkg/authentication/cel`, KEP-3331.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from carob.api.cel.values import CelError, plain

CLAIMS, USER = "claims", "user"
MAX_COST = 1_000_000
_TEXTS = frozenset(("string", "dyn"))
_LISTS = frozenset(("list", "null_type"))


class ExpressionError(ValueError):
    """The expression cannot be understood, or has no answer for these claims."""


class ClaimExpression:
    """An expression over one variable: `claims`, or `user`."""

    def __init__(self, text: str, variable: str) -> None:
        """Raises: ExpressionError."""
        from carob.api.cel import inference
        from carob.api.cel.evaluation import Program
        from carob.api.cel.types import named

        self.text = text
        self._variable = variable
        try:
            self.kind = inference.checked(text, {variable: named("map(string, dyn)")}).name
            self._program = Program(text)
        except ValueError as error:
            raise ExpressionError(f"compilation failed: {error}") from error

    def evaluate(self, value: dict[str, Any]) -> Any:
        """The answer as a plain value. Raises: ExpressionError."""
        from carob.api.cel.evaluation import OutOfBudget, Run

        try:
            return plain(self._program.run(Run({self._variable: value}, MAX_COST)))
        except (CelError, OutOfBudget) as error:
            raise ExpressionError(str(error)) from error


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
    allowed = {"bool": {"bool", "dyn"}, "string": set(_TEXTS), "list": _TEXTS | _LISTS}[wanted]
    if kind in allowed:
        return ""
    said = {"bool": "bool", "string": "string", "list": "a string or a list of strings"}[wanted]
    return f"must evaluate to {said}, not {kind}"


def texts_of(value: Any) -> list[str]:
    """A string or a list of strings as a list without empty ones. Raises: ExpressionError."""
    if value is None:
        return []
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ExpressionError("expression must return a string or a list of strings")
    return [one for one in values if one]

"""Node selector terms: expressions over a node's labels and its name.

Pure. Source: component-helpers `nodeaffinity`; a term without any requirement matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from carob.api.selectors import SelectorError, from_node_expressions
from carob.api.validation import field

if TYPE_CHECKING:
    from carob.api.types.core_v1 import NodeSelectorTerm
    from carob.api.validation.field import Cause
    from carob.scheduler.nodes import NodeInfo

Term: TypeAlias = "Callable[[NodeInfo], bool]"


def compile_terms(terms: Iterable[NodeSelectorTerm]) -> list[Term]:
    """A predicate a term; a term that makes no sense matches nothing."""
    return [compile_term(term) for term in terms]


def compile_term(term: NodeSelectorTerm) -> Term:
    """The predicate of one term."""
    if not term.match_expressions and not term.match_fields:
        return _never
    try:
        labels = from_node_expressions(term.match_expressions)
    except SelectorError:
        return _never
    fields = term.match_fields
    if any(one.key != "metadata.name" or one.operator not in ("In", "NotIn") for one in fields):
        return _never

    def matches(node: NodeInfo) -> bool:
        if not labels.matches(node.labels):
            return False
        return all((node.name in one.values) == (one.operator == "In") for one in fields)

    return matches


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


def term_errors(term: NodeSelectorTerm, path: str) -> list[Cause]:
    """What is wrong with a term. Source: component-helpers `nodeaffinity` (newNodeSelectorTerm)."""
    out: list[Cause] = []
    for i, one in enumerate(term.match_expressions):
        here = f"{path}.matchExpressions[{i}]"
        if one.operator not in _OPERATORS:
            out.append(field.not_supported(f"{here}.operator", one.operator, _OPERATORS))
            continue
        try:
            from_node_expressions((one,))
        except SelectorError as error:
            where, _, text = str(error).partition(": ")
            out.append({"reason": "FieldValueInvalid", "field": f"{here}.{where}", "message": text})
    for i, one in enumerate(term.match_fields):
        here = f"{path}.matchFields[{i}]"
        if one.operator not in ("In", "NotIn"):
            out.append(field.not_supported(f"{here}.operator", one.operator, ("In", "NotIn")))
        elif len(one.values) != 1:
            out.append(field.invalid(f"{here}.values", list(one.values), "must have one element"))
    return out


def _never(node: NodeInfo) -> bool:
    return False

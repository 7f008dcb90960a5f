"""Node selector terms: expressions over a node's labels and its name.

Pure. Source: component-helpers `nodeaffinity`; a term without any requirement matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from carob.api.selectors import SelectorError, from_node_expressions

if TYPE_CHECKING:
    from carob.api.types.core_v1 import NodeSelectorTerm
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
    if any(f.key != "metadata.name" or f.operator not in ("In", "NotIn") for f in fields):
        return _never

    def matches(node: NodeInfo) -> bool:
        if not labels.matches(node.labels):
            return False
        return all((node.name in field.values) == (field.operator == "In") for field in fields)

    return matches


def _never(node: NodeInfo) -> bool:
    return False

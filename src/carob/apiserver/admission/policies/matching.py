"""Whether a policy, or a binding, is about a write.

Pure. Source: apiserver `pkg/admission/plugin/policy/matching`, `webhook/predicates/{rules,namespace,object}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.selectors import SelectorError, from_struct
from carob.api.status import internal, not_found
from carob.apiserver.admission.refusals import NAMESPACES, object_name
from carob.apiserver.keys import storage_row
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.resources import Resource, ResourceTable
    from carob.api.types import admissionregistration_v1, meta_v1
    from carob.apiserver.types import Attributes, Reader

    Rule = admissionregistration_v1.NamedRuleWithOperations

EXACT = "Exact"
_NAMESPACED, _CLUSTER = "Namespaced", "Cluster"


class Scope:
    """What of a write rules look at."""

    __slots__ = ("attributes", "equivalents", "name", "namespace", "of_namespaces", "row")

    def __init__(self, attributes: Attributes, table: ResourceTable) -> None:
        row = attributes.resource
        self.attributes = attributes
        self.row = row
        self.of_namespaces = row.plural == "namespaces" and not row.group
        self.name = object_name(attributes) if attributes.name or attributes.operation is not Operation.CREATE else ""
        # a namespace is said to be in itself
        self.namespace = attributes.namespace or (attributes.name if self.of_namespaces else "")
        self.equivalents = equivalents_of(row, table)


def equivalents_of(row: Resource, table: ResourceTable) -> list[Resource]:
    """Other rows that serve the same objects."""
    stored = storage_row(table, row)
    if row.plural not in ("events", "horizontalpodautoscalers"):
        return []
    return [one for one in table if one is not row and one.stored and storage_row(table, one) is stored]


def _has(items: Sequence[str], wanted: str) -> bool:
    return "*" in items or wanted in items


def _rule_matches(rule: Rule, scope: Scope, row: Resource) -> bool:
    if rule.scope == _NAMESPACED and (scope.of_namespaces or not scope.namespace):
        return False
    if rule.scope == _CLUSTER and not scope.of_namespaces and scope.namespace:
        return False
    if not (_has(rule.operations, scope.attributes.operation.value) and _has(rule.api_groups, row.group)):
        return False
    if not _has(rule.api_versions, row.version):
        return False
    subresource = scope.attributes.subresource
    for text in rule.resources:
        plural, _, sub = text.partition("/")
        if plural in ("*", row.plural) and sub in ("*", subresource):
            return True
    return False


def _rules_match(rules: Sequence[Rule], policy: str | None, scope: Scope, names: bool = True) -> Resource | None:
    """The row for which a rule is about the write: its own, or an equivalent one."""
    rows = [scope.row] if policy in (None, EXACT) else [scope.row, *scope.equivalents]
    for row in rows:
        for rule in rules:
            if not _rule_matches(rule, scope, row):
                continue
            if not names or not rule.resource_names or scope.name in rule.resource_names:
                return row
    return None


def rules_may_match(constraints: admissionregistration_v1.MatchResources | None, scope: Scope) -> bool:
    """Whether the rules of a policy may be about a place in the API, whatever the objects there are called."""
    if constraints is None:
        return False
    if not constraints.resource_rules:
        return True
    anywhere = [_without_scope(rule) for rule in constraints.resource_rules]
    return _rules_match(anywhere, constraints.match_policy, scope, names=False) is not None


def _without_scope(rule: Rule) -> Rule:
    from msgspec.structs import replace

    return replace(rule, scope="") if rule.scope else rule


def matched(found: admissionregistration_v1.MatchResources, scope: Scope, reader: Reader) -> Resource | None:
    """The row as which a write is meant; None if it is not. Raises: ApiError where that cannot be told."""
    in_namespace = _namespace_selected(found.namespace_selector, scope, reader)
    if in_namespace is False:
        return None
    selected = _object_selected(found.object_selector, scope)
    if selected is False:
        return None
    if _rules_match(found.exclude_resource_rules, found.match_policy, scope) is not None:
        return None
    row: Resource | None = scope.row
    if found.resource_rules:
        row = _rules_match(found.resource_rules, found.match_policy, scope)
    if row is None:
        return None
    # only now: a mistake in what is not about the write is nobody's concern
    for answer in (in_namespace, selected):
        if isinstance(answer, Exception):
            raise answer
    return row


def _namespace_selected(selector: meta_v1.LabelSelector | None, scope: Scope, reader: Reader) -> bool | Exception:
    if not scope.namespace and scope.row.plural != "namespaces":
        return True
    if selector is None:
        return True
    try:
        wanted = from_struct(selector)
    except SelectorError as error:
        return internal(str(error))
    if wanted.empty:
        return True
    attributes = scope.attributes
    if (
        scope.of_namespaces
        and not attributes.subresource
        and attributes.operation
        in (
            Operation.CREATE,
            Operation.UPDATE,
        )
    ):
        return wanted.matches(attributes.obj.metadata.labels)
    found = reader.get(NAMESPACES, "", scope.namespace)
    if found is None:
        return not_found(NAMESPACES, scope.namespace)
    return wanted.matches(found.metadata.labels)


def _object_selected(selector: meta_v1.LabelSelector | None, scope: Scope) -> bool | Exception:
    if selector is None:
        return True
    try:
        wanted = from_struct(selector)
    except SelectorError as error:
        return internal(str(error))
    if wanted.empty:
        return True
    return any(_labels_match(obj, wanted) for obj in (scope.attributes.obj, scope.attributes.old))


def _labels_match(obj: Any, wanted: Any) -> bool:
    metadata = getattr(obj, "metadata", None)
    return metadata is not None and wanted.matches(metadata.labels)

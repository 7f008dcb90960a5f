"""Does a PolicyRule allow what is asked? Pure.

Source: kubernetes `plugin/pkg/auth/authorizer/rbac` (RuleAllows) and `pkg/apis/rbac/v1/evaluation_helpers.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types.rbac_v1 import PolicyRule
    from carob.apiserver.authz.questions import Question


def _matches_verb(rule: PolicyRule, verb: str) -> bool:
    return verb in rule.verbs or "*" in rule.verbs


def matches_resource(rule: PolicyRule, asked: Question) -> bool:
    """Whether the rule speaks of this group, resource and subresource."""
    if asked.group not in rule.api_groups and "*" not in rule.api_groups:
        return False
    if "*" in rule.resources or asked.full_resource in rule.resources:
        return True
    return bool(asked.subresource) and f"*/{asked.subresource}" in rule.resources


def matches_path(rule: PolicyRule, path: str) -> bool:
    """Whether the rule speaks of this path: exactly, or by a prefix that ends in `*`."""
    return any(
        url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*"))) for url in rule.non_resource_urls
    )


def allows(rule: PolicyRule, asked: Question) -> bool:
    """Whether one rule allows it."""
    if not _matches_verb(rule, asked.verb):
        return False
    if not asked.resource:
        return matches_path(rule, asked.path)
    return matches_resource(rule, asked) and (not rule.resource_names or asked.name in rule.resource_names)


def allowed_names(rules: Iterable[PolicyRule], asked: Question) -> bool | frozenset[str]:
    """True: whatever the name. Otherwise the names (maybe none) for which some rule allows it; `asked.name` is ignored."""
    names: set[str] = set()
    for rule in rules:
        if _matches_verb(rule, asked.verb) and matches_resource(rule, asked):
            if not rule.resource_names:
                return True
            names.update(rule.resource_names)
    return frozenset(names)

"""Nobody gives away rights that they do not have, unless they may `escalate` or `bind` (upstream does it in the storage).

Source: kubernetes `pkg/registry/rbac/{clusterrole,role,clusterrolebinding,rolebinding}/policybased`,
`pkg/registry/rbac/validation/policy_comparator.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from carob.api.status import not_found
from carob.apiserver.admission.refusals import refused
from carob.apiserver.authz.questions import Question
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.types.rbac_v1 import PolicyRule
    from carob.api.user import UserInfo
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import Attributes

_GROUP = "rbac.authorization.k8s.io"
_ROLES = ("roles", "clusterroles")
_BINDINGS = ("rolebindings", "clusterrolebindings")


def simple_rules(rule: PolicyRule) -> Iterator[PolicyRule]:
    """A rule as rules of one verb, group, resource and name each: they can be compared one by one."""
    replace = msgspec.structs.replace
    empty = replace(rule, verbs=[], api_groups=[], resources=[], resource_names=[], non_resource_urls=[])
    for verb in rule.verbs:
        for group in rule.api_groups:
            for resource in rule.resources:
                for name in rule.resource_names or [""]:
                    names = [name] if name else []
                    yield replace(empty, verbs=[verb], api_groups=[group], resources=[resource], resource_names=names)
        for url in rule.non_resource_urls:
            yield replace(empty, verbs=[verb], non_resource_urls=[url])


def covers(owner: PolicyRule, wanted: PolicyRule) -> bool:
    """Whether a rule that somebody has contains a simple rule."""
    if not ("*" in owner.verbs or wanted.verbs[0] in owner.verbs):
        return False
    if wanted.non_resource_urls:
        url = wanted.non_resource_urls[0]
        return any(
            one in ("*", url) or (one.endswith("*") and url.startswith(one.rstrip("*")))
            for one in owner.non_resource_urls
        )
    if not ("*" in owner.api_groups or wanted.api_groups[0] in owner.api_groups):
        return False
    if not _covers_resource(owner.resources, wanted.resources[0]):
        return False
    if not owner.resource_names:
        return True
    return bool(wanted.resource_names) and wanted.resource_names[0] in owner.resource_names


def _covers_resource(owned: list[str], wanted: str) -> bool:
    if "*" in owned or wanted in owned:
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and f"*/{subresource}" in owned


def compact(rules: list[PolicyRule]) -> list[PolicyRule]:
    """Simple rules that differ in their verb alone, as one rule."""
    merged: dict[tuple[object, ...], PolicyRule] = {}
    for rule in rules:
        key = (
            tuple(rule.api_groups),
            tuple(rule.resources),
            tuple(rule.resource_names),
            tuple(rule.non_resource_urls),
        )
        known = merged.get(key)
        if known is None:
            merged[key] = rule
        else:
            merged[key] = msgspec.structs.replace(known, verbs=[*known.verbs, *rule.verbs])
    return list(merged.values())


def words(rule: PolicyRule) -> str:
    """`{APIGroups:["*"], Resources:["*"], Verbs:["*"]}`: a rule as upstream's refusal shows it."""
    fields = (
        ("APIGroups", rule.api_groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.non_resource_urls),
        ("ResourceNames", rule.resource_names),
        ("Verbs", rule.verbs),
    )
    shown = (f"{name}:[" + ", ".join(f'"{v}"' for v in values) + "]" for name, values in fields if values)
    return "{" + ", ".join(shown) + "}"


class RoleEscalation:
    """See the module."""

    name = "RoleEscalation"
    phases = ("admit",)
    handles = frozenset((_GROUP, plural) for plural in (*_ROLES, *_BINDINGS))

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def admit(self, attributes: Attributes) -> None:
        """Refuse roles and bindings that give more than their author has."""
        resource = attributes.resource
        if resource.group != _GROUP or attributes.operation is Operation.DELETE or attributes.obj is None:
            return
        user = attributes.user
        if "system:masters" in user.groups:
            return
        if resource.plural in _ROLES:
            self._check_role(attributes)
        elif resource.plural in _BINDINGS:
            self._check_binding(attributes)

    def validate(self, attributes: Attributes) -> None:
        """Nothing: `admit` has said it."""

    def _may(self, user: UserInfo, verb: str, plural: str, namespace: str, name: str) -> bool:
        return self._authorizer.allows(user, Question(verb, _GROUP, plural, "", namespace, name))

    def _check_role(self, attributes: Attributes) -> None:
        old, new = attributes.old, attributes.obj
        if old is not None and (old.rules or []) == (new.rules or []):
            same = getattr(old, "aggregation_rule", None) == getattr(new, "aggregation_rule", None)
            if same:
                return
        name = attributes.name or new.metadata.name
        if self._may(attributes.user, "escalate", attributes.resource.plural, attributes.namespace, name):
            return
        wanted = list(new.rules or [])
        if getattr(new, "aggregation_rule", None) is not None:
            everything = ("*",)
            rule_type = _rule_type()
            wanted += [
                rule_type(verbs=list(everything), api_groups=list(everything), resources=list(everything)),
                rule_type(verbs=list(everything), non_resource_urls=list(everything)),
            ]
        self._confirm(attributes, wanted)

    def _check_binding(self, attributes: Attributes) -> None:
        old, binding = attributes.old, attributes.obj
        if old is not None and old.role_ref == binding.role_ref and old.subjects == binding.subjects:
            return
        role = binding.role_ref
        plural = "clusterroles" if role.kind == "ClusterRole" else "roles"
        if self._may(attributes.user, "bind", plural, attributes.namespace, role.name):
            return
        rules = self._authorizer.rbac.role_rules(role, attributes.namespace)
        if rules is None:
            raise not_found(attributes.resource, role.name)
        self._confirm(attributes, rules)

    def _confirm(self, attributes: Attributes, wanted: list[PolicyRule]) -> None:
        owned = self._authorizer.rbac.rules_of(attributes.user, attributes.namespace)
        missing = [
            simple
            for rule in wanted
            for simple in simple_rules(rule)
            if not any(covers(mine, simple) for mine in owned)
        ]
        if not missing:
            return
        lines = sorted(words(rule) for rule in compact(missing))
        groups = ", ".join(f'"{group}"' for group in attributes.user.groups)
        who = f'user "{attributes.user.name}" (groups=[{groups}])'
        text = "\n".join(lines)
        raise refused(attributes, f"{who} is attempting to grant RBAC permissions not currently held:\n{text}")


def _rule_type() -> type[PolicyRule]:
    from carob.api.types.rbac_v1 import PolicyRule

    return PolicyRule

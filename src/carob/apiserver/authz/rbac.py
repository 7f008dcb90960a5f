"""Role-based access control: which rules the bindings give to a user, and whether one of them allows the question.

Kept current by the reader's change calls: roles and bindings are indexed as they change, and decisions are remembered
until any role or binding changes, so that a request of a known user costs one dictionary lookup.

Source: kubernetes `plugin/pkg/auth/authorizer/rbac/rbac.go`, `pkg/registry/rbac/validation/rule.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.apiserver.authn.service_accounts import row
from carob.apiserver.authz import rules as policy
from carob.apiserver.authz.questions import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from carob.api.resources import Resource
    from carob.api.types.rbac_v1 import PolicyRule, RoleRef, Subject
    from carob.api.user import UserInfo
    from carob.apiserver.authz.questions import Question
    from carob.apiserver.types import Reader

GROUP = "rbac.authorization.k8s.io"
CLUSTER_ROLES = row(GROUP, "v1", "clusterroles")
CLUSTER_ROLE_BINDINGS = row(GROUP, "v1", "clusterrolebindings")
ROLES = row(GROUP, "v1", "roles")
ROLE_BINDINGS = row(GROUP, "v1", "rolebindings")


class Grant(NamedTuple):
    """A subject of a binding: the role that it gets, where, and through which binding."""

    namespace: str
    """Empty: everywhere."""
    binding: str
    role: RoleRef
    subject: Subject

    def words(self) -> str:
        """`ClusterRoleBinding "b" of ClusterRole "r" to User "u"`: as reviews name it."""
        kind, name = ("RoleBinding", f"{self.binding}/{self.namespace}") if self.namespace else _cluster(self.binding)
        subject = self.subject
        who = f"{subject.name}/{subject.namespace}" if subject.kind == "ServiceAccount" else subject.name
        return f'{kind} "{name}" of {self.role.kind} "{self.role.name}" to {subject.kind} "{who}"'


def _cluster(binding: str) -> tuple[str, str]:
    return "ClusterRoleBinding", binding


def _subject_key(subject: Subject, namespace: str) -> str:
    """`User:bob`, `Group:devs`: under which a grant is found. A service account is the user that it speaks as."""
    if subject.kind == "ServiceAccount":
        return f"User:system:serviceaccount:{subject.namespace or namespace}:{subject.name}"
    return f"{subject.kind}:{subject.name}"


class RbacAuthorizer:
    """The index of roles and bindings, and the decisions made from it."""

    DECISIONS_LIMIT = 16_384

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # subject key -> namespace ("" for the cluster) -> grants
        self._grants: dict[str, dict[str, list[Grant]]] = {}
        self._keys_of_binding: dict[tuple[str, str], list[str]] = {}
        self._decisions: dict[tuple[object, ...], bool | frozenset[str]] = {}
        for resource in (ROLES, CLUSTER_ROLES):
            reader.on_change(resource, lambda namespace, name: self._decisions.clear())
        for resource in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            reader.on_change(resource, self._updater(resource))
            for binding in reader.list(resource):
                self._add(binding.metadata.namespace, binding.metadata.name, binding)

    def allows(self, user: UserInfo, asked: Question) -> bool:
        """Whether the user may; the fast road of every request."""
        key: tuple[object, ...]
        if asked.resource:
            key = (user.name, user.groups, asked.verb, asked.group, asked.resource, asked.subresource, asked.namespace)
        else:
            key = (user.name, user.groups, asked.verb, asked.path)
        known = self._decisions.get(key)
        if known is None:
            known = self._decide(user, asked)
            if len(self._decisions) >= self.DECISIONS_LIMIT:
                self._decisions.clear()
            self._decisions[key] = known
        return known if isinstance(known, bool) else asked.name in known

    def _decide(self, user: UserInfo, asked: Question) -> bool | frozenset[str]:
        rules = (rule for _, found in self._rules(user, asked.namespace) for rule in found or ())
        if asked.resource:
            return policy.allowed_names(rules, asked)
        return any(policy.allows(rule, asked) for rule in rules)

    def explain(self, user: UserInfo, asked: Question) -> Decision:
        """The decision with the words that a review shows: who granted it, or which roles of bindings are missing."""
        missing = []
        for grant, found in self._rules(user, asked.namespace):
            if found is None:
                kind = f"{grant.role.kind.lower()}.{GROUP}"
                missing.append(f'{kind} "{grant.role.name}" not found')
            elif any(policy.allows(rule, asked) for rule in found):
                return Decision(True, f"RBAC: allowed by {grant.words()}")
        if not missing:
            return Decision(False)
        unique = list(dict.fromkeys(missing))
        joined = unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"
        return Decision(False, f"RBAC: {joined}")

    def rules_of(self, user: UserInfo, namespace: str) -> list[PolicyRule]:
        """Every rule that the user has in a namespace, cluster-wide ones first."""
        return [rule for _, found in self._rules(user, namespace) for rule in found or ()]

    def role_rules(self, role: RoleRef, namespace: str) -> list[PolicyRule] | None:
        """The rules of a role that a binding in `namespace` refers to; None if there is no such role."""
        resource: Resource = CLUSTER_ROLES if role.kind == "ClusterRole" else ROLES
        found = self._reader.get(resource, "" if role.kind == "ClusterRole" else namespace, role.name)
        return None if found is None else (found.rules or [])

    def _rules(self, user: UserInfo, namespace: str) -> Iterator[tuple[Grant, list[PolicyRule] | None]]:
        keys = [f"User:{user.name}", *(f"Group:{group}" for group in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            for key in keys:
                for grant in self._grants.get(key, {}).get(scope, ()):
                    yield grant, self.role_rules(grant.role, grant.namespace)

    def _updater(self, resource: Resource) -> Callable[[str, str], None]:
        def changed(namespace: str, name: str) -> None:
            self._decisions.clear()
            self._remove(namespace, name)
            binding = self._reader.get(resource, namespace, name)
            if binding is not None:
                self._add(namespace, name, binding)

        return changed

    def _add(self, namespace: str, name: str, binding: object) -> None:
        keys = []
        for subject in getattr(binding, "subjects", ()):
            key = _subject_key(subject, namespace)
            keys.append(key)
            grant = Grant(namespace, name, binding.role_ref, subject)  # type: ignore[attr-defined]
            self._grants.setdefault(key, {}).setdefault(namespace, []).append(grant)
        self._keys_of_binding[namespace, name] = keys

    def _remove(self, namespace: str, name: str) -> None:
        for key in self._keys_of_binding.pop((namespace, name), ()):
            scopes = self._grants.get(key)
            if scopes is None or namespace not in scopes:
                continue
            scopes[namespace] = [g for g in scopes[namespace] if g.binding != name]
            if not scopes[namespace]:
                del scopes[namespace]
            if not scopes:
                del self._grants[key]

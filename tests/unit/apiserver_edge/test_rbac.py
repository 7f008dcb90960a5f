"""Which rules allow what, who has them, and the words of reviews. Source: the RBAC cases of upstream's own answers."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.types.rbac_v1 import PolicyRule
from carob.api.user import UserInfo
from carob.apiserver.authz import rules
from carob.apiserver.authz.aggregation import aggregated
from carob.apiserver.authz.questions import Question, refusal
from carob.apiserver.authz.rbac import CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS, RbacAuthorizer
from carob.apiserver.bootstrap import policy

GROUP = "rbac.authorization.k8s.io"


def rule(line: str) -> PolicyRule:
    return codec.from_tree(PolicyRule, policy.rule(line))


@pytest.mark.parametrize(
    ("line", "asked", "allowed"),
    [
        ("get | core | pods", Question("get", "", "pods"), True),
        ("get | core | pods", Question("list", "", "pods"), False),
        ("get | core | pods", Question("get", "apps", "pods"), False),
        ("get | core | pods", Question("get", "", "pods", "log"), False),
        ("get | core | pods/log", Question("get", "", "pods", "log"), True),
        ("* | * | *", Question("anything", "any", "thing", "sub"), True),
        ("update | apps | */scale", Question("update", "apps", "deployments", "scale"), True),
        ("update | apps | */scale", Question("update", "apps", "deployments"), False),
        ("get | core | configmaps | only", Question("get", "", "configmaps", name="only"), True),
        ("get | core | configmaps | only", Question("get", "", "configmaps", name="other"), False),
        ("get | core | configmaps | only", Question("list", "", "configmaps"), False),
        ("get | /healthz /api/*", Question("get", path="/api/v1"), True),
        ("get | /healthz /api/*", Question("get", path="/healthz/etcd"), False),
        ("* | *", Question("get", path="/metrics"), True),
        ("* | *", Question("get", "", "pods"), False),
        ("* | * | *", Question("get", path="/metrics"), False),
    ],
)
def test_one_rule(line: str, asked: Question, allowed: bool) -> None:
    assert rules.allows(rule(line), asked) is allowed


def role(name: str, *lines: str, namespace: str = "") -> dict[str, Any]:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    rules = [policy.rule(line) for line in lines]
    return {"kind": kind, "apiVersion": f"{GROUP}/v1", "metadata": metadata, "rules": rules}


def binding(
    name: str, role_kind: str, role_name: str, *subjects: dict[str, str], namespace: str = ""
) -> dict[str, Any]:
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    reference = {"apiGroup": GROUP, "kind": role_kind, "name": role_name}
    return {
        "kind": kind,
        "apiVersion": f"{GROUP}/v1",
        "metadata": metadata,
        "roleRef": reference,
        "subjects": list(subjects),
    }


def user(name: str) -> dict[str, str]:
    return {"kind": "User", "apiGroup": GROUP, "name": name}


BOB = UserInfo("bob", ("devs", "system:authenticated"))
GET_PODS = Question("get", "", "pods", namespace="a", name="p")


def test_a_cluster_role_binding_counts_everywhere_and_a_role_binding_in_its_namespace(reader: Any) -> None:
    reader.put(role("viewer", "get list | core | pods"))
    reader.put(binding("b", "ClusterRole", "viewer", user("bob"), namespace="a"))
    rbac = RbacAuthorizer(reader)
    assert rbac.allows(BOB, GET_PODS)
    assert not rbac.allows(BOB, GET_PODS._replace(namespace="other"))
    assert not rbac.allows(BOB, GET_PODS._replace(namespace=""))
    reader.put(binding("b", "ClusterRole", "viewer", {"kind": "Group", "apiGroup": GROUP, "name": "devs"}))
    assert rbac.allows(BOB, GET_PODS._replace(namespace="other"))


def test_changes_of_roles_and_bindings_count_at_once(reader: Any) -> None:
    rbac = RbacAuthorizer(reader)
    assert not rbac.allows(BOB, GET_PODS)
    reader.put(binding("b", "ClusterRole", "viewer", user("bob")))
    assert not rbac.allows(BOB, GET_PODS)
    reader.put(role("viewer", "get | core | pods"))
    assert rbac.allows(BOB, GET_PODS)
    reader.put(role("viewer", "list | core | pods"))
    assert not rbac.allows(BOB, GET_PODS)
    reader.put(role("viewer", "get | core | pods"))
    reader.put(binding("b", "ClusterRole", "viewer", user("eve")))
    assert not rbac.allows(BOB, GET_PODS)
    reader.put(binding("b", "ClusterRole", "viewer", user("bob")))
    assert rbac.allows(BOB, GET_PODS)
    reader.delete(CLUSTER_ROLE_BINDINGS, "", "b")
    assert not rbac.allows(BOB, GET_PODS)


def test_two_bindings_of_one_name_in_two_namespaces_do_not_mix(reader: Any) -> None:
    reader.put(role("viewer", "get | core | pods"))
    reader.put(binding("b", "ClusterRole", "viewer", user("bob"), namespace="a"))
    reader.put(binding("b", "ClusterRole", "viewer", user("bob"), namespace="z"))
    rbac = RbacAuthorizer(reader)
    reader.delete(ROLE_BINDINGS, "z", "b")
    assert rbac.allows(BOB, GET_PODS)
    assert not rbac.allows(BOB, GET_PODS._replace(namespace="z"))


def test_names_are_looked_at_although_decisions_are_remembered(reader: Any) -> None:
    reader.put(role("named", "get | core | pods | p", namespace="a"))
    reader.put(binding("b", "Role", "named", user("bob"), namespace="a"))
    rbac = RbacAuthorizer(reader)
    assert rbac.allows(BOB, GET_PODS)
    assert not rbac.allows(BOB, GET_PODS._replace(name="q"))
    assert rbac.allows(BOB, GET_PODS)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            binding("b", "ClusterRole", "viewer", user("bob")),
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "viewer" to User "bob"',
        ),
        (
            binding("b", "ClusterRole", "viewer", user("bob"), namespace="a"),
            'RBAC: allowed by RoleBinding "b/a" of ClusterRole "viewer" to User "bob"',
        ),
        (
            binding("b", "ClusterRole", "viewer", {"kind": "ServiceAccount", "name": "s", "namespace": "x"}),
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "viewer" to ServiceAccount "s/x"',
        ),
    ],
)
def test_who_allowed_it(reader: Any, tree: dict[str, Any], words: str) -> None:
    reader.put(role("viewer", "get | core | pods"))
    reader.put(tree)
    who = UserInfo("system:serviceaccount:x:s") if "ServiceAccount" in words else BOB
    assert RbacAuthorizer(reader).explain(who, GET_PODS) == (True, words)


def test_a_binding_to_a_role_that_is_not_there_says_so(reader: Any) -> None:
    reader.put(binding("b", "Role", "gone", user("bob"), namespace="a"))
    decision = RbacAuthorizer(reader).explain(BOB, GET_PODS)
    assert decision == (False, 'RBAC: role.rbac.authorization.k8s.io "gone" not found')


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            Question("get", "", "secrets", "", "golden", "x"),
            'secrets "x" is forbidden: User "bob" cannot get resource "secrets" in API group "" in the namespace "golden"',
        ),
        (
            Question("list", "apps", "deployments"),
            'deployments.apps is forbidden: User "bob" cannot list resource "deployments" in API group "apps" '
            "at the cluster scope",
        ),
        (
            Question("create", "", "pods", "exec", "golden", "zz"),
            'pods "zz" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" '
            'in the namespace "golden"',
        ),
        (Question("get", path="/metrics"), 'forbidden: User "bob" cannot get path "/metrics"'),
    ],
)
def test_the_words_of_a_refusal(asked: Question, message: str) -> None:
    error = refusal("bob", asked, "")
    assert (error.code, error.message) == (403, message)
    assert refusal("bob", asked, "because").message == message + ": because"


def test_an_aggregated_role_is_the_sum_of_what_it_selects(reader: Any) -> None:
    whole = reader.put(role("whole") | {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "1"}}]}})
    parts = [
        reader.put(role("z", "get | core | pods") | {"metadata": {"name": "z", "labels": {"part": "1"}}}),
        reader.put(
            role("a", "list | core | pods", "get | core | pods") | {"metadata": {"name": "a", "labels": {"part": "1"}}}
        ),
        reader.put(role("other", "delete | core | pods")),
    ]
    assert aggregated(whole, [whole, *parts]) == [rule("list | core | pods"), rule("get | core | pods")]


def test_the_built_in_roles_are_whole() -> None:
    roles = {tree["metadata"]["name"]: tree for tree in policy.cluster_roles()}
    assert {"cluster-admin", "admin", "edit", "view", "system:node", "system:kube-scheduler"} <= roles.keys()
    view = {verb for one in roles["view"]["rules"] for verb in one["verbs"]}
    assert view == {"get", "list", "watch"}
    assert all(one in roles["admin"]["rules"] for one in roles["edit"]["rules"])
    known = set(roles)
    assert all(one["roleRef"]["name"] in known for one in policy.cluster_role_bindings())

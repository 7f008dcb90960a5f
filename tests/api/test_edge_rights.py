"""Who gets in over the edge of the API server, and who may do what."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.user import ANONYMOUS
from tests.api.asking import ACCOUNT, ACCOUNTS, BOB, Asker, WithServer, soon


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/version", 200),
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/livez/etcd", 403),
        ("/api", 403),
        ("/apis", 403),
        ("/openapi/v3", 403),
        ("/metrics", 403),
        ("/api/v1/pods", 403),
        ("/nowhere", 403),
    ],
)
def test_what_strangers_see(with_server: WithServer, path: str, code: int) -> None:
    async def body(api: Asker) -> None:
        status, _ = await api.ask("GET", path, user=ANONYMOUS)
        assert status == code

    with_server(body)


ROLES = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"


def grant(name: str, role: str, user: str) -> dict[str, Any]:
    return {
        "kind": "RoleBinding",
        "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": user}],
    }


def test_rights_come_and_go_with_a_binding(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        pods = "/api/v1/namespaces/default/pods"
        assert (await api.ask("GET", pods, user=BOB))[0] == 403
        bindings = f"{ROLES}/namespaces/default/rolebindings"
        assert (await api.ask("POST", bindings, grant("b", "view", "bob")))[0] == 201
        assert (await api.ask("GET", pods, user=BOB))[0] == 200
        assert (await api.ask("GET", "/api/v1/namespaces/kube-system/pods", user=BOB))[0] == 403
        assert (await api.ask("DELETE", f"{bindings}/b"))[0] == 200
        assert (await api.ask("GET", pods, user=BOB))[0] == 403

    with_server(body)


def test_nobody_gives_away_more_than_they_have(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        bindings = f"{ROLES}/namespaces/default/rolebindings"
        await api.ask("POST", bindings, grant("b", "admin", "bob"))
        status, answer = await api.ask("POST", bindings, grant("more", "cluster-admin", "bob"), user=BOB)
        assert status == 403
        assert answer["message"] == (
            'rolebindings.rbac.authorization.k8s.io "more" is forbidden: user "bob" (groups=["system:authenticated"]) '
            "is attempting to grant RBAC permissions not currently held:\n"
            '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'
        )
        assert (await api.ask("POST", bindings, grant("same", "view", "eve"), user=BOB))[0] == 201
        status, answer = await api.ask("POST", bindings, grant("none", "nope", "eve"), user=BOB)
        assert (status, answer["message"]) == (404, 'rolebindings.rbac.authorization.k8s.io "nope" not found')

    with_server(body)


def test_who_may_not_create_may_not_create_by_put_or_apply(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        rules = [{"verbs": ["get", "update", "patch"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}]
        role = {"kind": "ClusterRole", "apiVersion": f"{GROUP}/v1", "metadata": {"name": "renewer"}, "rules": rules}
        await api.ask("POST", f"{ROLES}/clusterroles", role)
        await api.ask("POST", f"{ROLES}/namespaces/default/rolebindings", grant("b", "renewer", "bob"))
        path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/mine"
        lease = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": "mine"}}
        apply = {"content-type": "application/apply-patch+yaml"}
        for answer in (
            await api.ask("PUT", path, lease, user=BOB),
            await api.ask("PATCH", f"{path}?fieldManager=m", lease, user=BOB, headers=apply),
        ):
            assert answer[0] == 403
            assert 'User "bob" cannot create resource "leases"' in answer[1]["message"]
        status, made = await api.ask("PUT", path, lease)
        assert status == 201
        assert (await api.ask("PUT", path, made, user=BOB))[0] == 200

    with_server(body)


def test_an_aggregated_role_follows_its_parts(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        whole: dict[str, Any] = {
            "kind": "ClusterRole",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {"name": "whole"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "1"}}]},
        }
        rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
        part: dict[str, Any] = {
            "kind": "ClusterRole",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {"name": "part", "labels": {"part": "1"}},
            "rules": rules,
        }
        await api.ask("POST", f"{ROLES}/clusterroles", whole)
        await api.ask("POST", f"{ROLES}/clusterroles", part)

        async def found() -> bool:
            return bool((await api.ask("GET", f"{ROLES}/clusterroles/whole"))[1].get("rules") == rules)

        await soon(found)

    with_server(body)


def test_speaking_for_somebody_else(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        tree = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
        headers = {"impersonate-user": "carol", "impersonate-group": "devs, ops"}
        status, answer = await api.ask("POST", path, tree, headers=headers)
        assert status == 201
        assert answer["status"]["userInfo"] == {
            "username": "carol",
            "groups": ["devs", "ops", "system:authenticated"],
        }
        status, answer = await api.ask("GET", "/api/v1/pods", user=BOB, headers=headers)
        assert status == 403
        assert "cannot impersonate-on:user-info:list resource" in answer["message"]

    with_server(body)


def test_reviews(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        tree = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {
                "user": "system:kube-scheduler",
                "resourceAttributes": {
                    "verb": "create",
                    "resource": "pods",
                    "subresource": "binding",
                    "namespace": "x",
                },
            },
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        status, answer = await api.ask("POST", path, tree)
        assert status == 201
        assert answer["status"] == {
            "allowed": True,
            "reason": 'RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole '
            '"system:kube-scheduler" to User "system:kube-scheduler"',
        }
        status, answer = await api.ask("POST", path, tree | {"spec": {}})
        assert (status, answer["reason"]) == (422, "Invalid")
        status, _ = await api.ask("GET", path)
        assert status == 405

    with_server(body)


def test_a_token_lets_its_account_in_until_the_account_goes(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        await api.ask("POST", ACCOUNTS, ACCOUNT)
        request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
        status, answer = await api.ask("POST", f"{ACCOUNTS}/robot/token", request)
        assert status == 201
        assert answer["spec"]["expirationSeconds"] == 3600
        token = answer["status"]["token"]
        headers = {"authorization": f"Bearer {token}"}
        status, answer = await api.ask("GET", "/api/v1/namespaces/default/pods", user=None, headers=headers)
        assert status == 403
        assert 'User "system:serviceaccount:default:robot" cannot list' in answer["message"]
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token}}
        _, answer = await api.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        assert answer["status"]["user"]["username"] == "system:serviceaccount:default:robot"
        await api.ask("DELETE", f"{ACCOUNTS}/robot")
        assert (await api.ask("GET", "/api", user=None, headers=headers))[0] == 401
        _, answer = await api.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        assert "authenticated" not in answer["status"]

    with_server(body)


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        ({"expirationSeconds": 5}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 99999999999}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "gone"}}, 404, 'pods "gone" not found'),
        ({"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "d"}}, 400, "cannot bind token"),
        ({"expirationSeconds": "soon"}, 400, ""),
    ],
)
def test_tokens_that_are_refused(with_server: WithServer, spec: dict[str, Any], code: int, words: str) -> None:
    async def body(api: Asker) -> None:
        await api.ask("POST", ACCOUNTS, ACCOUNT)
        request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        status, answer = await api.ask("POST", f"{ACCOUNTS}/robot/token", request)
        assert status == code
        assert words in answer["message"]

    with_server(body)


def test_the_keys_of_tokens_are_public_to_accounts(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        _, found = await api.ask("GET", "/.well-known/openid-configuration")
        assert found["issuer"] == "https://kubernetes.default.svc"
        _, keys = await api.ask("GET", "/openid/v1/jwks")
        assert keys["keys"][0]["alg"] == "ES256"

    with_server(body)

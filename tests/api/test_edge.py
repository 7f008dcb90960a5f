"""The edge of the API server over its handler: who gets in, what is there after first boot, what each path answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import pytest

from carob.api.user import ANONYMOUS, UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
BOB = UserInfo("bob", ("system:authenticated",))


class Asker:
    """Asks the handler as somebody."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    async def respond(
        self,
        method: str,
        target: str,
        tree: Any = None,
        user: UserInfo | None = ADMIN,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        path, _, query = target.partition("?")
        body = b"" if tree is None else orjson.dumps(tree)
        answer = self.server.handle(Request(method, path, query, dict(headers or {}), body, user, raw_target=target))
        return answer if isinstance(answer, Response) else await answer

    async def ask(self, method: str, target: str, tree: Any = None, user: UserInfo | None = ADMIN, **more: Any) -> Any:
        """Status code and decoded body."""
        response = await self.respond(method, target, tree, user, **more)
        body = response.body or b"".join(response.segments or ())
        try:
            return response.status, orjson.loads(body)
        except orjson.JSONDecodeError:
            return response.status, body.decode()


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once the condition holds, which a background part of the server brings about."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - from outside there is no event to wait for
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ApiServerOptions:
    pki = ensure_pki(tmp_path_factory.mktemp("pki"), PkiOptions(), SystemClock().now())
    return ApiServerOptions(
        client_ca_pem=pki.ca.certificate.read_bytes(), service_account_key_pem=pki.service_account_key.read_bytes()
    )


@pytest.fixture
def with_server(options: ApiServerOptions) -> Callable[[Callable[[Asker], Awaitable[None]]], None]:
    def run(body: Callable[[Asker], Awaitable[None]]) -> None:
        async def main() -> None:
            server = ApiServer(MemoryStore(), options, SystemClock(), SystemRandomness())
            await server.start()
            try:
                await body(Asker(server))
            finally:
                await server.close()

        asyncio.run(main())

    return run


WithServer = Callable[[Callable[[Asker], Awaitable[None]]], None]


def test_what_a_new_cluster_holds(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        _, namespaces = await api.ask("GET", "/api/v1/namespaces")
        names = [item["metadata"]["name"] for item in namespaces["items"]]
        assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
        _, service = await api.ask("GET", "/api/v1/namespaces/default/services/kubernetes")
        assert service["spec"]["clusterIP"] == "10.43.0.1"
        base = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        _, endpoints = await api.ask("GET", base)
        assert endpoints["endpoints"] == [{"addresses": ["10.42.0.1"], "conditions": {"ready": True}}]
        _, roles = await api.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")
        assert len(roles["items"]) == 72  # upstream's 71, and the reader of metrics
        _, view = await api.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view")
        assert view["rules"]
        _, levels = await api.ask("GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas")
        assert len(levels["items"]) == 11
        assert levels["items"][0]["status"]["conditions"][0]["type"] == "Dangling"

    with_server(body)


def test_a_second_start_writes_nothing_and_mends_what_was_taken(options: ApiServerOptions) -> None:
    async def main() -> None:
        store = MemoryStore()
        clock, randomness = SystemClock(), SystemRandomness()
        first = ApiServer(store, options, clock, randomness)
        await first.start()
        await first.close()
        revision = store.revision
        second = ApiServer(store, options, clock, randomness)
        await second.start()
        assert store.revision == revision
        api = Asker(second)
        path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:discovery"
        _, role = await api.ask("GET", path)
        status, _ = await api.ask("PUT", path, role | {"rules": []})
        assert status == 200
        await second.close()
        third = ApiServer(store, options, clock, randomness)
        await third.start()
        _, mended = await Asker(third).ask("GET", path)
        assert mended["rules"] == role["rules"]
        await third.close()

    asyncio.run(main())


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


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [
        ("GET", "/nowhere", 404, "404 page not found\n"),
        ("GET", "/apis/nope.example.com/v1/foos", 404, "404 page not found\n"),
        ("GET", "/apis/nope.example.com", 404, "404 page not found\n"),
        ("GET", "/api/v1/namespaces/golden/foos", 404, "the server could not find the requested resource"),
        ("GET", "/apis/apps/v9/deployments", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/namespaces/default/pods/x/nope", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/namespaces/default/nodes", 404, "the server could not find the requested resource"),
        ("POST", "/api/v1/configmaps", 405, "the server does not allow this method on the requested resource"),
        (
            "POST",
            "/api/v1/namespaces/a/configmaps/x",
            405,
            "the server does not allow this method on the requested resource",
        ),
        ("DELETE", "/api/v1/namespaces", 405, "the server does not allow this method on the requested resource"),
        ("PUT", "/version", 405, "the server does not allow this method on the requested resource"),
        ("GET", "/api/v1/namespaces/default/pods/x", 404, 'pods "x" not found'),
    ],
)
def test_paths_and_methods_that_lead_nowhere(
    with_server: WithServer, method: str, path: str, code: int, message: str
) -> None:
    async def body(api: Asker) -> None:
        status, answer = await api.ask(method, path)
        assert status == code
        assert (answer if isinstance(answer, str) else answer["message"]) == message

    with_server(body)


def test_a_body_that_is_too_large(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        tree = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"k": "x" * (3 << 20)}}
        status, answer = await api.ask("POST", "/api/v1/namespaces/default/configmaps", tree)
        assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")
        assert answer["message"] == "Request entity too large: limit is 3145728"

    with_server(body)


@pytest.mark.parametrize(
    "media", ["application/json", "application/yaml", "application/merge-patch+json", "application/apply-patch+yaml"]
)
def test_a_body_of_too_many_values(with_server: WithServer, media: str) -> None:
    """It would be decoded, defaulted and validated for seconds, while nobody else is answered."""

    async def body(api: Asker) -> None:
        maps = "/api/v1/namespaces/default/configmaps"
        method, target = ("PATCH", f"{maps}/x?fieldManager=me") if "patch" in media else ("POST", maps)
        tree: dict[str, Any] = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}}
        few = tree | {"data": {"k": '",[{\\' * 100_000}}
        await api.ask("POST", maps, tree)
        many = tree | {"data": [{}] * 100_000}
        status, answer = await api.ask(method, target, many, headers={"content-type": media})
        assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")
        words = "Request entity is too large: The allowed maximum of values in a body is 100000"
        assert answer["message"] == words
        await api.ask("DELETE", f"{maps}/x")
        status, _ = await api.ask("POST", maps, few)
        assert status == 201  # marks in texts are none

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


def test_what_is_never_kept_has_no_table(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        tree = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        status, answer = await api.ask("POST", path, tree, headers={"accept": table})
        assert (status, answer["reason"]) == (406, "NotAcceptable")
        status, answer = await api.ask("POST", path, tree, headers={"accept": f"{table},application/json"})
        assert (status, answer["kind"]) == (201, "SelfSubjectAccessReview")

    with_server(body)


ACCOUNT = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "robot"}}
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


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


POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
PODS = "/api/v1/namespaces/default/pods"


def test_a_pod_waits_a_moment_for_the_default_account(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        pod = asyncio.get_running_loop().create_task(api.ask("POST", PODS, POD))
        await asyncio.sleep(0)
        account = ACCOUNT | {"metadata": {"name": "default"}}
        assert (await api.ask("POST", ACCOUNTS, account))[0] == 201
        status, answer = await pod
        assert status == 201
        assert answer["spec"]["serviceAccountName"] == "default"

    with_server(body)


def test_another_missing_account_is_refused_at_once(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        pod = POD | {"spec": {"serviceAccountName": "nobody", "containers": [{"name": "c", "image": "i"}]}}
        status, answer = await api.ask("POST", PODS, pod)
        assert (status, answer["message"]) == (
            403,
            'pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found',
        )

    with_server(body)


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("log?container=x", 400, "container x is not valid for pod two"),
        ("log", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("log?container=a", 200, ""),
        ("log?container=a&tailLines=-1", 422, None),
        ("log?container=a&tailLines=x", 400, None),
        ("exec?container=a&command=ls", 400, "pod two does not have a host assigned"),
        ("exec?command=ls", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("portforward", 400, "pod two does not have a host assigned"),
        ("attach?container=b", 400, "pod two does not have a host assigned"),
    ],
)
def test_streams_of_a_pod_that_runs_nowhere(
    with_server: WithServer, target: str, code: int, message: str | None
) -> None:
    async def body(api: Asker) -> None:
        await api.ask("POST", ACCOUNTS, ACCOUNT | {"metadata": {"name": "default"}})
        containers = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]
        pod = POD | {"metadata": {"name": "two"}, "spec": {"containers": containers}}
        assert (await api.ask("POST", PODS, pod))[0] == 201
        status, answer = await api.ask("GET", f"{PODS}/two/{target}")
        assert status == code
        if message is not None:
            assert (answer if isinstance(answer, str) else answer["message"]) == message
        assert (await api.ask("GET", f"{PODS}/nope/{target}"))[0] in (404, code)

    with_server(body)


def test_metrics_count_requests(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        await api.ask("GET", "/api/v1/namespaces/default/pods")
        await api.ask("GET", "/api/v1/namespaces/default/pods/x")
        _, text = await api.ask("GET", "/metrics")
        assert 'resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 1' in text
        assert 'apiserver_request_total{code="404"' in text

    with_server(body)


def test_the_keys_of_tokens_are_public_to_accounts(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        _, found = await api.ask("GET", "/.well-known/openid-configuration")
        assert found["issuer"] == "https://kubernetes.default.svc"
        _, keys = await api.ask("GET", "/openid/v1/jwks")
        assert keys["keys"][0]["alg"] == "ES256"

    with_server(body)


def test_component_statuses_come_as_a_table_too(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
        _, table = await api.ask("GET", "/api/v1/componentstatuses", headers=accept)
        assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Status", "Message", "Error"]
        assert [r["cells"] for r in table["rows"]] == [
            ["controller-manager", "Healthy", "ok", ""],
            ["etcd-0", "Healthy", "ok", ""],
            ["scheduler", "Healthy", "ok", ""],
        ]
        _, one = await api.ask("GET", "/api/v1/componentstatuses/scheduler")
        assert (one["kind"], one["metadata"]) == ("ComponentStatus", {"name": "scheduler"})
        assert (await api.ask("GET", "/api/v1/componentstatuses/nope"))[0] == 404

    with_server(body)


def test_a_bug_is_a_500_and_names_no_internals(with_server: WithServer, caplog: pytest.LogCaptureFixture) -> None:
    async def body(api: Asker) -> None:
        def broken(*_: Any) -> Response:
            raise RuntimeError("oops")

        api.server._dispatcher.register("", "componentstatuses", "", broken)
        status, answer = await api.ask("GET", "/api/v1/componentstatuses")
        assert (status, answer["reason"]) == (500, "InternalError")
        assert "RuntimeError: oops" in caplog.text

    with_server(body)


def quota(**hard: str) -> dict[str, Any]:
    spec = {"hard": hard}
    return {"kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": "q"}, "spec": spec}


def config_map(name: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}}


QUOTAS = "/api/v1/namespaces/default/resourcequotas"


async def quota_with(api: Asker, **hard: str) -> None:
    """A quota whose status says what holds."""
    await api.ask("POST", QUOTAS, quota(**hard))
    await says(api, "hard", hard)


async def says(api: Asker, part: str, amounts: dict[str, str]) -> None:
    """Return when `hard` or `used` of the quota's status says so."""

    async def holds() -> bool:
        _, found = await api.ask("GET", f"{QUOTAS}/q")
        return bool(found["status"].get(part) == amounts)

    await soon(holds)


def test_the_last_place_of_a_quota_is_given_once_and_again_when_it_is_free(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        await quota_with(api, configmaps="2")
        maps = "/api/v1/namespaces/default/configmaps"
        answers = await asyncio.gather(*(api.ask("POST", maps, config_map(f"m{n}")) for n in range(8)))
        codes = sorted(code for code, _ in answers)
        assert codes == [201, 201, *[403] * 6]
        refused = next(answer for code, answer in answers if code == 403)
        assert (
            "exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
            in (refused["message"])
        )
        await says(api, "used", {"configmaps": "2"})
        name = next(answer["metadata"]["name"] for code, answer in answers if code == 201)
        await api.ask("DELETE", f"{maps}/{name}")
        await says(api, "used", {"configmaps": "1"})
        assert (await api.ask("POST", maps, config_map("next")))[0] == 201
        assert (await api.ask("POST", maps, config_map("last")))[0] == 403

    with_server(body)


def test_a_quota_counts_what_was_there_before_and_follows_its_spec(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        for name in ("a", "b"):
            await api.ask("POST", "/api/v1/namespaces/default/configmaps", config_map(name))
        hpa = {"scaleTargetRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}, "maxReplicas": 2}
        tree = {
            "kind": "HorizontalPodAutoscaler",
            "apiVersion": "autoscaling/v2",
            "metadata": {"name": "h"},
            "spec": hpa,
        }
        await api.ask("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", tree)
        hard: dict[str, str] = {
            "count/configmaps": "1",
            "count/horizontalpodautoscalers.autoscaling": "5",
            "requests.cpu": "2",
        }
        await quota_with(api, **hard)
        used = {"count/configmaps": "2", "count/horizontalpodautoscalers.autoscaling": "1", "requests.cpu": "0"}
        await says(api, "used", used)
        headers = {"content-type": "application/json-patch+json"}
        patch = [{"op": "replace", "path": "/spec/hard", "value": {"configmaps": "7"}}]
        await api.ask("PATCH", f"{QUOTAS}/q", patch, headers=headers)
        await says(api, "hard", {"configmaps": "7"})
        await says(api, "used", {"configmaps": "2"})

    with_server(body)


def test_what_is_refused_anyway_costs_nothing(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        await quota_with(api, configmaps="2")
        maps = "/api/v1/namespaces/default/configmaps"
        assert (await api.ask("POST", maps, config_map("m")))[0] == 201
        assert (await api.ask("POST", maps, config_map("m")))[0] == 409
        assert (await api.ask("POST", f"{maps}?dryRun=All", config_map("dry")))[0] == 201
        assert (await api.ask("POST", maps, config_map("n")))[0] == 201

    with_server(body)


def test_the_older_openapi_document_comes_over_http(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        status, tree = await api.ask("GET", "/openapi/v2")
        assert (status, tree["swagger"]) == (200, "2.0")
        assert "io.k8s.api.core.v1.Pod" in tree["definitions"]
        accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        answer = await api.respond("GET", "/openapi/v2", headers={"accept": accept})
        assert answer.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        assert answer.body.startswith(b"\x0a\x032.0\x12")
        status, _ = await api.ask("POST", "/openapi/v2", {})
        assert status == 405

    with_server(body)


def test_odd_requests_are_the_clients_fault(with_server: Callable[[Callable[[Asker], Awaitable[None]]], None]) -> None:
    """Each of these was met by `scripts/soak requests` as a 500 or as a watch without an end."""

    async def body(asker: Asker) -> None:
        sets = "/api/v1/namespaces/default/configmaps"
        json_body = {"content-type": "application/json"}
        for name in ("a", "b"):
            assert (await asker.ask("POST", sets, {"metadata": {"name": name}}, headers=json_body))[0] == 201
        # a collection whose objects do not meet the precondition: the first refusal is the answer
        status, answer = await asker.ask("DELETE", sets, {"preconditions": {"uid": "x"}}, headers=json_body)
        assert (status, answer["reason"]) == (409, "Conflict")
        deep: dict[str, Any] = {}
        for _ in range(200):
            deep = {"a": deep}
        deep_text = orjson.dumps(deep).replace(b"{}", b'{"a":' * 1500 + b"{}" + b"}" * 1500)
        request = Request("DELETE", f"{sets}/a", "", json_body, deep_text, ADMIN)
        response = asker.server.handle(request)
        assert (response if isinstance(response, Response) else await response).status == 400
        for method in ("OPTIONS", "HEAD", "POST"):
            assert (await asker.ask(method, "/api/v1/watch/pods"))[0] == 405
        # a number that no machine word holds, where decoding does not look
        text = b'{"metadata":{"name":"a","managedFields":[18446744073709551616]}}'
        response = asker.server.handle(Request("PUT", f"{sets}/a", "", json_body, text, ADMIN))
        status = (response if isinstance(response, Response) else await response).status
        assert status == 400
        # a name that no header can carry, and more warnings than a head should have
        odd = {"metadata": {"name": "c"}, "\u0000": 1, "fine": 2}
        response = await asker.respond("POST", sets, odd, headers=json_body)
        assert [value for name, value in response.headers if name == "Warning"] == ['299 - "unknown field \\"fine\\""']
        many = {"metadata": {"name": "d"}, **{f"{number}{'x' * 500}": 1 for number in range(40)}}
        response = await asker.respond("POST", sets, many, headers=json_body)
        assert 0 < sum(len(value) for name, value in response.headers if name == "Warning") < 5000
        # a grace that ends after the year 9999
        account = {"metadata": {"name": "default"}}
        await asker.ask("POST", "/api/v1/namespaces/default/serviceaccounts", account, headers=json_body)
        pods = "/api/v1/namespaces/default/pods"
        pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
        assert (await asker.ask("POST", pods, pod, headers=json_body))[0] == 201
        status, gone = await asker.ask("DELETE", f"{pods}/p?gracePeriodSeconds=9223372036854775807")
        assert (status, gone["metadata"]["deletionTimestamp"]) == (200, "9999-12-31T23:59:59Z")

    with_server(body)


def test_a_packed_document_is_not_written_anew(
    with_server: Callable[[Callable[[Asker], Awaitable[None]]], None],
) -> None:
    async def body(asker: Asker) -> None:
        headers = {"accept": "application/cbor", "accept-encoding": "gzip"}
        for _ in range(2):
            response = await asker.respond("GET", "/openapi/v3/api/v1", headers=headers)
            assert (response.status, response.body[:2]) == (200, b"\x1f\x8b")

    with_server(body)


def test_numbers_that_no_machine_word_holds(with_server: Callable[[Callable[[Asker], Awaitable[None]]], None]) -> None:
    async def body(asker: Asker) -> None:
        for spec in (b'[{"name":"a","image":"i","ports":[{"containerPort":@}]}]', b'[{"name":@}]'):
            for number in (b"1e19", b"18446744073709551616", b"-9e30"):
                text = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":' + spec + b"}}"
                media = {"content-type": "application/apply-patch+yaml"}
                path = "/api/v1/namespaces/default/pods/p"
                request = Request("PATCH", path, "fieldManager=me", media, text.replace(b"@", number), ADMIN)
                response = asker.server.handle(request)
                assert (response if isinstance(response, Response) else await response).status in (400, 422)

    with_server(body)

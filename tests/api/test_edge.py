"""The edge of the API server over its handler: what is there after first boot, what each path answers, odd requests."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response
from tests.api.asking import ACCOUNT, ACCOUNTS, ADMIN, Asker, WithServer


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
        assert 'kubernetes_healthcheck{name="shutdown",type="readyz"} 1' in text
        deprecated = "apiserver_requested_deprecated_apis{"
        assert deprecated not in text
        await api.ask("GET", "/api/v1/endpoints")
        _, text = await api.ask("GET", "/metrics")
        labels = 'group="",removed_release="",resource="endpoints",subresource="",version="v1"'
        assert [line for line in text.splitlines() if line.startswith(deprecated)] == [f"{deprecated}{labels}}} 1"]

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


def test_odd_requests_are_the_clients_fault(with_server: WithServer) -> None:
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
    with_server: WithServer,
) -> None:
    async def body(asker: Asker) -> None:
        headers = {"accept": "application/cbor", "accept-encoding": "gzip"}
        for _ in range(2):
            response = await asker.respond("GET", "/openapi/v3/api/v1", headers=headers)
            assert (response.status, response.body[:2]) == (200, b"\x1f\x8b")

    with_server(body)


def test_numbers_that_no_machine_word_holds(with_server: WithServer) -> None:
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

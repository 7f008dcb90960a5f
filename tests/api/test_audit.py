"""What the audit log says of requests, at each level and stage.

Answers the page "Auditing" of upstream's documentation; the fields are those of audit.k8s.io/v1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from carob.api import protobuf
from carob.api.user import UserInfo
from carob.apiserver.audit.policy import REQUEST_RESPONSE, AuditOptions, Decision, read
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.apiserver.types import RequestInfo
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response
from tests.fakes.engine_world import FakeSink

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"), extra={"k": ("v",)})
BOB = UserInfo("bob", ("system:authenticated",))
MAPS = "/api/v1/namespaces/default/configmaps"
TIMES = ("requestReceivedTimestamp", "stageTimestamp")


class World:
    def __init__(self, api: ApiServer, file: Path) -> None:
        self._api = api
        self._file = file
        self._seen = 0

    async def ask(
        self, method: str, target: str, tree: Any = None, user: UserInfo | None = ADMIN, **headers: str
    ) -> Response:
        path, _, query = target.partition("?")
        sent = {"content-type": "application/json", "user-agent": "test"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = tree if isinstance(tree, bytes) else b"" if tree is None else orjson.dumps(tree)
        answer = self._api.handle(Request(method, path, query, sent, body, user, raw_target=target))
        return answer if isinstance(answer, Response) else await answer

    def events(self, *about: str) -> list[dict[str, Any]]:
        """What was written since the last look of the resources (or paths) that a test is about."""
        lines = self._file.read_bytes().splitlines() if self._file.exists() else []
        new, self._seen = [orjson.loads(line) for line in lines[self._seen :]], len(lines)
        return [one for one in new if one.get("objectRef", {}).get("resource", one["requestURI"]) in about]


InWorld = Callable[..., None]


@pytest.fixture
def in_world(tmp_path: Path) -> InWorld:
    def run(body: Callable[[World], Awaitable[None]], *rules: dict[str, Any], **more: Any) -> None:
        async def main() -> None:
            file = tmp_path / "audit.log"
            policy = read(yaml.safe_dump({"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": rules} | more))
            options = ApiServerOptions(audit=AuditOptions(policy, str(file)))
            api = ApiServer(MemoryStore(), options, SystemClock(), SystemRandomness())
            await api.start()
            world = World(api, file)
            world.events()
            await body(world)
            await api.close()

        asyncio.run(main())

    return run


def test_a_request_is_written_when_it_comes_and_when_it_is_answered(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        answer = await world.ask("GET", f"{MAPS}?limit=1", audit_id="abc", x_forwarded_for="192.0.2.1")
        assert ("Audit-Id", "abc") in answer.headers
        received, complete = world.events("configmaps")
        assert (
            received["stageTimestamp"] == received["requestReceivedTimestamp"] == complete["requestReceivedTimestamp"]
        )
        for event in (received, complete):
            for name in TIMES:
                del event[name]
        shared = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": "abc",
            "requestURI": f"{MAPS}?limit=1",
            "verb": "list",
            "user": {
                "username": "admin",
                "groups": ["system:masters", "system:authenticated"],
                "extra": {"k": ["v"]},
            },
            "sourceIPs": ["192.0.2.1", "127.0.0.1"],
            "userAgent": "test",
            "objectRef": {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"},
        }
        assert received == shared | {"stage": "RequestReceived"}
        assert complete == shared | {
            "stage": "ResponseComplete",
            "responseStatus": {"metadata": {}, "code": 200},
            "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
        }
        other = dict((await world.ask("GET", "/version")).headers)["Audit-Id"]
        assert {one["auditID"] for one in world.events("/version")} == {other}

    in_world(body, {"level": "Metadata"})


def test_who_is_refused_is_written_with_the_reason(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.ask("GET", MAPS, user=BOB)
        (event,) = world.events("configmaps")
        assert event["annotations"] == {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""}
        status = event["responseStatus"]
        assert (status["code"], status["reason"], status["status"]) == (403, "Forbidden", "Failure")
        assert status["message"].startswith('configmaps is forbidden: User "bob" cannot list')
        await world.ask("GET", MAPS, user=None, authorization="Bearer nonsense")
        (event,) = world.events("configmaps")
        assert (event["stage"], event["user"]) == ("ResponseStarted", {})
        message = "Authentication failed, attempted: bearer"
        assert event["responseStatus"] == {"metadata": {}, "code": 401, "message": message}
        await world.ask("GET", MAPS, user=None)
        (event,) = world.events("configmaps")
        assert event["user"]["username"] == "system:anonymous"

    in_world(body, {"level": "RequestResponse"}, omitStages=["RequestReceived"])


def test_for_whom_somebody_speaks(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.ask("GET", MAPS, impersonate_user="bob")
        (event,) = world.events("configmaps")
        assert (event["user"]["username"], event["impersonatedUser"]["username"]) == ("admin", "bob")
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"

    in_world(body, {"level": "Metadata"}, omitStages=["RequestReceived"])


@pytest.mark.parametrize("media", ["application/json", "application/vnd.kubernetes.protobuf"])
def test_objects_are_written_as_far_as_the_level_says(in_world: InWorld, media: str) -> None:
    async def body(world: World) -> None:
        tree = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
        sent = protobuf.encode(tree) if "protobuf" in media else tree
        await world.ask("POST", "/api/v1/namespaces/default/secrets", sent, content_type=media, accept=media)
        (event,) = world.events("secrets")
        assert event["objectRef"] == {"resource": "secrets", "namespace": "default", "name": "s", "apiVersion": "v1"}
        assert event["responseStatus"] == {"metadata": {}, "code": 201}
        asked, answered = event["requestObject"], event["responseObject"]
        assert (asked["type"], asked["data"], asked["kind"]) == ("Opaque", {"a": "Yg=="}, "Secret")
        assert (answered["data"], answered["kind"]) == ({"a": "Yg=="}, "Secret")
        assert "managedFields" not in answered["metadata"]
        patch = {"metadata": {"labels": {"x": "y"}}}
        await world.ask(
            "PATCH", "/api/v1/namespaces/default/secrets/s", patch, content_type="application/merge-patch+json"
        )
        await world.ask("DELETE", "/api/v1/namespaces/default/secrets/s", {"gracePeriodSeconds": 0})
        patched, deleted = world.events("secrets")
        assert patched["requestObject"] == patch
        assert deleted["requestObject"] == {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        assert deleted["responseStatus"]["status"] == "Success"

    rule = {"level": "RequestResponse", "omitManagedFields": True, "resources": [{"resources": ["secrets"]}]}
    in_world(body, rule, omitStages=["RequestReceived"])


def test_a_request_alone(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.ask("POST", MAPS, b"metadata: {name: m}\ndata: {a: b}", content_type="application/yaml")
        await world.ask("POST", MAPS, b"{", content_type="application/json")
        good, bad = world.events("configmaps")
        assert good["requestObject"]["data"] == {"a": "b"}
        assert "responseObject" not in good
        assert ("requestObject" in bad, bad["responseStatus"]["code"]) == (False, 400)

    in_world(body, {"level": "Request"}, omitStages=["RequestReceived"])


def test_what_no_object_holds_is_written_too(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        for media, text in (
            ("application/apply-patch+yaml", b"a: 18446744073709551616"),
            ("application/cbor", b"\xa1aa\xf9\x7e\x00"),
        ):
            await world.ask("PATCH", f"{MAPS}/m?fieldManager=me", text, content_type=media, user_agent="\ud800")
        first, second = world.events("configmaps")
        assert first["requestObject"] == {"a": 2.0**64}
        assert "requestObject" not in second

    in_world(body, {"level": "Request"}, omitStages=["RequestReceived"])


def test_a_watch_is_written_when_it_begins_and_when_it_ends(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        answer = await world.ask("GET", f"{MAPS}?watch=1")
        sink = FakeSink()
        assert answer.stream is not None
        answer.stream(sink)
        assert [one["stage"] for one in world.events("configmaps")] == ["RequestReceived", "ResponseStarted"]
        sink.close()
        (end,) = world.events("configmaps")
        assert (end["stage"], end["responseStatus"]["code"]) == ("ResponseComplete", 200)

    in_world(body, {"level": "RequestResponse"})


def test_nothing_is_written_where_no_rule_wants_it(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        answer = await world.ask("GET", MAPS)
        assert "Audit-Id" in dict(answer.headers)
        await world.ask("POST", MAPS, {"metadata": {"name": "m"}})
        assert world.events("configmaps") == []

    in_world(body, {"level": "Metadata", "verbs": ["nothing"]})


def test_a_mistake_in_the_log_costs_an_event_and_no_request(tmp_path: Path) -> None:
    """What cannot be written is counted and said; a policy that fails is no user's trouble."""

    class Broken:
        """A policy whose verdict on watches and on config maps that are made nobody can work with."""

        def decide(self, user: UserInfo | None, info: RequestInfo) -> Decision:
            if info.verb == "list":
                raise LookupError("no verdict")
            rules = (REQUEST_RESPONSE, frozenset[str](), False)
            return Decision(*rules) if info.verb != "create" else Decision(REQUEST_RESPONSE, None, False)  # type: ignore[arg-type]

    async def main() -> None:
        options = ApiServerOptions(audit=AuditOptions(Broken(), str(tmp_path / "audit.log")))  # type: ignore[arg-type]
        api = ApiServer(MemoryStore(), options, SystemClock(), SystemRandomness())
        await api.start()
        world = World(api, tmp_path / "audit.log")
        listed = await world.ask("GET", MAPS)
        made = await world.ask("POST", MAPS, {"metadata": {"name": "m"}})
        read = await world.ask("GET", f"{MAPS}/m")
        assert [answer.status for answer in (listed, made, read)] == [200, 201, 200]
        assert all("Audit-Id" in dict(answer.headers) for answer in (listed, made, read))
        assert [one["verb"] for one in world.events("configmaps")] == ["get", "get"]
        page = (await world.ask("GET", "/metrics")).body.decode()
        assert 'apiserver_audit_error_total{plugin="log"} 2\n' in page
        assert "apiserver_audit_event_total 3\n" in page
        await api.close()

    asyncio.run(main())


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def test_pod_security_tells_what_it_would_refuse(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        await world.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        pods = "/api/v1/namespaces/default/pods"
        await world.ask("POST", pods, pod("free"))
        key = "pod-security.kubernetes.io/"
        labels = {"metadata": {"labels": {f"{key}audit": "baseline", f"{key}enforce-version": "v1.30"}}}
        await world.ask("PATCH", "/api/v1/namespaces/default", labels, content_type="application/merge-patch+json")
        assert (await world.ask("POST", pods, pod("loose", hostNetwork=True))).status == 201
        template = pod("", hostNetwork=True)
        rs = {"metadata": {"name": "r"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
        template["metadata"] = {"labels": {"a": "b"}}
        await world.ask("POST", "/apis/apps/v1/namespaces/default/replicasets", rs)
        labels["metadata"]["labels"][f"{key}enforce"] = "baseline"
        await world.ask("PATCH", "/api/v1/namespaces/default", labels, content_type="application/merge-patch+json")
        assert (await world.ask("POST", pods, pod("refused", hostNetwork=True))).status == 403
        free, loose, of_set, refused = (one["annotations"] for one in world.events("pods", "replicasets"))
        assert free[f"{key}enforce-policy"] == "privileged:latest"
        assert f"{key}audit-violations" not in free
        words = 'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
        assert (loose[f"{key}enforce-policy"], loose[f"{key}audit-violations"]) == ("privileged:v1.30", words)
        assert of_set[f"{key}audit-violations"] == words
        assert f"{key}enforce-policy" not in of_set
        assert (refused[f"{key}enforce-policy"], refused[f"{key}audit-violations"]) == ("baseline:v1.30", words)

    in_world(body, {"level": "Metadata", "verbs": ["create"]}, omitStages=["RequestReceived"])


def test_what_admission_policies_say_is_written(in_world: InWorld) -> None:
    """Answers the page "Validating Admission Policy", sections on audit annotations and validation actions."""

    async def body(world: World) -> None:
        group = "/apis/admissionregistration.k8s.io/v1"
        rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]
        spec = {
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": "true"}, {"expression": "size(object.metadata.name) < 2"}],
            "auditAnnotations": [
                {"key": "name", "valueExpression": "string(object.metadata.name)"},
                {"key": "none", "valueExpression": "null"},
            ],
        }
        await world.ask("POST", f"{group}/validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": spec})
        binding = {"policyName": "p", "validationActions": ["Audit"]}
        path = f"{group}/validatingadmissionpolicybindings"
        await world.ask("POST", path, {"metadata": {"name": "b"}, "spec": binding})
        assert (await world.ask("POST", MAPS, {"metadata": {"name": "long"}})).status == 201
        (event,) = world.events("configmaps")
        told = {key: value for key, value in event["annotations"].items() if "authorization" not in key}
        assert told == {
            "p/name": "long",
            "validation.policy.admission.k8s.io/validation_failure": (
                '[{"message":"failed expression: size(object.metadata.name) \\u003c 2","policy":"p","binding":"b",'
                '"expressionIndex":1,"validationActions":["Audit"]}]'
            ),
        }
        assert (await world.ask("POST", MAPS, {"metadata": {"name": "s"}})).status == 201
        (event,) = world.events("configmaps")
        assert "validation.policy.admission.k8s.io/validation_failure" not in event["annotations"]

    in_world(body, {"level": "Metadata", "omitStages": ["RequestReceived"]})

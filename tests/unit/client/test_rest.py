"""The client's verbs become the requests that a Kubernetes API understands."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from carob.api.status import ApiError
from carob.api.types import apps_v1, core_v1, meta_v1
from carob.api.user import UserInfo
from carob.client.rest import Client, path_of
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport

POD = core_v1.Pod(metadata=meta_v1.ObjectMeta(name="p", namespace="ns", resource_version="5"))


class Recorder:
    """Answers with `answer` and remembers what was asked."""

    def __init__(self, answer: Any = None, status: int = 200) -> None:
        self.answer = answer if answer is not None else {"metadata": {"name": "p"}}
        self.status = status
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        headers = [("Retry-After", "3")] if self.status == 429 else []
        return Response(self.status, orjson.dumps(self.answer), headers=headers)

    def client(self) -> Client:
        return Client(MemoryTransport(self, UserInfo("me")), user_agent="test/1")


def ask(recorder: Recorder, act: Coroutine[Any, Any, Any]) -> tuple[Any, Request]:
    return asyncio.run(act), recorder.requests[-1]


def test_get() -> None:
    recorder = Recorder()
    pod, request = ask(recorder, recorder.client().get(core_v1.Pod, "p", "ns"))
    assert pod.metadata.name == "p"
    assert (request.method, request.path, request.query) == ("GET", "/api/v1/namespaces/ns/pods/p", "")
    assert request.headers == {"accept": "application/json", "user-agent": "test/1"}


def test_list() -> None:
    recorder = Recorder(
        {"metadata": {"resourceVersion": "9", "continue": "t", "remainingItemCount": 4}, "items": [{"metadata": {}}]}
    )
    act = recorder.client().list(apps_v1.Deployment, "ns", label_selector="a=b", field_selector="c!=d", limit=1)
    page, request = ask(recorder, act)
    assert request.path == "/apis/apps/v1/namespaces/ns/deployments"
    assert request.query == "labelSelector=a%3Db&fieldSelector=c%21%3Dd&limit=1"
    assert (page.resource_version, page.continue_, page.remaining_item_count) == ("9", "t", 4)
    assert page.items[0].kind == "Deployment"


def test_create_update_and_status() -> None:
    recorder = Recorder()
    _, request = ask(recorder, recorder.client().create(POD, dry_run=True))
    assert (request.method, request.path, request.query) == ("POST", "/api/v1/namespaces/ns/pods", "dryRun=All")
    assert request.headers["content-type"] == "application/json"
    _, request = ask(recorder, recorder.client().update(POD, subresource="status"))
    assert (request.method, request.path) == ("PUT", "/api/v1/namespaces/ns/pods/p/status")
    assert orjson.loads(request.body)["metadata"]["resourceVersion"] == "5"


@pytest.mark.parametrize(
    ("patch_type", "content_type"),
    [
        ("merge", "application/merge-patch+json"),
        ("strategic", "application/strategic-merge-patch+json"),
        ("json", "application/json-patch+json"),
        ("apply", "application/apply-patch+yaml"),
    ],
)
def test_patch(patch_type: str, content_type: str) -> None:
    recorder = Recorder()
    act = recorder.client().patch(
        core_v1.Node, "n", patch={"a": 1}, patch_type=patch_type, field_manager="me", force=True
    )
    _, request = ask(recorder, act)
    assert (request.method, request.path, request.query) == ("PATCH", "/api/v1/nodes/n", "fieldManager=me&force=true")
    assert (request.headers["content-type"], request.body) == (content_type, b'{"a":1}')


def test_delete() -> None:
    recorder = Recorder()
    act = recorder.client().delete(
        core_v1.Pod, "p", "ns", grace_period_seconds=0, uid="u", propagation_policy="Background"
    )
    _, request = ask(recorder, act)
    assert orjson.loads(request.body) == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Background",
    }
    _, request = ask(recorder, recorder.client().delete_collection(core_v1.Pod, "ns", label_selector="a"))
    assert (request.method, request.query) == ("DELETE", "labelSelector=a")


def test_post_to_a_subresource() -> None:
    recorder = Recorder({"status": "Success"})
    binding = core_v1.Binding(target=core_v1.ObjectReference(kind="Node", name="n"))
    status, request = ask(recorder, recorder.client().post(core_v1.Pod, "p", "ns", "binding", binding, meta_v1.Status))
    assert request.path == "/api/v1/namespaces/ns/pods/p/binding"
    assert status.status == "Success"


def test_failures_are_api_errors() -> None:
    recorder = Recorder({"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "later"}, 429)
    with pytest.raises(ApiError, match="later") as caught:
        ask(recorder, recorder.client().get(core_v1.Pod, "p", "ns"))
    assert (caught.value.code, caught.value.headers) == (429, {"Retry-After": "3"})
    response, _ = ask(recorder, recorder.client().raw("GET", "/healthz", headers={"accept": "text/plain"}))
    assert response.status == 429
    assert recorder.requests[-1].headers["accept"] == "text/plain"


def test_a_watch_that_is_refused_says_why() -> None:
    recorder = Recorder({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}, 403)

    async def watch() -> None:
        async with recorder.client().watch(core_v1.Pod, send_initial_events=True):
            raise AssertionError("entered")

    with pytest.raises(ApiError, match="no"):
        asyncio.run(watch())
    assert recorder.requests[-1].query == (
        "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    )


def test_paths_of_objects() -> None:
    assert path_of(POD) == "/api/v1/namespaces/ns/pods/p"

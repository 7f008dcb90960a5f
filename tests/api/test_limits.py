"""A server that is asked too much at once says so, to the right ones, and goes on."""

from __future__ import annotations

import asyncio
import re

import pytest

from carob.api.user import UserInfo
from carob.apiserver.in_flight import EACH_LIMIT
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response
from tests.fakes.engine_world import FakeSink

ASKED = EACH_LIMIT + 300


MAY = b"""{"kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "guest"},
"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "guest"}]}"""


def post(user: UserInfo, path: str, body: bytes) -> Request:
    return Request("POST", path, headers={"content-type": "application/json"}, body=body, user=user)


def create(user: UserInfo, number: int) -> Request:
    body = b'{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"n-%d"}}' % number
    return post(user, "/api/v1/namespaces", body)


async def ask_all(api: ApiServer, *requests: Request) -> list[Response]:
    """All at once; the answers in the same order."""

    async def one(request: Request) -> Response:
        answer = api.handle(request)
        return answer if isinstance(answer, Response) else await answer

    return await asyncio.gather(*map(one, requests))


def test_a_client_in_a_loop_does_not_shut_out_the_cluster() -> None:
    async def main() -> None:
        api = ApiServer(MemoryStore(), ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()
        node = UserInfo("system:kube-controller-manager", ("system:masters",))
        guest = UserInfo("guest", ("system:authenticated",))
        await ask_all(api, post(node, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", MAY))
        answers = await ask_all(api, *(create(guest, number) for number in range(ASKED)))
        refused = [answer for answer in answers if answer.status == 429]
        assert {answer.status for answer in answers} == {201, 429}
        assert ("Retry-After", "1") in refused[0].headers
        flood = [create(guest, 10_000 + number) for number in range(ASKED)]
        *_, last = await ask_all(api, *flood, create(node, 20_000))
        assert last.status == 201
        (after,) = await ask_all(api, create(guest, 30_000))
        assert after.status == 201
        await api.close()

    asyncio.run(main())


def test_watches_have_a_limit_and_its_vital_users_go_first() -> None:
    async def main() -> None:
        api = ApiServer(MemoryStore(), ApiServerOptions(watches_limit=10), SystemClock(), SystemRandomness())
        await api.start()
        node = UserInfo("system:kube-controller-manager", ("system:masters",))
        guest = UserInfo("guest", ("system:authenticated",))
        await ask_all(api, post(node, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", MAY))

        def watch(user: UserInfo) -> tuple[Response, FakeSink]:
            answer = api.handle(Request("GET", "/api/v1/pods", "watch=1", {}, b"", user))
            assert isinstance(answer, Response)
            sink = FakeSink()
            if answer.stream is not None:
                answer.stream(sink)
            return answer, sink

        sinks = [watch(guest) for _ in range(4)]
        refused, _ = watch(guest)
        assert (refused.status, ("Retry-After", "1") in refused.headers) == (429, True)
        assert all(watch(node)[0].stream is not None for _ in range(6))
        assert watch(node)[0].status == 429
        page = await text_of_metrics(api, node)
        assert 'apiserver_longrunning_requests{component="apiserver",verb="WATCH"} 10' in page
        sinks[0][1].close()
        assert watch(node)[0].stream is not None
        await api.close()

    asyncio.run(main())


async def text_of_metrics(api: ApiServer, user: UserInfo) -> str:
    (page,) = await ask_all(api, Request("GET", "/metrics", "", {}, b"", user))
    return page.body.decode()


def test_metrics_have_upstreams_names() -> None:
    async def main() -> None:
        api = ApiServer(MemoryStore(), ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()
        node = UserInfo("system:kube-controller-manager", ("system:masters",))
        await ask_all(api, *(create(node, number) for number in range(3)))
        page = await text_of_metrics(api, node)
        await api.close()
        for line in (
            'apiserver_current_inflight_requests{request_kind="mutating"} 0',
            'apiserver_storage_objects{resource="namespaces"} 7',
            'apiserver_resource_objects{group="",resource="namespaces"} 7',
            'kubernetes_build_info{git_version="v1.36.2",major="1",minor="36",platform="linux"} 1',
        ):
            assert line in page, page
        for name in (
            "apiserver_request_total",
            "apiserver_request_duration_seconds_bucket",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
        ):
            assert f"\n{name}" in page
        # the text format: every sample belongs to a name that was told of, and is a number
        told = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
        for line in page.splitlines():
            if not line.startswith("#"):
                name, value = re.match(r"([a-z_]+)(?:\{.*\})? (\S+)$", line).groups()  # type: ignore[union-attr]
                assert re.sub("_(bucket|sum|count)$", "", name) in told
                float(value)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/json", b'{"data":' * 20_000 + b"{}" + b"}" * 20_000),
        ("application/json", b"[" * 100_000),
        ("application/yaml", b"a: " + b"[" * 20_000),
        ("application/yaml", b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%b]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(20))),
        ("application/apply-patch+yaml", b"a: " + b"{a: " * 20_000),
        ("application/json-patch+json", b"[" + b",".join([b'{"op":"copy","from":"/data","path":"/data/x"}'] * 60) + b"]"),
        ("application/json-patch+json", b"[" + b",".join([b'{"op":"test","path":"/a","value":1}'] * 10_001) + b"]"),
        ("application/merge-patch+json", b'{"metadata":{"annotations":{"a":"' + b"x" * 300_000 + b'"}}}'),
        ("application/merge-patch+json", b'{"data":{"a":"' + b"x" * 1_100_000 + b'"}}'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_bodies_that_are_too_deep_too_long_or_grow(media: str, body: bytes) -> None:
    async def main() -> None:
        api = ApiServer(MemoryStore(), ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()
        node = UserInfo("system:kube-controller-manager", ("system:masters",))
        sets = "/api/v1/namespaces/default/configmaps"
        await ask_all(api, post(node, sets, b'{"metadata":{"name":"a"},"data":{"k":"v"}}'))
        method, path = ("PATCH", f"{sets}/a") if "patch" in media else ("POST", sets)
        query = "fieldManager=me" if "apply" in media else ""
        (answer,) = await ask_all(api, Request(method, path, query, {"content-type": media}, body, node))
        assert 400 <= answer.status < 500, answer.body[:300]
        await api.close()

    asyncio.run(main())

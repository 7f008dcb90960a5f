"""A server that is asked too much at once says so, to the right ones, and goes on."""

from __future__ import annotations

import asyncio

from carob.api.user import UserInfo
from carob.apiserver.in_flight import EACH_LIMIT
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response

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

"""Who may talk to the kubelet: the API server decides about tokens and about everybody whom it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import authentication_v1, core_v1, rbac_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.kubelet.callers import Callers, question
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport

MASTERS = UserInfo("admin", ("system:masters", "system:authenticated"))
KUBELET = UserInfo("system:node:node-0", ("system:nodes", "system:authenticated"))


class World:
    def __init__(self, api: ApiServer) -> None:
        self.client = Client(MemoryTransport(api.handle, MASTERS))
        self.callers = Callers(Client(MemoryTransport(api.handle, KUBELET)), SystemClock(), "node-0")

    async def ask(
        self, path: str, *, user: UserInfo | None = None, token: str = "", method: str = "GET"
    ) -> Response | None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        refused = self.callers.refuse(Request(method, path, headers=headers, user=user), path.split("/")[1])
        return refused if refused is None or isinstance(refused, Response) else await refused

    async def make(self, kind: type[Any], name: str, namespace: str = "", **tree: Any) -> None:
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        await self.client.create(codec.from_tree(kind, {"metadata": metadata} | tree))

    async def allow(self, name: str, *subresources: str) -> None:
        """Let the service account of this name read these of nodes."""
        rule = {"apiGroups": [""], "resources": [f"nodes/{s}" for s in subresources], "verbs": ["get"]}
        await self.make(rbac_v1.ClusterRole, name, rules=[rule])
        subjects = [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        await self.make(rbac_v1.ClusterRoleBinding, name, subjects=subjects, roleRef=reference)

    async def token(self, name: str) -> str:
        await self.make(core_v1.ServiceAccount, name, "default")
        request = codec.from_tree(authentication_v1.TokenRequest, {"spec": {"expirationSeconds": 3600}})
        made = await self.client.post(
            core_v1.ServiceAccount, name, "default", "token", request, authentication_v1.TokenRequest
        )
        return str(made.status.token)


@pytest.fixture
def in_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    clock = SystemClock()
    pki = ensure_pki(tmp_path_factory.mktemp("pki"), PkiOptions(), clock.now())
    options = ApiServerOptions(service_account_key_pem=pki.service_account_key.read_bytes())

    def run(body: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            api = ApiServer(MemoryStore(), options, clock, SystemRandomness())
            await api.start()
            try:
                await body(World(api))
            finally:
                await api.close()

        asyncio.run(main())

    return run


InWorld = Callable[[Callable[[World], Awaitable[None]]], None]


def test_the_api_server_and_admins_may_everything(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        for user in (UserInfo("kube-apiserver-kubelet-client"), UserInfo("me", ("system:masters",))):
            assert await world.ask("/exec/default/p/c", user=user, method="POST") is None

    in_world(body)


def test_nobody_and_unknown_tokens_are_not_authenticated(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        for token in ("", "nonsense"):
            refused = await world.ask("/pods", token=token)
            assert refused is not None
            assert (refused.status, refused.body) == (401, b"Unauthorized")

    in_world(body)


def test_a_token_may_what_rbac_allows(in_world: InWorld) -> None:
    async def body(world: World) -> None:
        token = await world.token("scraper")
        await world.allow("scraper", "metrics", "stats")
        assert await world.ask("/metrics/cadvisor", token=token) is None
        assert await world.ask("/stats/summary", token=token) is None
        refused = await world.ask("/pods", token=token)
        assert refused is not None
        assert (refused.status, refused.body.decode()) == (
            403,
            "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, "
            "subresource(s)=[pods proxy])",
        )
        refused = await world.ask("/metrics", user=KUBELET)
        assert refused is not None
        assert refused.status == 403

    in_world(body)


@pytest.mark.parametrize(
    ("method", "path", "verb", "subresources"),
    [
        ("GET", "stats", "get", ("stats",)),
        ("GET", "metrics", "get", ("metrics",)),
        ("GET", "logs", "get", ("log",)),
        ("GET", "pods", "get", ("pods", "proxy")),
        ("GET", "healthz", "get", ("healthz", "proxy")),
        ("POST", "exec", "create", ("proxy",)),
        ("GET", "containerLogs", "get", ("proxy",)),
    ],
)
def test_what_a_request_is_about(method: str, path: str, verb: str, subresources: tuple[str, ...]) -> None:
    found = question(Request(method, f"/{path}"), path)
    assert (found.verb, found.subresources) == (verb, subresources)

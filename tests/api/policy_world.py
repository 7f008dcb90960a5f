"""A server in the process, and what tests of admission policies say to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
Tree = dict[str, Any]

CONFIG_MAPS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}


class World:
    """The server, and the answers of its last request."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.warnings: list[str] = []
        self.status = 0

    async def ask(
        self,
        method: str,
        target: str,
        tree: Any = None,
        user: UserInfo = ADMIN,
        media: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Any:
        """What the server answers, as a tree."""
        path, _, query = target.partition("?")
        sent = {"content-type": media, "user-agent": "test"} | (headers or {})
        body = b"" if tree is None else orjson.dumps(tree)
        answer = self.api.handle(Request(method, path, query, sent, body, user, raw_target=target))
        response = answer if isinstance(answer, Response) else await answer
        self.status = response.status
        self.warnings = [value for name, value in response.headers if name.lower() == "warning"]
        return orjson.loads(response.body) if response.body else None

    async def made(self, target: str, tree: Tree, **more: Any) -> Tree:
        """An object that is there now."""
        found: Tree = await self.ask("POST", target, tree, **more)
        assert self.status in (200, 201), found
        return found

    async def refused(self, method: str, target: str, tree: Any = None, **more: Any) -> Tree:
        """The Status of a request that is refused."""
        found: Tree = await self.ask(method, target, tree, **more)
        assert self.status >= 400, found
        assert found["code"] == self.status
        return found

    async def policy(self, name: str, *validations: Any, binding: Tree | None = None, **spec: Any) -> None:
        """A validating policy, about ConfigMaps unless the spec says otherwise, and its binding of the same name."""
        found = [{"expression": one} if isinstance(one, str) else one for one in validations]
        constraints = {"matchConstraints": {"resourceRules": [CONFIG_MAPS]}}
        body = constraints | spec | ({"validations": found} if found else {})
        await self.made(f"{GROUP}/validatingadmissionpolicies", named(name, spec=body))
        await self.bind("validatingadmissionpolicybindings", name, {"validationActions": ["Deny"]} | (binding or {}))

    async def mutation(self, name: str, *mutations: Tree, binding: Tree | None = None, **spec: Any) -> None:
        """A mutating policy, and its binding of the same name."""
        constraints = {"matchConstraints": {"resourceRules": [CONFIG_MAPS]}, "reinvocationPolicy": "Never"}
        body = constraints | spec | {"mutations": list(mutations)}
        await self.made(f"{GROUP}/mutatingadmissionpolicies", named(name, spec=body))
        await self.bind("mutatingadmissionpolicybindings", name, binding or {})

    async def bind(self, plural: str, name: str, spec: Tree) -> None:
        """A binding of the policy of the same name."""
        await self.made(f"{GROUP}/{plural}", named(name, spec={"policyName": name} | spec))


def named(name: str, **fields: Any) -> Tree:
    """A tree with a name; other metadata may come along."""
    return {**fields, "metadata": {"name": name, **fields.pop("metadata", {})}}


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Tree:
    """A ConfigMap."""
    return named(name, data=data, metadata={"labels": labels or {}})


def deployment(name: str, replicas: int) -> Tree:
    """As upstream's tests have it."""
    template = {
        "metadata": {"labels": {"app": "nginx"}},
        "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "nginx"}}, "template": template}
    return named(name, spec=spec)


def rule(resource: str, *operations: str, group: str = "", version: str = "v1", **more: Any) -> Tree:
    """Match constraints of one rule."""
    found = {"apiGroups": [group], "apiVersions": [version], "operations": list(operations) or ["*"]}
    return {"resourceRules": [found | {"resources": [resource]} | more]}


def in_world(body: Callable[[World], Awaitable[None]], options: ApiServerOptions | None = None) -> None:
    """Run a test over a server that ends with it."""

    async def main() -> None:
        api = ApiServer(MemoryStore(), options or ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()
        try:
            await body(World(api))
        finally:
            await api.close()

    asyncio.run(main())

"""An asker of the API server's handler: as whom one likes, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from carob.api.user import UserInfo
from carob.apiserver.server import ApiServer
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


WithServer = Callable[[Callable[[Asker], Awaitable[None]]], None]
ACCOUNT = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "robot"}}
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"

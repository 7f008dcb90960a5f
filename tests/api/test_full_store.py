"""A store that cannot keep a write: a clear 503, nothing changed, and on it goes when there is room again."""

from __future__ import annotations

import asyncio

import orjson

from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.store.types import Revision, StoreError
from carob.transport.http import Request, Response

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
PATH = "/api/v1/namespaces/default/configmaps"


class FullStore(MemoryStore):
    """A memory store whose disk can be full."""

    full = False

    def create(self, key: str, value: bytes) -> asyncio.Future[Revision]:
        if self.full:
            raise StoreError("cannot write state.db: the disk is full")
        return super().create(key, value)


def test_a_full_disk_is_a_503_that_says_so() -> None:
    async def main() -> None:
        store = FullStore()
        api = ApiServer(store, ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()

        async def ask(method: str, path: str, tree: object = None) -> tuple[int, dict[str, object]]:
            body = orjson.dumps(tree) if tree is not None else b""
            headers = {"content-type": "application/json"}
            answer = api.handle(Request(method, path, headers=headers, body=body, user=ADMIN))
            response = answer if isinstance(answer, Response) else await answer
            return response.status, orjson.loads(response.body)

        made = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "kept"}}
        store.full = True
        status, answer = await ask("POST", PATH, made)
        assert (status, answer["reason"]) == (503, "ServiceUnavailable")
        assert "the disk is full" in str(answer["message"])
        assert (await ask("GET", f"{PATH}/kept"))[0] == 404
        store.full = False
        assert (await ask("POST", PATH, made))[0] == 201
        await api.close()
        await store.close()

    asyncio.run(main())

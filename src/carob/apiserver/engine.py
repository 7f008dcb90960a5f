"""The engine: every stored resource and its object subresources, from a parsed request to an answer.

Reads are answered from the watch cache in the call itself; writes resolve once they are durable and visible.

May touch: the store. It opens no socket, authenticates and authorizes nobody: the edge has done that.
"""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import orjson

from carob.api.status import bad_request, method_not_supported, page_not_found, unavailable
from carob.api.user import UserInfo
from carob.apiserver.deadlines import Deadlines
from carob.apiserver.handlers import create, delete, get, list, patch, subresources, update, watch
from carob.apiserver.handlers.backend import Backend
from carob.apiserver.housekeeping import Housekeeping
from carob.apiserver.objects import Objects
from carob.apiserver.presenters import Presenters
from carob.apiserver.registry import Strategies
from carob.apiserver.registry.special import special
from carob.apiserver.resetting import Resetting
from carob.apiserver.types import RequestInfo
from carob.base.tasks import begin, supervise
from carob.store.types import StoreError
from carob.transport.http import Request, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.api.resources import Resource, ResourceTable
    from carob.apiserver.types import Admission
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.store.types import Store

SERVER = UserInfo("system:apiserver", ("system:masters",))


class Engine:
    """All stored resources over one store."""

    def __init__(
        self,
        store: Store,
        table: ResourceTable,
        admission: Admission,
        clock: Clock,
        randomness: Randomness,
        gates: frozenset[str] = frozenset(),
    ) -> None:
        self._objects = Objects(store, table)
        self._store = store if store.shared else None
        self.reader = self._objects
        self.resetting = Resetting(self._objects)
        self._backend = Backend(
            self._objects,
            Strategies(special()),
            admission,
            clock,
            randomness,
            Presenters(clock),
            Deadlines(clock),
            gates,
        )

    async def start(self) -> None:
        """Fill the cache and follow the store. Raises: StoreError."""
        await self._objects.start()
        events = self._objects.table.by_kind("v1", "Event")
        if events is not None:
            housekeeping = Housekeeping(self._objects, events, self._backend.clock)
            self._backend.spawn(supervise("housekeeping", housekeeping.run, self._backend.clock), "housekeeping")

    async def close(self) -> None:
        """End every watch and follow no longer; the store stays open."""
        await self._objects.close()
        await self._backend.deadlines.close()
        tasks = tuple(self._backend.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def handle(self, info: RequestInfo, request: Request, user: UserInfo) -> Response | Awaitable[Response]:
        """Answer one request for a stored resource. Raises: ApiError."""
        name = info.name
        if name in (".", ".."):
            raise bad_request(f"Name parameter invalid: \"{name}\": may not be '{name}'")
        if "%" in name:
            raise page_not_found()
        row = info.resource
        if row is not None and not row.namespaced:
            info.namespace = ""  # a path below namespaces/x names x twice
        if self._store is not None and not _names_version(info):
            return self._when_fresh(self._store, info, request, user)
        answer = self._answer(info, request, user)
        if self._store is None and isinstance(answer, CoroutineType) and info.verb in _BEGUN:
            # a store of our own takes writes in at once: they join this turn's transaction, without a task
            return begin(answer)
        return answer

    async def _when_fresh(self, store: Store, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """Answer from a cache that shows all that was acknowledged before, by whichever server."""
        try:
            await store.fresh()
        except StoreError as error:
            raise unavailable(str(error)) from error
        answer = self._answer(info, request, user)
        return answer if isinstance(answer, Response) else await answer

    def _answer(self, info: RequestInfo, request: Request, user: UserInfo) -> Response | Awaitable[Response]:
        backend, verb = self._backend, info.verb
        if info.subresource and info.subresource != "status":
            return subresources.handle(backend, info, request, user)
        if verb == "get":
            return get.get(backend, info, request)
        if verb == "list":
            return list.list_objects(backend, info, request)
        if verb == "watch":
            return watch.watch(backend, info, request)
        writer = _WRITERS.get(verb)
        if writer is None:
            raise method_not_supported(info.resource, verb)
        return writer(backend, info, request, user)

    # -- for the server's own parts --------------------------------------------------------------------------------

    async def create_object(self, resource: Resource, obj: Any, namespace: str = "", manager: str = "") -> Any:
        """Create an object, whose status is kept; the answer is shared and not to be changed. Raises: ApiError."""
        return await create.create_internal(self._backend, resource, obj, namespace, SERVER, manager)

    async def apply_object(
        self, resource: Resource, tree: dict[str, Any], manager: str, subresource: str = "", namespace: str = ""
    ) -> None:
        """Apply a configuration without its kind by force, as `manager`. Raises: ApiError."""
        tree = {"apiVersion": resource.api_version, "kind": resource.kind, **tree}
        name = tree["metadata"]["name"]
        path = f"{resource.path(namespace or None)}/{name}"
        query = {"fieldManager": [manager], "force": ["true"]}
        info = RequestInfo("patch", path, resource, namespace, name, subresource, query)
        request = Request("PATCH", path, headers={"content-type": patch.APPLY_PATCH}, body=orjson.dumps(tree))
        answer = self.handle(info, request, SERVER)
        if not isinstance(answer, Response):
            await answer

    async def update_object(self, resource: Resource, obj: Any, namespace: str = "") -> Any:
        """Replace an object, spec and status at once; a resourceVersion in it must be the present one.

        Raises: ApiError.
        """
        return await update.update_internal(self._backend, resource, obj, namespace, SERVER)


WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))
# deleting a collection begins with a group of tasks, which needs one around it
_BEGUN = frozenset(("create", "update", "patch"))
_WRITERS = {
    "create": create.create,
    "update": update.update,
    "patch": patch.patch,
    "delete": delete.delete,
    "deletecollection": delete.delete_collection,
}


def _names_version(info: RequestInfo) -> bool:
    """Whether a read says how old its answer may be; all else means the present."""
    return info.verb in ("get", "list", "watch") and bool(info.query) and bool(info.first("resourceVersion"))

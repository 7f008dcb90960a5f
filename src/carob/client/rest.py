"""The API client: typed verbs over a `Transport`, whichever road that is.

Paths come from the resource table, objects are Structs, failures are `ApiError` (the server's own Status) or
ConnectionError (no answer). Nothing is retried here: who calls knows whether a second try is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from carob.api import codec
from carob.api.resources import resource_of
from carob.api.status import ApiError
from carob.client.watch import Watch
from carob.transport.http import Request, Response

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.transport.http import Transport

T = TypeVar("T")
R = TypeVar("R")

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_NO_HEADERS: Mapping[str, str] = {}


class Listing(Generic[T]):
    """One page of objects as of `resource_version`; `continue_` asks for the next, empty at the end."""

    __slots__ = ("continue_", "items", "remaining_item_count", "resource_version")

    def __init__(self, items: Sequence[T], resource_version: str, continue_: str, remaining_item_count: int) -> None:
        self.items = items
        self.resource_version = resource_version
        self.continue_ = continue_
        self.remaining_item_count = remaining_item_count


class Client:
    """Typed verbs. `kind` is a Struct class of a built-in kind, such as `core_v1.Pod`.

    Every verb raises ApiError for an answer that is no success, and ConnectionError where none came.
    """

    def __init__(self, transport: Transport, *, user_agent: str = "carob") -> None:
        self._transport = transport
        self._headers = {"accept": "application/json", "user-agent": user_agent}
        self._json_headers = {**self._headers, "content-type": "application/json"}

    @property
    def transport(self) -> Transport:
        """The road, for upgrades and followed logs."""
        return self._transport

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        """One object. Raises: ApiError NotFound."""
        body = await self._ask("GET", resource_of(kind).path(namespace, name))
        return codec.decode(kind, body)

    async def list(
        self,
        kind: type[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> Listing[T]:
        """The objects of a namespace, or of all. Shape: `limit` 0 gives all at once."""
        resource = resource_of(kind)
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            resourceVersion=resource_version,
            limit=str(limit) if limit else "",
            **{"continue": continue_},
        )
        body = await self._ask("GET", resource.path(namespace), query=query)
        page = codec.decode(_page_of(kind), body)
        meta = page.metadata
        return Listing(page.items, meta.resource_version, meta.continue_, meta.remaining_item_count or 0)

    async def create(self, obj: T, *, namespace: str = "", dry_run: bool = False) -> T:
        """The object as the server made it. Raises: ApiError AlreadyExists, Invalid, Forbidden."""
        metadata = getattr(obj, "metadata", None)
        namespace = namespace or (metadata.namespace if metadata is not None else "")
        path = resource_of(type(obj)).path(namespace)
        body = await self._ask("POST", path, query="dryRun=All" if dry_run else "", body=codec.encode(obj))
        return codec.decode(type(obj), body)

    async def update(self, obj: T, *, subresource: str = "") -> T:
        """Replace the object, if it is still at `obj.metadata.resource_version`. Raises: ApiError Conflict, NotFound."""
        metadata = obj.metadata  # type: ignore[attr-defined]
        path = resource_of(type(obj)).path(metadata.namespace, metadata.name, subresource or None)
        return codec.decode(type(obj), await self._ask("PUT", path, body=codec.encode(obj)))

    async def patch(
        self,
        kind: type[T],
        name: str,
        namespace: str = "",
        *,
        patch: Any,
        patch_type: str = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> T:
        """Change part of an object.

        Shape: `patch` is a tree, a Struct or ready bytes; `patch_type` is merge, strategic, json or apply (which needs
        `field_manager`). Raises: ApiError Conflict, NotFound, Invalid.
        """
        path = resource_of(kind).path(namespace, name, subresource or None)
        query = _query(fieldManager=field_manager, force="true" if force else "")
        body = patch if isinstance(patch, bytes) else codec.encode(patch)
        answer = await self._ask("PATCH", path, query=query, body=body, content_type=PATCH_TYPES[patch_type])
        return codec.decode(kind, answer)

    async def delete(
        self,
        kind: type[Any],
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        uid: str = "",
        resource_version: str = "",
        propagation_policy: str = "",
        disruption: tuple[str, str] = ("", ""),
    ) -> None:
        """Ask for the end of an object; it may live on until its grace period and its finalizers are over.

        `uid` and `resource_version` are preconditions; `disruption`: the reason and the message that carob's own server
        writes into a Pod's conditions, others do not heed it. Raises: ApiError NotFound, Conflict.
        """
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        if preconditions:
            options["preconditions"] = preconditions
        if propagation_policy:
            options["propagationPolicy"] = propagation_policy
        query = _query(disruptionReason=disruption[0], disruptionMessage=disruption[1])
        await self._ask("DELETE", resource_of(kind).path(namespace, name), query=query, body=codec.encode(options))

    async def delete_collection(
        self, kind: type[Any], namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> None:
        """Delete every object that the selectors choose."""
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        await self._ask("DELETE", resource_of(kind).path(namespace), query=query)

    async def post(self, kind: type[Any], name: str, namespace: str, subresource: str, body: Any, answer: type[R]) -> R:
        """Create through a subresource: `binding`, `eviction`, `token`. The server's answer is decoded as `answer`."""
        path = resource_of(kind).path(namespace, name, subresource)
        return codec.decode(answer, await self._ask("POST", path, body=codec.encode(body)))

    def watch(
        self,
        kind: type[T],
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        send_initial_events: bool = False,
        timeout_seconds: int = 0,
    ) -> Watch[T]:
        """Changes since `resource_version`, bookmarks included. Use with `async with`, then `async for`.

        Entering raises ApiError or ConnectionError; the iteration ends when the server closes and raises
        ConnectionError when it was cut. `send_initial_events`: what exists comes first as ADDED, then a bookmark.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            sendInitialEvents="true" if send_initial_events else "",
            resourceVersionMatch="NotOlderThan" if send_initial_events else "",
            timeoutSeconds=str(timeout_seconds) if timeout_seconds else "",
        )
        request = Request("GET", resource_of(kind).path(namespace), query, self._headers)
        return Watch(self._transport, request, kind)

    async def raw(
        self, method: str, path: str, *, query: str = "", body: bytes = b"", headers: Mapping[str, str] = _NO_HEADERS
    ) -> Response:
        """Any request, any answer, also a failing one. Header names are lower case. Raises: ConnectionError only."""
        return await self._transport.send(Request(method, path, query, {**self._headers, **headers}, body))

    async def _ask(
        self, method: str, path: str, *, query: str = "", body: bytes = b"", content_type: str = ""
    ) -> bytes:
        headers: Mapping[str, str] = self._json_headers if body else self._headers
        if content_type:
            headers = {**self._headers, "content-type": content_type}
        response = await self._transport.send(Request(method, path, query, headers, body))
        if response.status >= 300:
            raise error_of(response)
        return response.body


def error_of(response: Response) -> ApiError:
    """The ApiError of an answer that is no success, with its `Retry-After`."""
    error = ApiError.from_body(response.status, response.body)
    for name, value in response.headers:
        if name.lower() == "retry-after":
            error.headers["Retry-After"] = value
    return error


def path_of(obj: Any) -> str:
    """The URL path of one object."""
    resource: Resource = resource_of(type(obj))
    return resource.path(obj.metadata.namespace, obj.metadata.name)


def _query(**values: str) -> str:
    chosen = {name: value for name, value in values.items() if value}
    return urlencode(chosen) if chosen else ""


class _PageMeta(msgspec.Struct, gc=False):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = msgspec.field(default=None, name="remainingItemCount")


_pages: dict[type[Any], type[Any]] = {}


def _page_of(kind: type[Any]) -> type[Any]:
    """A Struct for a list of `kind`, made here because not every kind's module spells its list alike."""
    page = _pages.get(kind)
    if page is None:
        fields: list[Any] = [
            ("metadata", _PageMeta, msgspec.field(default_factory=_PageMeta)),
            ("items", list[kind], msgspec.field(default_factory=list)),  # type: ignore[valid-type]
        ]
        page = _pages[kind] = msgspec.defstruct(f"{kind.__name__}Page", fields, gc=False)
    return page

"""Subresources of stored objects, by name: those that speak the object itself, and those with a kind of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import method_not_supported, page_not_found
from carob.apiserver.handlers import binding, eviction, scale
from carob.apiserver.handlers.get import get
from carob.apiserver.handlers.patch import patch
from carob.apiserver.handlers.update import update
from carob.apiserver.registry import certificates, namespaces, pods

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.handlers.update import Prepare
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request, Response

# Subresources that read and write the object itself, each with what it may change.
_OF_THE_OBJECT: dict[tuple[str, str], Prepare] = {
    ("pods", "ephemeralcontainers"): pods.prepare_ephemeral_containers,
    ("pods", "resize"): pods.prepare_resize,
    ("namespaces", "finalize"): namespaces.prepare_finalize,
    ("certificatesigningrequests", "approval"): certificates.prepare_approval,
}


def handle(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response | Awaitable[Response]:
    """Answer a request below an object. Raises: ApiError."""
    row, name = info.resource, info.subresource
    assert row is not None
    if name == "scale":
        return scale.handle(backend, info, request, user)
    if name == "binding":
        return binding.bind(backend, info, request, user)
    if name == "eviction":
        return eviction.evict(backend, info, request, user)
    prepare = _OF_THE_OBJECT.get((row.plural, name))
    if prepare is None:
        raise page_not_found()
    if info.verb == "get":
        return get(backend, info, request)
    if info.verb == "update":
        return update(backend, info, request, user, prepare)
    if info.verb == "patch":
        return patch(backend, info, request, user, prepare)
    raise method_not_supported(row, info.verb)

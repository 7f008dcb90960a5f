"""From a request that may be answered to whoever answers it.

Source: the recorded answers of a v1.36 server for unknown paths (text), unknown resources of a known group (Status) and
methods that a resource does not have (Status 405).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from carob.api.status import method_not_supported, page_not_found
from carob.apiserver.health import not_found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request, Response

Answer: TypeAlias = "Response | Awaitable[Response]"
Answerer: TypeAlias = "Callable[[RequestInfo, Request, UserInfo], Answer]"

_NEEDS_NAME = frozenset(("get", "update", "patch", "delete"))
_NEEDS_NAMESPACE = frozenset(("create", "get", "update", "patch", "delete", "deletecollection"))
_DEEP_SUBRESOURCES = frozenset(("proxy",))
_PROXY_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def check_route(info: RequestInfo, method: str, row: Resource) -> None:
    """Return if the path and method exist for this row. Raises: ApiError 404 or 405 as upstream's router would."""
    if info.namespace and not row.namespaced and row.plural != "namespaces":
        raise page_not_found()
    if info.subresource:
        subresource = row.subresource(info.subresource)
        if subresource is None or (info.beyond and info.subresource not in _DEEP_SUBRESOURCES):
            raise page_not_found()
        if row.namespaced and not info.namespace:
            raise page_not_found()
        if info.subresource in _DEEP_SUBRESOURCES:
            if method not in _PROXY_METHODS:
                raise method_not_supported(row, info.verb)
        elif info.verb not in subresource.verbs or method == "HEAD":
            raise method_not_supported(row, info.verb)
        return
    if info.beyond:
        raise page_not_found()
    if row.namespaced and not info.namespace:
        if info.name and not info.path.split("/watch/", 1)[1:]:
            raise page_not_found()
        if info.verb in _NEEDS_NAMESPACE:
            raise method_not_supported(row, info.verb)
    wrong_shape = bool(info.name) == (info.verb == "create") if info.verb in ("create", *_NEEDS_NAME) else False
    # below /watch/ every method is authorized as a watch, but only a GET begins one
    if info.verb not in row.verbs or wrong_shape or method == "HEAD" or (info.verb == "watch" and method != "GET"):
        raise method_not_supported(row, info.verb)


class Dispatcher:
    """Who answers what: virtual resources by name, the engine for everything that is stored, paths for the rest."""

    def __init__(self, engine: Answerer, paths: Answerer, groups: Callable[[], set[str]]) -> None:
        self._engine = engine
        self._paths = paths
        self._groups = groups
        self._virtual: dict[tuple[str, str, str], Answerer] = {}
        self._own: dict[tuple[str, str, str], Answerer] = {}

    def register(self, group: str, plural: str, subresource: str, answerer: Answerer) -> None:
        """Let `answerer` answer for a resource (`subresource` empty) or a subresource."""
        self._virtual[group, plural, subresource] = answerer

    def offer(self, group: str, plural: str, subresource: str, answerer: Answerer) -> None:
        """Let `answerer` answer GETs of a subresource that upstream does not have, and that discovery does not name."""
        self._own[group, plural, subresource] = answerer

    def answer(self, info: RequestInfo, request: Request, user: UserInfo) -> Answer:
        """The answer, or a promise of it. Raises: ApiError."""
        row = info.resource
        if row is None:
            return self._paths(info, request, user)
        if not row.kind:
            if row.group in self._groups():
                raise page_not_found()
            return not_found()
        if not (row.stored and info.name and info.verb == "get" and not info.subresource and request.method == "GET"):
            # a plain read of one object needs no more checks than finding it
            own = self._own.get((row.group, row.plural, info.subresource)) if info.subresource else None
            if own is not None and info.name and not info.beyond and request.method == "GET":
                return own(info, request, user)
            check_route(info, request.method, row)
        special = self._virtual.get((row.group, row.plural, info.subresource))
        if special is not None:
            return special(info, request, user)
        if not row.stored:
            raise page_not_found()
        return self._engine(info, request, user)

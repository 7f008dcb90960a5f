"""Answers to the paths that are no resource: discovery, health, metrics, version, keys, OpenAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import method_not_supported, page_not_found
from carob.apiserver import well_known
from carob.apiserver.health import Health, not_found
from carob.apiserver.openapi.documents import OpenApi
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import ResourceTable
    from carob.api.user import UserInfo
    from carob.apiserver.discovery import Discovery
    from carob.apiserver.dispatch import Answer
    from carob.apiserver.metrics import Metrics
    from carob.apiserver.options import ApiServerOptions
    from carob.apiserver.types import RequestInfo
    from carob.base.jws import SigningKey
    from carob.transport.http import Request


class Paths:
    """Finds the answer for a path."""

    def __init__(
        self,
        table: ResourceTable,
        discovery: Discovery,
        metrics: Metrics,
        options: ApiServerOptions,
        key: SigningKey | None,
        why_failing: Callable[[str], str | None],
    ) -> None:
        self._table = table
        self._discovery = discovery
        self._health = Health(why_failing)
        self.openapi = OpenApi(table)
        self._fixed: dict[str, Callable[[], Response]] = {
            "": lambda: well_known.paths({(row.group, row.version) for row in table}),
            "/version": well_known.version,
            "/metrics": metrics.answer,
        }
        if key is not None:
            self._fixed["/.well-known/openid-configuration"] = lambda: well_known.openid_configuration(options, key)
            self._fixed["/openid/v1/jwks"] = lambda: well_known.keys(key)

    def answer(self, info: RequestInfo, request: Request, user: UserInfo) -> Answer:
        """The answer. Raises: ApiError 404, 405."""
        path = info.path.rstrip("/")
        if path == "/openapi/v2":
            return self.openapi.answer_v2(info, request)
        if path.startswith("/openapi/v3"):
            return self.openapi.answer(path, info, request)
        fixed = self._fixed.get(path)
        found = fixed() if fixed is not None else self._find(path, info, request)
        if found is None:
            group = path.removeprefix("/apis/").partition("/")
            if path.startswith("/apis/") and group[1] and group[0] in self._discovery.groups():
                raise page_not_found()
            return not_found()
        if info.verb not in ("get", "head"):
            raise method_not_supported(None, info.verb)
        return found

    def _find(self, path: str, info: RequestInfo, request: Request) -> Response | None:
        if path.startswith("/api"):
            return self._discovery.answer(path, request.headers)
        return self._health.answer(path, info.query)

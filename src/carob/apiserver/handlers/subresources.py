"""Subresources of stored objects, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import page_not_found

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request, Response


def handle(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response | Awaitable[Response]:
    """Answer a request below an object. Raises: ApiError."""
    raise page_not_found()

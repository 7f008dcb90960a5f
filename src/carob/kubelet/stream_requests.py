"""`/exec`, `/attach` and `/portForward`: which process or port is meant, and the streams to it.

The protocols themselves (SPDY/3.1, WebSocket) are spoken by `carob.transport.streams`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools
    from carob.transport.http import Request


class StreamRequests:
    """Answers upgrade requests."""

    def __init__(self, tools: Tools, records: Mapping[str, PodRecord]) -> None:
        self._tools = tools
        self._records = records

    def handle(
        self, request: Request, verb: str, parts: list[str], query: Mapping[str, list[str]]
    ) -> Response | Awaitable[Response]:
        """The upgrade, or why not."""
        return Response(501, b"not yet", content_type="text/plain; charset=utf-8")

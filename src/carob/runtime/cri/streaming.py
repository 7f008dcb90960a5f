"""Where exec, attach and port-forward of the CRI's clients are served: URLs that work once, soon after they were given.

Touches: one HTTP port of this machine's loopback. Source: kubelet `pkg/cri/streaming` (server.go, request_cache.go).
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from carob.base.clock import Clock
from carob.base.ids import Randomness
from carob.runtime.types import Duplex, Process
from carob.transport.http import Request, Response
from carob.transport.server import Server
from carob.transport.streams import serve_port_forward, serve_remote_command
from carob.wire.remotecommand import Streams

HOST = "127.0.0.1"
# Source: request_cache.go: how long a URL is good, how many may be open, how long a token is.
URL_SECONDS = 60.0
MAX_URLS = 1000
TOKEN_BYTES = 12


class TooManyUrls(Exception):
    """Nobody may hoard them."""


class _Promise(NamedTuple):
    until: float
    serve: Callable[[Request], Response]


class Streaming:
    """Gives URLs and serves them."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._promises: dict[str, _Promise] = {}
        self._server = Server(self._handle, clock)
        self._port = 0

    async def listen(self) -> None:
        """Raises: OSError."""
        self._port = await self._server.listen(HOST, 0)

    async def close(self) -> None:
        """End every stream."""
        await self._server.close()

    def command_url(self, verb: str, streams: Streams, start: Callable[[], Awaitable[Process]]) -> str:
        """`verb` is `exec` or `attach`. Raises: TooManyUrls."""
        return self._url(verb, lambda r: serve_remote_command(r, streams, start, attach=verb == "attach"))

    def port_forward_url(self, sandbox_id: str, dial: Callable[[int], Awaitable[Duplex]]) -> str:
        """Raises: TooManyUrls."""
        return self._url("portforward", lambda r: serve_port_forward(r, dial, target=f"pod {sandbox_id}"))

    def _url(self, verb: str, serve: Callable[[Request], Response]) -> str:
        now = self._clock.monotonic()
        self._promises = {path: one for path, one in self._promises.items() if one.until > now}
        if len(self._promises) >= MAX_URLS:
            raise TooManyUrls("maximum number of in-flight requests exceeded")
        token = base64.urlsafe_b64encode(self._randomness.token(TOKEN_BYTES)).decode()
        path = f"/{verb}/{token}"
        self._promises[path] = _Promise(now + URL_SECONDS, serve)
        return f"http://{HOST}:{self._port}{path}"

    def _handle(self, request: Request) -> Response:
        promise = self._promises.pop(request.path, None)
        if promise is None or promise.until <= self._clock.monotonic():
            return Response(404, b"404 page not found\n", content_type="text/plain; charset=utf-8")
        return promise.serve(request)

"""Bytes to requests: one reader a connection, over httptools, within limits.

Sans-IO: `feed` takes bytes, `exchanges` gathers what is complete, in order, also the refusal of what cannot be read
(then `refused` is set and nothing further is understood).
"""

from __future__ import annotations

from collections import deque

import httptools
from msgspec import Struct

from carob.api.status import ApiError
from carob.transport.heads import header_name, split_target
from carob.transport.http import Request, Response

NOTHING, HEAD, BODY = 0, 1, 2
"""Which part of a request is on its way."""


class Exchange(Struct):
    """A request and how to go on behind it; `refusal` is the answer when the request cannot even be read."""

    request: Request | None
    keep_alive: bool
    chunks: bool = True
    """False for HTTP/1.0 clients: a streamed answer then ends with the connection."""
    refusal: Response | None = None


class RequestReader:
    """`certificate`, `peer_address` and `from_afar` are what every request of the connection carries."""

    def __init__(
        self,
        head_bytes: int,
        body_bytes: int,
        certificate: bytes | None,
        peer_address: str,
        from_afar: bool = False,
    ) -> None:
        self._max_head = head_bytes
        self._max_body = body_bytes
        self._certificate = certificate
        self._peer_address = peer_address
        self._from_afar = from_afar
        self._parser = httptools.HttpRequestParser(self)
        self._head_size = 0
        self.exchanges: deque[Exchange] = deque()
        self.part = NOTHING
        self.refused = False
        self.awaits_leave = False
        """The client of the request on its way sends its body only after `100 Continue`."""
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_size = 0

    def feed(self, data: bytes) -> bytes:
        """Understand `data`; what it returns stands behind a request for an upgrade and was not looked at."""
        if self.refused:
            return b""
        if self.part != BODY:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # another protocol's bytes, or the next request if the upgrade is declined
            self._parser = httptools.HttpRequestParser(self)
            rest: bytes = data[upgrade.args[0] :]
            return rest
        except (httptools.HttpParserError, ValueError):
            self._refuse(400, "BadRequest", "the request is not valid HTTP")
        if self.part == HEAD and self._head_size > self._max_head:
            self._refuse(431, "", "Request Header Fields Too Large")
        return b""

    def _refuse(self, code: int, reason: str, message: str) -> None:
        if not self.refused:
            self.refused = True
            error = ApiError(code, reason, message)
            self.exchanges.append(Exchange(None, keep_alive=False, refusal=Response(code, error.body())))

    def _refuse_size(self) -> None:
        self._refuse(413, "RequestEntityTooLarge", f"Request entity too large: limit is {self._max_body}")

    # httptools calls these, out of `feed`.

    def on_message_begin(self) -> None:
        self._begin()
        self.part = HEAD

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = header_name(name)
        text = value.decode("latin-1")
        headers = self._headers
        if key in headers:
            text = f"{headers[key]}, {text}"
        headers[key] = text

    def on_headers_complete(self) -> None:
        self.part = BODY
        headers = self._headers
        if "host" not in headers and self._parser.get_http_version() == "1.1":
            self._refuse(400, "BadRequest", "missing required Host header")
        elif "content-length" in headers and int(headers["content-length"]) > self._max_body:
            self._refuse_size()
        elif "expect" in headers:
            self.awaits_leave = headers["expect"].lower() == "100-continue"

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._max_body:
            self._refuse_size()
        elif not self.refused:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self.part = NOTHING
        self.awaits_leave = False
        self._head_size = 0
        if self.refused:
            return
        target = self._url.decode("latin-1")
        path, query = split_target(target)
        body = self._body
        request = Request(
            self._parser.get_method().decode(),
            path,
            query,
            self._headers,
            (body[0] if len(body) == 1 else b"".join(body)) if body else b"",
            None,
            self._certificate,
            self._peer_address,
            target,
            self._from_afar,
        )
        keep_alive = modern = self._parser.should_keep_alive()
        if not keep_alive or "connection" in self._headers:
            # HTTP/1.0 clients get no second request on a connection: nobody who matters needs it
            modern = self._parser.get_http_version() != "1.0"
            keep_alive = keep_alive and modern
        self.exchanges.append(Exchange(request, keep_alive, modern))

"""Passing a web request on, as the three `…/proxy` subresources do: headers, redirects and pages fit the way through us.

Source: apimachinery `pkg/util/proxy/{upgradeaware,transport}.go`.
Differs: the server behind sees its own address as the Host, not the client's.
"""

from __future__ import annotations

import asyncio
import posixpath
from typing import TYPE_CHECKING, Any

from carob.transport.client_connection import HOP_BY_HOP
from carob.transport.http import Request, Response
from carob.transport.proxies import hand_on, pass_on_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from carob.transport.http import ResponseStream, Transport

# A browser that is told so by a page behind us would believe it of the API server.
_CROSS_ORIGIN = frozenset(f"access-control-allow-{what}" for what in ("credentials", "headers", "methods", "origin"))
_NO_BODY = frozenset((204, 304))


def split_target(request: Request, depth: int) -> tuple[str, str | None, str]:
    """The raw path up to `proxy`, what follows it (None: not even a slash), and the query.

    `depth` is how many parts the path has before `proxy`.
    """
    raw_path, _, query = (request.raw_target or request.path).partition("?")
    parts = raw_path.split("/")
    prefix, rest = parts[: depth + 2], parts[depth + 2 :]
    return "/".join(prefix), "/" + "/".join(rest).lstrip("/") if rest else None, query


def redirected(request: Request, prefix: str, rest: str | None, query: str) -> Response | None:
    """Relative links only work below a slash, so whoever left it out is sent there."""
    if rest is not None or request.method not in ("GET", "HEAD"):
        return None
    location = f"{prefix}/" + (f"?{query}" if query else "")
    return Response(301, content_type="", headers=[("location", location)])


def outgoing(request: Request, prefix: str, rest: str | None, query: str) -> Request:
    """The request as the server behind sees it."""
    path = rest or "/"
    headers = pass_on_headers(request.headers)
    uri = posixpath.normpath(prefix + path)
    headers["x-forwarded-uri"] = uri + ("/" if path.endswith("/") and not uri.endswith("/") else "")
    if request.peer_address:
        before = headers.get("x-forwarded-for")
        headers["x-forwarded-for"] = f"{before}, {request.peer_address}" if before else request.peer_address
    mark = "?" if query else ""
    return Request(request.method, path, query, headers, request.body, raw_target=path + mark + query)


async def pass_page(
    request: Request,
    wanted: Request,
    transport: Transport,
    prefix: str,
    address: str,
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
) -> Response:
    """The answer to `wanted`, for the client of `request`; `address` is the host and port that we ask.

    Raises: ConnectionError when the other server does not answer.
    """
    stream = await transport.stream(wanted)
    headers = {n: v for n, v in stream.headers.items() if n not in HOP_BY_HOP | _CROSS_ORIGIN and n != "date"}
    content_type = headers.get("content-type", "")
    is_page = content_type.partition(";")[0].strip() == "text/html"
    if not headers.get("location") and (not is_page or request.method == "HEAD" or stream.status in _NO_BODY):
        return hand_on(stream, headers, spawn, wanted.path)
    # most answers need none of this
    from carob.apiserver.nodes import page_links

    links = page_links.Links(prefix, frozenset((address, request.headers.get("host", ""))))
    if headers.get("location"):
        headers["location"] = links.rewritten(headers["location"])
        return hand_on(stream, headers, spawn, wanted.path)
    first, whole = await _read(stream, page_links.MAX_PAGE_BYTES)
    if not whole:
        return hand_on(stream, headers, spawn, wanted.path, first)
    encoding = headers.get("content-encoding", "").strip().lower()
    changed = await asyncio.to_thread(page_links.rewrite_body, links, first, encoding)
    headers.pop("content-type")
    return Response(
        stream.status,
        first if changed is None else changed,
        content_type,
        headers=list(headers.items()),
    )


async def _read(stream: ResponseStream, most: int) -> tuple[bytes, bool]:
    """What there is up to `most` bytes, and whether that is all; then the stream is closed."""
    pieces, size = [], 0
    try:
        while data := await stream.read():
            pieces.append(data)
            size += len(data)
            if size > most:
                return b"".join(pieces), False
    except BaseException:
        async with stream:
            raise
    async with stream:
        return b"".join(pieces), True

"""GET of one object, and of its status."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from carob.api.status import not_found
from carob.apiserver import list_options, negotiation
from carob.apiserver.encodings import has_protobuf
from carob.apiserver.handlers.freshness import wait_until
from carob.apiserver.negotiation import PLAIN, Form
from carob.apiserver.presenters import check_single, finished, include_of
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request

YAML_ASIDE_BYTES = 64 << 10


def form_of(info: RequestInfo, request: Request, *, watch: bool = False) -> Form:
    """The form that a request asks for. Raises: ApiError 406."""
    headers = request.headers
    pretty = negotiation.wants_pretty(info.first("pretty") if info.query else "", headers.get("user-agent", ""))
    accept = headers.get("accept", "")
    protobuf = negotiation.PROTOBUF in accept and has_protobuf(info.resource)
    return negotiation.form_of(accept, watch=watch, pretty=pretty, protobuf=protobuf)


def get(backend: Backend, info: RequestInfo, request: Request) -> Response | Awaitable[Response]:
    """One object. Raises: ApiError 404, 406, 504."""
    form = form_of(info, request)
    check_single(form)
    if info.query:
        revision = list_options.revision_of(info.first("resourceVersion"))
        if revision is not None and revision > backend.objects.revision:
            return _later(backend, info, form, revision)
    return _answer(backend, info, form)


async def _later(backend: Backend, info: RequestInfo, form: Form, revision: int) -> Response:
    await wait_until(backend, revision)
    answer = _answer(backend, info, form)
    return answer if isinstance(answer, Response) else await answer


def _answer(backend: Backend, info: RequestInfo, form: Form) -> Response | Awaitable[Response]:
    row = info.resource
    assert row is not None
    cache = backend.objects.cache(row)
    entry = cache.get(info.namespace, info.name)
    if entry is None:
        raise not_found(row, info.name)
    if form is PLAIN and row is cache.row:
        return Response(200, cache.head + entry.tail + b"\n")
    if form.media == negotiation.YAML and entry.size > YAML_ASIDE_BYTES:
        return _aside(backend, info, form, entry)
    return written_entry(backend, info, form, entry)


async def _aside(backend: Backend, info: RequestInfo, form: Form, entry: Entry) -> Response:
    """Write a large object as YAML in a thread: that takes a second a megabyte, and others want answers."""
    tree = written_entry(backend, info, replace(form, media=negotiation.JSON), entry)
    body = await asyncio.get_running_loop().run_in_executor(None, finished, form, tree.body)
    return Response(200, body, form.media)


def written_entry(
    backend: Backend, info: RequestInfo, form: Form, entry: Entry, status: int = 200, warnings: list[str] | None = None
) -> Response:
    """An entry as the answer of any verb, in any form."""
    row = info.resource
    assert row is not None
    if form is PLAIN and not warnings:
        cache = backend.objects.cache(row)
        if row is cache.row:
            return Response(status, cache.head + entry.tail + b"\n")
    include = include_of(info.first("includeObject")) if form.kind else ""
    presenter = backend.presenters.get(form, row, backend.objects.stored_row(row), include or "Metadata")
    response = Response(status, finished(form, presenter.one(entry)), form.media)
    if warnings:
        response.headers.extend(warning_headers(warnings))
    return response


def warning_headers(warnings: list[str]) -> list[tuple[str, str]]:
    """`Warning: 299 - "…"` headers, each text once.

    A text with control characters is no header and is left out; texts that are too long in sum are cut, and those that
    still have no room are dropped.
    Source: apiserver `endpoints/filters/warning.go`.
    """
    texts = [text for text in dict.fromkeys(warnings) if text and not _CONTROL.search(text)]
    if sum(map(len, texts)) > _MAX_WARNINGS_LENGTH:
        texts = [text[:_MAX_CUT_LENGTH] for text in texts]
        texts = texts[: _MAX_WARNINGS_LENGTH // _MAX_CUT_LENGTH]
    return [("Warning", f'299 - "{_quoted(text)}"') for text in texts]


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_WARNINGS_LENGTH = 4096
_MAX_CUT_LENGTH = 256


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

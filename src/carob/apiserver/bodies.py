"""Request bodies: which media types are read, and what becomes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.api import strict
from carob.api.body_limits import check_json
from carob.api.status import ApiError
from carob.apiserver import negotiation
from carob.apiserver.options import MAX_REQUEST_BODY_BYTES

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request

_READ = frozenset((negotiation.JSON, negotiation.YAML, negotiation.PROTOBUF, negotiation.CBOR))


# An escaped surrogate that has no partner is no character.
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)"
    rb"(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


def text_of(request: Request) -> bytes:
    """The body; lone surrogates in JSON become U+FFFD, as Go's decoder makes them."""
    body = request.body
    if b"\\u" in body and (b"\\ud" in body or b"\\uD" in body):
        return _LONE_SURROGATE.sub(rb"\1\\ufffd", body)
    return body


def check_size(info: RequestInfo, request: Request) -> None:
    """Refuse a large body that is too large, or holds too many values. Raises: ApiError 413."""
    if len(request.body) > MAX_REQUEST_BODY_BYTES:
        words = f"Request entity too large: limit is {MAX_REQUEST_BODY_BYTES}"
        raise ApiError(413, "RequestEntityTooLarge", words)
    # what is no JSON is counted while it is read; what is passed on is not read
    if info.subresource != "proxy" and "json" in negotiation.media_type(request.headers.get("content-type", "")):
        check_json(request.body)


def media_of(request: Request) -> str:
    """The media type of a body that we read. Raises: ApiError 415."""
    media = negotiation.media_type(request.headers.get("content-type", ""))
    if media not in _READ:
        raise negotiation.unsupported_media_type()
    return media


def validation_of(info: RequestInfo) -> str:
    """How unknown and duplicate fields are treated."""
    return (info.first("fieldValidation") if info.query else "") or strict.WARN


def decode(row: Resource, info: RequestInfo, request: Request) -> tuple[Any, list[str]]:
    """The object of a request's body and the warnings that it earned. Raises: ApiError 400, 415."""
    if row.custom and media_of(request) == negotiation.PROTOBUF:
        raise negotiation.unsupported_media_type(f"{negotiation.JSON}, {negotiation.YAML}")
    return strict.decode_body(row, text_of(request), media_of(request), validation_of(info))


def decode_as(struct: type[Any], group: str, info: RequestInfo, request: Request) -> tuple[Any, list[str]]:
    """As `decode`, for a body of another kind than the resource's: Binding, Scale, Eviction. Raises: ApiError 400, 415."""
    return strict.decode_as(struct, group, text_of(request), media_of(request), validation_of(info))

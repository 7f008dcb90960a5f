"""The objects of requests and answers as trees of JSON, whatever they came in.

Pure. Source: apiserver `pkg/audit/request.go`: a request's object is logged as it was decoded, defaults and all; a patch as it
came; an answer as it goes out.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec, protobuf, strict
from carob.api import protobuf_writing as writing
from carob.api.defaulting import default
from carob.api.status import ApiError
from carob.apiserver import bodies, negotiation

if TYPE_CHECKING:
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request, Response

SMALL_BYTES = 64 << 10


def attempted(request: Request) -> str:
    """Which ways to say who one is were tried. Source: `getAuthMethods`."""
    tried = []
    scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
    if scheme in ("basic", "bearer"):
        tried.append(scheme)
    if "access_token=" in request.query:
        tried.append("access_token")
    if request.peer_certificate is not None:
        tried.append("x509")
    return (
        f"Authentication failed, attempted: {', '.join(tried)}"
        if tried
        else "Authentication failed, no credentials provided"
    )


def of_request(request: Request, info: RequestInfo) -> Any:
    """What a request holds; None for what cannot be read."""
    body, media = bodies.text_of(request), negotiation.media_type(request.headers.get("content-type", ""))
    if info.verb not in ("create", "update"):
        tree = tree_of(media, body)
        if info.verb in ("delete", "deletecollection") and isinstance(tree, dict):
            return {"kind": "DeleteOptions", "apiVersion": "v1"} | tree
        return tree
    row = info.resource
    tree = tree_of(media, body)
    if row is None or not row.kind or row.custom or not isinstance(tree, dict):
        return tree
    if info.subresource and tree.get("kind") != row.kind:
        return tree
    try:
        obj, _ = strict.decode_body(row, body, media, strict.IGNORE)
        default(obj)
    except ApiError:
        return tree
    return orjson.loads(codec.encode(obj))


def may_be_status(response: Response) -> bool:
    """Whether the answer may be a Status: failures are, and deletions that left nothing."""
    if response.segments is not None or len(response.body) > SMALL_BYTES:
        return False
    return response.status >= 400 or b"Status" in response.body[:64]


def of_response(response: Response) -> Any:
    """The object of an answer, which can still be sent afterwards; None where there is none."""
    body = response.body
    if response.segments is not None:
        pieces = list(response.segments)
        response.segments = iter(pieces)
        body = b"".join(pieces)
    if ("Content-Encoding", "gzip") in response.headers:
        body = zlib.decompress(body, 31)
    return tree_of(response.content_type, body)


def tree_of(media: str, body: bytes) -> Any:
    """The tree of an encoded object; None for what is none."""
    try:
        if media == negotiation.PROTOBUF:
            envelope = protobuf.envelope(body)
            head = {"kind": envelope.kind, "apiVersion": envelope.api_version}
            message = writing.message_of(envelope.api_version, envelope.kind)
            return None if message is None else head | protobuf.decode_message(envelope.raw, message)
        if media == negotiation.CBOR or media.endswith("+cbor"):
            from carob.api import cbor

            return cbor.decode(body)
        if media == negotiation.YAML or media.endswith("+yaml"):
            from carob.api import go_json, yaml_tree

            return go_json.plain(yaml_tree.parse(body)[0])
        return orjson.loads(body)
    except (ValueError, ApiError, RecursionError):
        return None

"""Answers in protobuf, CBOR and YAML: what a presenter makes as JSON, written anew.

JSON is what the watch cache holds and what nearly everybody asks for; an answer in another encoding costs its decoding and
writing, some 60 µs for a Pod, and in YAML a millisecond. So long lists are made in slices, and a group of watchers shares
one frame.

May touch: bytes. Source: apimachinery `runtime/serializer/{protobuf,cbor}`, apiserver `handlers/watch.go`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import protobuf_writing as writing
from carob.api import schema
from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.apiserver import negotiation
from carob.apiserver.yaml_text import to_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from carob.api.resources import Resource
    from carob.apiserver.negotiation import Form
    from carob.apiserver.presenters import Presenter
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request, Response

BINARY = frozenset((negotiation.PROTOBUF, negotiation.CBOR))
# Objects' bytes that are written anew in one turn of the loop: some 10 ms.
_TURN_BYTES = {negotiation.PROTOBUF: 256 << 10, negotiation.CBOR: 256 << 10, negotiation.YAML: 16 << 10}


@lru_cache(maxsize=256)
def _message_of(api_version: str, kind: str) -> str | None:
    return writing.message_of(api_version, kind)


def has_protobuf(row: Resource | None) -> bool:
    """Whether objects of a row have a protobuf form; what is no resource has one: Status."""
    return row is None or (not row.custom and _message_of(row.api_version, row.kind) is not None)


def encoded(media: str, tree: Any) -> bytes:
    """An object's tree as a whole answer."""
    if media == negotiation.CBOR:
        from carob.api import cbor

        return cbor.encode(tree, _shape_of(tree))
    message = _message_of(tree.get("apiVersion", ""), tree.get("kind", ""))
    assert message is not None, tree.get("kind")
    return writing.enveloped(tree, message)


def _shape_of(tree: Any) -> schema.Shape | None:
    row = TABLE.by_kind(str(tree.get("apiVersion")), str(tree.get("kind")))
    return None if row is None else schema.shape_of(row.struct)


def framed(media: str, event: dict[str, Any]) -> bytes:
    """One event of a watch. Shape: `event` has `type` and `object`."""
    kind, obj = event["type"], event["object"]
    if media == negotiation.CBOR:
        from carob.api import cbor

        return cbor.event(kind, obj, _shape_of(obj))
    return writing.watch_frame(kind.encode(), encoded(media, obj))


def unframed(media: str, data: bytes) -> Iterator[bytes]:
    """The events of a piece of a watch, one by one, without what says where they end."""
    if media == negotiation.CBOR:
        from carob.api import cbor

        yield from cbor.items_of(data)
    else:
        yield from writing.watch_frames(data)


def recoded(info: RequestInfo, request: Request, response: Response) -> None:
    """Write a small answer (a Status, a review, a discovery document) anew, if the client would rather have it so.

    What the engine's presenters answer has been negotiated already, and would come out the same.
    """
    body = response.body
    if not body or response.content_type != negotiation.JSON or info.subresource == "proxy":
        return
    accept = request.headers.get("accept", "")
    try:
        form = negotiation.form_of(accept, protobuf=has_protobuf(info.resource))
    except ApiError:
        return
    if form.kind or form.media == negotiation.JSON:
        return
    if body[:1] != b"{":
        return  # packed already, as OpenAPI documents are, or a text that calls itself JSON
    tree = orjson.loads(body)
    if not isinstance(tree, dict) or "kind" not in tree:
        return
    # discovery documents leave it out, as old clients expect
    tree = {"apiVersion": "v1"} | tree
    if form.media == negotiation.YAML:
        response.body = to_yaml(tree)
    elif form.media == negotiation.CBOR or _message_of(tree["apiVersion"], tree["kind"]) is not None:
        response.body = encoded(form.media, tree)
    else:
        return
    response.content_type = form.media


class Encoded:
    """A presenter whose lists and watches are in the form's encoding; single objects stay JSON until they are sent."""

    separator = b",{"

    def __init__(self, form: Form, row: Resource, inner: Presenter) -> None:
        self.form = form
        self.turn_bytes = _TURN_BYTES[form.media]
        self.headers_first = inner.headers_first
        self._inner = inner
        whole = not form.kind
        self._shape = schema.shape_of(row.struct) if whole and not row.custom else None
        self.one, self.opening, self.empty = inner.one, inner.opening, inner.empty
        self._message: Callable[[Any], bytes] | None = None
        if form.media == negotiation.PROTOBUF:
            version, kind = (row.api_version, row.kind) if whole else (form.api_version, negotiation.PARTIAL)
            lists = row.list_kind if whole else negotiation.PARTIAL_LIST
            self._message = writing.writer(_message_of(version, kind) or "")
            self._frame = writing.ListFrame(_message_of(version, lists) or "")

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """The items in the encoding, as they stand in a list."""
        trees = [orjson.loads(b"{" + item) for item in self._inner.items(entries)]
        if self.form.media == negotiation.YAML:
            return [to_yaml([tree]) for tree in trees]
        if self._message is None:
            from carob.api import cbor

            return [cbor.item(tree, self._shape) for tree in trees]
        write, placed = self._message, self._frame.item
        return [placed(write(tree)) for tree in trees]

    def around(self, metadata: bytes, items: list[bytes]) -> tuple[bytes, bytes]:
        """What stands before and behind the items."""
        tree = orjson.loads(self._inner.opening(metadata) + b"]}")
        if self.form.media == negotiation.YAML:
            # lists are not indented, and no other key of the outermost level has this name
            name = list(tree)[-1].encode()
            before, behind = to_yaml(tree).split(b"\n%b: []\n" % name)
            return b"%b\n%b:\n" % (before, name), behind
        if self._message is None:
            from carob.api import cbor

            return cbor.before_items(tree, len(items)), b""
        return self._frame.around(tree, sum(map(len, items)))

    def event(self, kind: bytes, entry: Entry, headers: bool = False) -> bytes:
        """One frame of a watch."""
        return framed(self.form.media, orjson.loads(self._inner.event(kind, entry, headers)))

    def bookmark(self, revision: int, initial_end: bool) -> bytes:
        """The frame that tells how far a watch has come."""
        return framed(self.form.media, orjson.loads(self._inner.bookmark(revision, initial_end)))

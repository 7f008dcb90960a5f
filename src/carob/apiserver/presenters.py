"""How cached objects become answers: one presenter a form (the object itself, its metadata, a Table).

A presenter turns entries into bytes: one object, the items of a list, the lines of a watch. The plain one only joins
bytes. May touch: bytes and a clock (ages in Tables).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import orjson

from carob.api import codec
from carob.api.status import ApiError
from carob.apiserver import negotiation, tables
from carob.apiserver.conversion import converter
from carob.apiserver.encodings import BINARY, Encoded, encoded
from carob.apiserver.negotiation import Form, not_acceptable
from carob.apiserver.watch_cache import head_of
from carob.apiserver.yaml_text import to_yaml
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from carob.api.resources import Resource
    from carob.apiserver.watch_cache import Entry
    from carob.base.clock import Clock

T = TypeVar("T")

SEGMENT_ITEMS = 128
# Of objects that are decoded for Tables, metadata and other versions: some 10 ms.
CONVERTED_TURN_BYTES = 1 << 20
# A list up to this size is one body: it leaves in one write.
SMALL_LIST_BYTES = 64 << 10

INITIAL_EVENTS_END = b',"annotations":{"k8s.io/initial-events-end":"true"}'


class Presenter(Protocol):
    """One form of one resource."""

    form: Form
    headers_first: bool
    """True for Tables: a watch's first event carries the columns, the others do not."""
    turn_bytes: int
    """How many bytes of objects are made into items in one turn of the loop; 0: any number, for they are taken as they lie."""
    separator: bytes
    """What stands between two items; all but its comma stands before the first one, too."""

    def one(self, entry: Entry) -> bytes:
        """The object as an answer's JSON."""
        ...

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """The items without what the separator brings."""
        ...

    def opening(self, metadata: bytes) -> bytes:
        """A list up to its first item."""
        ...

    def empty(self, metadata: bytes) -> bytes:
        """A list without items."""
        ...

    def event(self, kind: bytes, entry: Entry, headers: bool = False) -> bytes:
        """One line of a watch."""
        ...

    def bookmark(self, revision: int, initial_end: bool) -> bytes:
        """The line that tells how far a watch has come."""
        ...


class Plain:
    """The object itself; of another version than the stored one it is converted."""

    headers_first = False
    separator = b",{"

    def __init__(self, form: Form, row: Resource, stored: Resource) -> None:
        self.form = form
        self.turn_bytes = 0 if row is stored else CONVERTED_TURN_BYTES
        self._head = head_of(row)
        self._opening = f'{{"kind":"{row.list_kind}","apiVersion":"{row.api_version}","metadata":'.encode()
        self._convert = None if row is stored else converter(stored, row)
        self._bookmark = f'{{"type":"BOOKMARK","object":{self._head.decode()}"metadata":{{"resourceVersion":"'.encode()
        self._bookmark_end = _empty_rest(row)

    def tail(self, entry: Entry) -> bytes:
        """The object behind its head."""
        return entry.tail if self._convert is None else self._convert(entry)

    def one(self, entry: Entry) -> bytes:
        """The object as JSON."""
        return self._head + self.tail(entry)

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """Tails; items of a list carry no kind and no apiVersion."""
        convert = self._convert
        if convert is None:
            return [entry.tail for entry in entries]
        return [convert(entry) for entry in entries]

    def opening(self, metadata: bytes) -> bytes:
        """A list up to its first item."""
        return self._opening + metadata + b',"items":['

    def empty(self, metadata: bytes) -> bytes:
        """A list without items."""
        return self.opening(metadata) + b"]}"

    def event(self, kind: bytes, entry: Entry, headers: bool = False) -> bytes:
        """One line of a watch."""
        return b'{"type":"%b","object":%b%b}\n' % (kind, self._head, self.tail(entry))

    def bookmark(self, revision: int, initial_end: bool) -> bytes:
        """An object with nothing but a resourceVersion."""
        end = INITIAL_EVENTS_END if initial_end else b""
        return b'%b%d"%b}%b}}\n' % (self._bookmark, revision, end, self._bookmark_end)


def _empty_rest(row: Resource) -> bytes:
    """What an empty object of the kind has besides metadata: fields that are never left out (`"data":{}` no, `spec` yes)."""
    if row.custom:
        return b""
    tree = codec.to_tree(row.struct())
    for key in ("kind", "apiVersion", "metadata"):
        tree.pop(key, None)
    return b"," + orjson.dumps(tree)[1:-1] if tree else b""


class _Head(msgspec.Struct):
    metadata: msgspec.Raw


_metadata_of = msgspec.json.Decoder(_Head).decode


def metadata_bytes(entry: Entry) -> bytes:
    """The JSON of an object's metadata."""
    return bytes(_metadata_of(b"{" + entry.tail).metadata)


def _without_template_generation(entry: Entry) -> bytes:
    """Upstream writes this annotation of a DaemonSet only where it writes the whole object: it is a field in between."""
    metadata = orjson.loads(metadata_bytes(entry))
    annotations = metadata.get("annotations", {})
    if annotations.pop("deprecated.daemonset.template.generation", None) is not None and not annotations:
        del metadata["annotations"]
    return orjson.dumps(metadata)


_LEANER = {("apps", "daemonsets"): _without_template_generation}


class Partial:
    """Metadata alone, as garbage collectors and metadata informers want it."""

    headers_first = False
    turn_bytes = CONVERTED_TURN_BYTES
    separator = b",{"

    def __init__(self, form: Form, row: Resource) -> None:
        self.form = form
        self._metadata = _LEANER.get((row.group, row.plural), metadata_bytes)
        self._head = f'{{"kind":"{negotiation.PARTIAL}","apiVersion":"{form.api_version}","metadata":'.encode()
        self._opening = f'{{"kind":"{negotiation.PARTIAL_LIST}","apiVersion":"{form.api_version}","metadata":'.encode()

    def one(self, entry: Entry) -> bytes:
        """The object's metadata as a PartialObjectMetadata."""
        return b"%b%b}" % (self._head, self._metadata(entry))

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """Items carry kind and apiVersion here, as upstream writes them."""
        return [self.one(entry)[1:] for entry in entries]

    def opening(self, metadata: bytes) -> bytes:
        """A list up to its first item."""
        return self._opening + metadata + b',"items":['

    def empty(self, metadata: bytes) -> bytes:
        """A list without items."""
        return self.opening(metadata) + b"]}"

    def event(self, kind: bytes, entry: Entry, headers: bool = False) -> bytes:
        """One line of a watch."""
        return b'{"type":"%b","object":%b}\n' % (kind, self.one(entry))

    def bookmark(self, revision: int, initial_end: bool) -> bytes:
        """Metadata with nothing but a resourceVersion."""
        end = INITIAL_EVENTS_END if initial_end else b""
        return b'{"type":"BOOKMARK","object":%b{"resourceVersion":"%d"%b}}}\n' % (self._head, revision, end)


class TableForm:
    """Rows of cells; `include` says what each row brings along: Metadata, Object or None."""

    headers_first = True
    turn_bytes = CONVERTED_TURN_BYTES
    separator = b",{"

    def __init__(self, form: Form, row: Resource, stored: Resource, include: str, clock: Clock) -> None:
        self.form = form
        self._stored = stored
        self._table = tables.table_of(row)
        self._decode = _decoder(row, stored)
        self._clock = clock
        self._include = include
        self._plain = Plain(form, row, stored)
        self._partial = Partial(form, row)
        self._head = f'{{"kind":"Table","apiVersion":"{form.api_version}","metadata":'.encode()
        self._columns = b',"columnDefinitions":%b,"rows":[' % self._table.columns
        self._no_columns = b',"columnDefinitions":null,"rows":['

    def row(self, entry: Entry) -> bytes:
        """One row."""
        cells, conditions = self._table.cells(self._decode(self._plain, entry), self._clock.now())
        return self._written(cells, conditions, self._object(entry))

    @staticmethod
    def _written(cells: list[Any], conditions: bytes, obj: bytes) -> bytes:
        more = b',"conditions":' + conditions if conditions else b""
        return b'{"cells":%b%b,"object":%b}' % (orjson.dumps(cells), more, obj)

    def _object(self, entry: Entry) -> bytes:
        if self._include == "None":
            return b"null"
        return self._plain.one(entry) if self._include == "Object" else self._partial.one(entry)

    def one(self, entry: Entry) -> bytes:
        """A Table with one row."""
        return self._single(entry.revision, self.row(entry), headers=True)

    def _single(self, revision: int, row: bytes, headers: bool) -> bytes:
        columns = self._columns if headers else self._no_columns
        return b'%b{"resourceVersion":"%d"}%b%b]}' % (self._head, revision, columns, row)

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """One row an object."""
        return [self.row(entry)[1:] for entry in entries]

    def opening(self, metadata: bytes) -> bytes:
        """A Table up to its first row."""
        return self._head + metadata + self._columns

    def empty(self, metadata: bytes) -> bytes:
        """A Table without rows; that of a kind without cells of its own says null, as upstream's default does."""
        if self._table.default:
            return (self._head + metadata + self._columns).removesuffix(b"[") + b"null}"
        return self._head + metadata + self._columns + b"]}"

    def event(self, kind: bytes, entry: Entry, headers: bool = False) -> bytes:
        """One line of a watch: a Table with one row."""
        return b'{"type":"%b","object":%b}\n' % (kind, self._single(entry.revision, self.row(entry), headers))

    def bookmark(self, revision: int, initial_end: bool) -> bytes:
        """A row of an object that has nothing but a resourceVersion."""
        tree: dict[str, Any] = {"metadata": {"resourceVersion": str(revision)}}
        end = INITIAL_EVENTS_END if initial_end else b""
        cells, _ = self._table.cells(self._table.empty(tree), self._clock.now())
        obj = b'%b{"resourceVersion":"%d"%b}}' % (self._partial._head, revision, end)
        if self._include == "None":
            obj = b"null"
        row = self._written(cells, b"", obj)
        return b'{"type":"BOOKMARK","object":%b}\n' % self._single(revision, row, headers=False)


def _decoder(row: Resource, stored: Resource) -> Callable[[Plain, Entry], Any]:
    if row.custom:
        return lambda plain, entry: orjson.loads(plain.one(entry))
    struct = row.struct
    return lambda plain, entry: codec.decode(struct, plain.one(entry))


class Presenters:
    """Makes and keeps presenters: there are few forms, and each is asked for thousands of times."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[tuple[Any, ...], Presenter] = {}

    def get(self, form: Form, row: Resource, stored: Resource, include: str = "Metadata") -> Presenter:
        """The presenter of a form. `include` matters for Tables alone."""
        key = (row.group, row.version, row.plural, form, include)
        found = self._kept.get(key)
        if found is None or row.custom:
            found = self._kept[key] = self._made(form, row, stored, include)
        return found

    def _made(self, form: Form, row: Resource, stored: Resource, include: str) -> Presenter:
        if form.media in (*BINARY, negotiation.YAML):
            return Encoded(form, row, self._made(Form(kind=form.kind, version=form.version), row, stored, include))
        if form.kind == negotiation.TABLE:
            return TableForm(form, row, stored, include, self._clock)
        return Partial(form, row) if form.kind else Plain(form, row, stored)


def include_of(value: str) -> str:
    """The `includeObject` parameter of a Table. Raises: ApiError 400."""
    if value in ("", "Metadata", "Object", "None"):
        return value or "Metadata"
    why = f"Invalid value: \"{value}\": must be 'Metadata', 'Object', 'None', or empty"
    raise ApiError(400, "BadRequest", f"Unable to convert to Table as requested: includeObject: {why}")


def check_single(form: Form) -> None:
    """Refuse the list form where one object is answered. Raises: ApiError 406."""
    if form.kind == negotiation.PARTIAL_LIST:
        raise not_acceptable()


def check_list(form: Form) -> None:
    """Refuse the single form where a list is answered. Raises: ApiError 406."""
    if form.kind == negotiation.PARTIAL:
        raise not_acceptable()


def written(form: Form, body: bytes) -> Response:
    """An answer of JSON bytes in the form's medium."""
    return Response(200, finished(form, body), form.media)


def finished(form: Form, body: bytes) -> bytes:
    """JSON bytes in the form's medium: as they are, indented, as YAML, or encoded."""
    if form.media in BINARY:
        return encoded(form.media, orjson.loads(body))
    if form.media == negotiation.YAML:
        return to_yaml(orjson.loads(body))
    if form.pretty:
        return msgspec.json.format(body, indent=2)
    return body + b"\n"


def list_response(
    presenter: Presenter, entries: Sequence[Entry], metadata: bytes, items: list[bytes] | None = None
) -> Response:
    """A list of any size: small ones as one body, large ones in segments of known length.

    Shape: `items` are those of `entries`, if they have been made already.
    """
    opening, separator, form = presenter.opening(metadata), presenter.separator, presenter.form
    lead = separator[1:]
    if not entries:
        return written(form, presenter.empty(metadata))
    if items is None and not presenter.turn_bytes and not form.pretty:
        # items are the objects as they lie, whose length is known: each part is made when it is its turn to be sent
        length = len(opening) + sum([entry.size for entry in entries]) + len(separator) * len(entries) + 2
        if length > SMALL_LIST_BYTES:
            parts = (presenter.items(part) for part in _parts(entries))
            segments = _segments(opening + lead, parts, separator, b"]}\n")
            return Response(200, content_type=form.media, segments=segments, length=length)
    if items is None:
        items = presenter.items(entries)
    if isinstance(presenter, Encoded):
        before, behind = presenter.around(metadata, items)
        length = len(before) + sum(map(len, items)) + len(behind)
        if length <= SMALL_LIST_BYTES:
            return Response(200, before + b"".join(items) + behind, form.media)
        segments = _segments(before, _parts(items), b"", behind)
        return Response(200, content_type=form.media, segments=segments, length=length)
    size = sum(map(len, items)) + len(separator) * (len(items) - 1) + len(lead)
    length = len(opening) + size + 2
    if length <= SMALL_LIST_BYTES or form.pretty or form.media != negotiation.JSON:
        return written(form, b"%b%b%b]}" % (opening, lead, separator.join(items)))
    segments = _segments(opening + lead, _parts(items), separator, b"]}\n")
    return Response(200, content_type=form.media, segments=segments, length=length + 1)


def _parts(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(all_of_them), SEGMENT_ITEMS):
        yield all_of_them[at : at + SEGMENT_ITEMS]


def _segments(opening: bytes, parts: Iterable[Sequence[bytes]], separator: bytes, end: bytes) -> Iterator[bytes]:
    start = opening
    for items in parts:
        yield start + separator.join(items)
        start = separator
    if end:
        yield end

"""JSON trees to protobuf: the messages of the wire table, each with a writer that is made when it is first needed.

Pure. Shape: fields are written in the order of the tree, which is the same for all objects that come from Structs, and
maps in that of their keys, so that equal objects give equal bytes. A field that the tree lacks is not written.

Source: apimachinery `runtime/serializer/protobuf` (the envelope), `watch` frames of `RawSerializer` and
`LengthDelimitedFramer`; the published field numbers (protobuf_table.json).
"""

from __future__ import annotations

import base64
import struct as binary
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import schema, timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from carob.api.protobuf import Kind

    Writer = Callable[[Any], bytes]

MAGIC = b"k8s\x00"
# contentEncoding and contentType of the envelope, which upstream always writes
_NOTHING_MORE = b"\x1a\x00\x22\x00"
_META = "meta/v1."
_DAYS_BEFORE_1970 = 719163


def message_of(api_version: str, kind: str) -> str | None:
    """The table's name of a kind's message; None for kinds that have no protobuf form (Tables, custom resources)."""
    group, _, version = api_version.rpartition("/")
    table = schema.wire_table()
    name = f"{group.partition('.')[0] or 'core'}/{version}.{kind}"
    for one in (name, _META + kind):
        if table.get(one):
            return one
    return None


def enveloped(tree: dict[str, Any], message: str) -> bytes:
    """An object with the header that says what it is. `message` is the table's name of its kind."""
    return envelope(str(tree.get("apiVersion", "")), str(tree.get("kind", "")), writer(message)(tree))


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    """`raw`, a message, behind the header."""
    type_meta = part(1, api_version.encode()) + part(2, kind.encode())
    return MAGIC + part(1, type_meta) + part(2, raw) + _NOTHING_MORE


class ListFrame:
    """What stands around the items of a list, which are messages already. Every list has these two fields, and all but
    one number them alike."""

    def __init__(self, message: str) -> None:
        numbers = {field[0]: int(number) for number, field in schema.wire_table()[message].items()}
        self._metadata, self._items = numbers["metadata"], numbers["items"]

    def item(self, content: bytes) -> bytes:
        """An item in its place."""
        return part(self._items, content)

    def around(self, tree: dict[str, Any], size: int) -> tuple[bytes, bytes]:
        """Head and end of the answer. Shape: `tree` has kind, apiVersion and metadata; `size` is that of all items."""
        metadata = part(self._metadata, writer(_META + "ListMeta")(tree["metadata"]))
        head = MAGIC + part(1, part(1, tree["apiVersion"].encode()) + part(2, tree["kind"].encode()))
        return head + _KEYS[2] + varint(len(metadata) + size) + metadata, _NOTHING_MORE


def watch_frame(kind: bytes, obj: bytes) -> bytes:
    """One event of a watch. `obj` is enveloped."""
    event = part(1, kind) + part(2, part(1, obj))
    return len(event).to_bytes(4, "big") + event


def watch_frames(data: bytes) -> Iterator[bytes]:
    """The events in a piece of a watch, without their lengths."""
    start = 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : end]
        start = end


def varint(value: int) -> bytes:
    """A number as protobuf writes it; negative ones as 64 bits."""
    if 0 <= value < 128:
        return _SMALL[value]
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [bytes((number,)) for number in range(128)]
# of fields that have a length
_KEYS = [varint(number << 3 | 2) for number in range(64)]


def part(number: int, content: bytes) -> bytes:
    """A field that has a length."""
    size = len(content)
    return _KEYS[number] + (_SMALL[size] if size < 128 else varint(size)) + content


def writer(message: str) -> Callable[[dict[str, Any]], bytes]:
    """What writes the trees of a message."""
    found = _messages.get(message)
    if found is None:
        found = _messages[message] = _Message(message)
        found.prepare()
    return found.write


_messages: dict[str, _Message] = {}


class _Message:
    """Writes one message."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._fields: dict[str, Writer] = {}
        self._inline: list[tuple[frozenset[str], Writer]] = []

    def prepare(self) -> None:
        """Make the writers of the fields; apart from the constructor, because messages may hold themselves."""
        for text, (name, kind, _) in schema.wire_table()[self._name].items():
            number = int(text)
            if name:
                self._fields[name] = _field(number, kind)
            else:
                self._inline.append((_names_in(kind[1]), _field(number, kind)))

    def write(self, tree: dict[str, Any]) -> bytes:
        fields = self._fields
        parts = [fields[name](value) for name, value in tree.items() if name in fields and value is not None]
        for names, write in self._inline:
            parts.append(write({name: tree[name] for name in names if name in tree}))
        return b"".join(parts)


def _names_in(message: str) -> frozenset[str]:
    """The fields of a message that stand in another one, as JSON knows them."""
    names: set[str] = set()
    for name, kind, _ in schema.wire_table()[message].values():
        names |= {name} if name else _names_in(kind[1])
    return frozenset(names)


def _field(number: int, kind: Kind) -> Writer:
    """What writes a field, its key included."""
    if isinstance(kind, list) and kind[0] == "a":
        return partial(_list, _field(number, kind[1]))
    if isinstance(kind, list) and kind[0] == "m":
        return partial(_map, number, _field(2, kind[1] if kind[1][0] != "a" else ["l", kind[1][1]]))
    key = varint(number << 3)
    if kind in ("i", "b"):
        return lambda value: key + varint(int(value))
    if kind == "d":
        fixed = varint(number << 3 | 1)
        return lambda value: fixed + binary.pack("<d", value)
    sized = varint(number << 3 | 2)
    if kind == "s":
        return partial(_text, sized)
    return partial(_sized, sized, _content(kind))


def _text(key: bytes, value: str) -> bytes:
    inner = value.encode()
    size = len(inner)
    return key + (_SMALL[size] if size < 128 else varint(size)) + inner


def _sized(key: bytes, content: Writer, value: Any) -> bytes:
    inner = content(value)
    size = len(inner)
    return key + (_SMALL[size] if size < 128 else varint(size)) + inner


def _list(item: Writer, values: list[Any]) -> bytes:
    return b"".join([item(value) for value in values])


def _map(number: int, value: Writer, tree: dict[str, Any]) -> bytes:
    return b"".join([part(number, part(1, key.encode()) + value(tree[key])) for key in sorted(tree)])


def _content(kind: Kind) -> Writer:
    """What writes a value that has a length."""
    if isinstance(kind, str):
        return _CONTENTS[kind]
    what, inner = kind
    if what == "l":
        # a list as the value of a map is a message of its own
        return partial(_list, _field(1, inner))
    if what == "o":
        return partial(_either, inner)
    if inner not in _messages:
        return lambda value: writer(inner)(value)
    return _messages[inner].write


def _either(message: str, value: Any) -> bytes:
    """A schema, or what may stand in its place: a list, or a boolean."""
    if isinstance(value, dict):
        tree = {"schema": value}
        return writer(message)(tree | {"allows": True} if message.endswith("OrBool") else tree)
    return writer(message)({"allows": value} if isinstance(value, bool) else {"list": value})


def _quantity(value: Any) -> bytes:
    return part(1, str(value).encode())


def _int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + part(3, value.encode())
    return b"\x08\x00\x10" + varint(value) + b"\x1a\x00"


@lru_cache(maxsize=1024)
def _time(text: str) -> bytes:
    if not text:
        return b""
    moment = datetime.fromisoformat(timestamps.canonical(text, micro="." in text))
    days = moment.toordinal() - _DAYS_BEFORE_1970
    seconds = days * 86400 + moment.hour * 3600 + moment.minute * 60 + moment.second
    return b"\x08" + varint(seconds) + b"\x10" + varint(moment.microsecond * 1000)


def _json(value: Any) -> bytes:
    return part(1, orjson.dumps(value))


_CONTENTS: dict[str, Writer] = {
    "s": str.encode,
    "B": base64.b64decode,
    "q": _quantity,
    "x": _int_or_string,
    "t": _time,
    "T": _time,
    "f": _json,
    "r0": _json,
}

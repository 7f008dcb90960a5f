"""Protobuf bodies of the Kubernetes API to JSON trees and back, driven by a table of wire facts.

Pure. `decode` never raises anything but ProtobufError and ApiError, whatever the bytes are. Zero values of fields that are no
pointers are left out, as in JSON.

Source: apimachinery `runtime/serializer/protobuf` (the envelope) and the published field numbers (protobuf_table.json).
"""

from __future__ import annotations

import base64
import struct as binary
import time
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import orjson

from carob.api import protobuf_writing as writing
from carob.api import schema
from carob.api.body_limits import MAX_VALUES, too_many_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAGIC = writing.MAGIC
MAX_DEPTH = 100
GO_ZERO_SECONDS = -62135596800
LATEST_SECONDS = 253402300799
_POINTER, _INLINE = 1, 2

Kind: TypeAlias = str | list[Any]


class ProtobufError(ValueError):
    """Bytes that are no such message."""


class _Field(NamedTuple):
    name: str
    kind: Kind
    pointer: bool
    inline: bool


@cache
def _fields(message: str) -> dict[int, _Field]:
    found = schema.wire_table().get(message)
    if found is None:
        raise ProtobufError(f"no wire format is known for {message}")
    return {
        int(number): _Field(name, kind, bool(flags & _POINTER), bool(flags & _INLINE))
        for number, (name, kind, flags) in found.items()
    }


class Envelope(NamedTuple):
    """What stands around an object: what it is, and its message."""

    api_version: str
    kind: str
    raw: bytes


_BROKEN = (IndexError, UnicodeDecodeError, orjson.JSONDecodeError, binary.error, OverflowError)


def envelope(body: bytes) -> Envelope:
    """Open an enveloped object. Raises: ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    api_version = kind = ""
    raw = (0, 0)
    try:
        for number, value in _Reader(body, 4, len(body)).fields():
            if number == 1 and isinstance(value, tuple):
                for inner, text in _Reader(body, *value).fields():
                    if isinstance(text, tuple) and inner in (1, 2):
                        word = body[text[0] : text[1]].decode()
                        api_version, kind = (word, kind) if inner == 1 else (api_version, word)
            elif number == 2 and isinstance(value, tuple):
                raw = value
    except _BROKEN as error:
        raise ProtobufError(f"unable to decode protobuf: {error}") from None
    return Envelope(api_version, kind, body[raw[0] : raw[1]])


def decode_message(raw: bytes, name: str) -> dict[str, Any]:
    """The JSON tree of a message of the table, without kind and apiVersion. Raises: ProtobufError."""
    try:
        return _message(raw, 0, len(raw), name, 0)
    except _BROKEN as error:
        raise ProtobufError(f"unable to decode protobuf: {error}") from None


def decode_event(raw: bytes) -> tuple[str, bytes]:
    """Type and enveloped object of a watch's event, without the length before it. Raises: ProtobufError."""
    kind, obj = "", b""
    try:
        for number, value in _Reader(raw, 0, len(raw)).fields():
            if number == 1:
                kind = _text(raw, value)
            elif number == 2:
                inner = _inner(raw, value)
                obj = raw[slice(*_part(inner[1]))] if 1 in inner else b""
    except _BROKEN as error:
        raise ProtobufError(f"unable to decode protobuf: {error}") from None
    return kind, obj


def decode(body: bytes, struct: type[Any]) -> dict[str, Any]:
    """The JSON tree of an enveloped object; its kind and apiVersion are the envelope's.

    Raises: ProtobufError; ApiError 413.
    """
    api_version, kind, raw = envelope(_bounded(body))
    tree = decode_message(_bounded(raw), _message_name(api_version, kind, struct))
    out: dict[str, Any] = {}
    if kind and struct.__struct_fields__[0] == "kind":
        out["kind"] = kind
    if api_version and "api_version" in struct.__struct_fields__:
        out["apiVersion"] = api_version
    return out | tree


def _message_name(api_version: str, kind: str, struct: type[Any]) -> str:
    """The table's name: of the envelope's kind if it is of our group, else of the Struct that is wanted."""
    wanted = schema.wire_name(struct)
    if not kind or kind == struct.__name__:
        return wanted
    group, _, version = api_version.rpartition("/")
    name = f"{group.split('.')[0] or 'core'}/{version}.{kind}"
    if name not in schema.wire_table():
        raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
    return name


class _Bounded(bytes):
    """A large body, and how many fields of it have been read."""

    fields_read = 0


def _bounded(body: bytes) -> bytes:
    return _Bounded(body) if len(body) > MAX_VALUES else body


class _Reader:
    """Walks the fields of a message between two offsets."""

    __slots__ = ("_body", "_end", "_position")

    def __init__(self, body: bytes, start: int, end: int) -> None:
        self._body, self._position, self._end = body, start, end

    def _varint(self) -> int:
        body, position = self._body, self._position
        byte = body[position]
        position += 1
        result, shift = byte & 127, 7
        while byte > 127:
            if shift > 63:
                raise ProtobufError("proto: integer overflow")
            byte = body[position]
            position += 1
            result |= (byte & 127) << shift
            shift += 7
        self._position = position
        return result

    def fields(self) -> Iterator[tuple[int, int | tuple[int, int] | bytes]]:
        """Number and value of each: an int, the offsets of a part, or the bytes of a fixed-size number."""
        bounded = self._body if isinstance(self._body, _Bounded) else None
        while self._position < self._end:
            key = self._varint()
            number, wire = key >> 3, key & 7
            value: int | tuple[int, int] | bytes
            if wire == 0:
                value = self._varint()
            elif wire == 2:
                length = self._varint()
                value = (self._position, self._position + length)
                self._position += length
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
                value = self._body[self._position : self._position + size]
                self._position += size
            else:
                raise ProtobufError(f"proto: illegal wireType {wire}")
            if self._position > self._end or number == 0:
                raise ProtobufError("unexpected EOF" if number else "proto: illegal tag 0")
            if bounded is not None:
                bounded.fields_read += 1
                if bounded.fields_read > MAX_VALUES:
                    raise too_many_values()
            yield number, value


def _message(body: bytes, start: int, end: int, name: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ProtobufError("proto: exceeded max depth")
    fields = _fields(name)
    out: dict[str, Any] = {}
    for number, value in _Reader(body, start, end).fields():
        field = fields.get(number)
        if field is None:
            continue
        kind = field.kind
        if kind.__class__ is list and kind[0] == "a":
            out.setdefault(field.name, []).append(_value(body, kind[1], value, depth))
        elif kind.__class__ is list and kind[0] == "m":
            key, item = _entry(body, kind[1], value, depth)
            out.setdefault(field.name, {})[key] = item
        else:
            found = _value(body, kind, value, depth)
            if field.inline:
                out.update(found)
            elif field.pointer or found not in ("", 0, False, None):
                out[field.name] = found
    return out


def _entry(body: bytes, kind: Kind, value: Any, depth: int) -> tuple[str, Any]:
    start, end = _part(value)
    key, item = "", None
    for number, inner in _Reader(body, start, end).fields():
        if number == 1:
            key = _text(body, inner)
        elif number == 2:
            item = _value(body, kind, inner, depth)
    return key, _EMPTY.get(kind if isinstance(kind, str) else kind[0], {}) if item is None else item


_EMPTY: dict[str, Any] = {"s": "", "B": "", "q": "0", "i": 0, "b": False, "a": []}


def _part(value: Any) -> tuple[int, int]:
    if not isinstance(value, tuple):
        raise ProtobufError("proto: wrong wireType")
    return value


def _text(body: bytes, value: Any) -> str:
    start, end = _part(value)
    return body[start:end].decode()


def _signed(value: Any) -> int:
    if not isinstance(value, int):
        raise ProtobufError("proto: wrong wireType")
    number: int = value & ((1 << 64) - 1)
    return number - (1 << 64) if number >> 63 else number


def _value(body: bytes, kind: Kind, value: Any, depth: int) -> Any:
    if kind == "s":
        return _text(body, value)
    if kind.__class__ is list:
        if kind[0] == "r":
            return _message(body, *_part(value), kind[1], depth + 1)
        if kind[0] == "o":
            return _either(_message(body, *_part(value), kind[1], depth + 1))
        # the value of a map may be a list, which upstream wraps in a message of its own
        return [_value(body, kind[1], inner, depth + 1) for _, inner in _Reader(body, *_part(value)).fields()]
    return _SCALARS[str(kind)](body, value)


def _either(tree: dict[str, Any]) -> Any:
    """A schema, or the boolean or list in its place."""
    return tree["schema"] if "schema" in tree else tree.get("list", tree.get("allows"))


def _inner(body: bytes, value: Any) -> dict[int, Any]:
    return dict(_Reader(body, *_part(value)).fields())


def _integer(body: bytes, value: Any) -> int:
    return _signed(value)


def _boolean(body: bytes, value: Any) -> bool:
    return _signed(value) != 0


def _base64(body: bytes, value: Any) -> str:
    start, end = _part(value)
    return base64.b64encode(body[start:end]).decode()


def _double(body: bytes, value: Any) -> float:
    if not isinstance(value, bytes) or len(value) != 8:
        raise ProtobufError("proto: wrong wireType")
    number: float = binary.unpack("<d", value)[0]
    return number


def _quantity(body: bytes, value: Any) -> str:
    inner = _inner(body, value)
    return _text(body, inner[1]) if 1 in inner else "0"


def _int_or_string(body: bytes, value: Any) -> int | str:
    inner = _inner(body, value)
    if inner.get(1) == 1:
        return _text(body, inner[3]) if 3 in inner else ""
    return _signed(inner.get(2, 0))


def _seconds(body: bytes, value: Any) -> tuple[int, int] | None:
    inner = _inner(body, value)
    seconds, nanos = _signed(inner.get(1, 0)), _signed(inner.get(2, 0))
    if not inner or seconds == GO_ZERO_SECONDS:
        return None
    if not GO_ZERO_SECONDS < seconds <= LATEST_SECONDS or not 0 <= nanos < 10**9:
        raise ProtobufError("timestamp out of range")
    return seconds, nanos


def _stamp(seconds: int) -> str:
    moment = time.gmtime(seconds)
    return f"{moment.tm_year:04d}" + time.strftime("-%m-%dT%H:%M:%S", moment)


def _time(body: bytes, value: Any) -> str | None:
    found = _seconds(body, value)
    return None if found is None else _stamp(found[0]) + "Z"


def _micro_time(body: bytes, value: Any) -> str | None:
    found = _seconds(body, value)
    return None if found is None else f"{_stamp(found[0])}.{found[1] // 1000:06d}Z"


def _raw(body: bytes, value: Any) -> Any:
    inner = _inner(body, value)
    if 1 not in inner:
        return None
    start, end = _part(inner[1])
    return orjson.loads(body[start:end]) if end > start else None


_SCALARS: dict[str, Callable[[bytes, Any], Any]] = {
    "i": _integer,
    "b": _boolean,
    "B": _base64,
    "d": _double,
    "q": _quantity,
    "x": _int_or_string,
    "t": _time,
    "T": _micro_time,
    "f": _raw,
    "r0": _raw,
}


def encode(tree: dict[str, Any], struct: type[Any] | None = None) -> bytes:
    """The enveloped object of a JSON tree with kind and apiVersion; of `struct`, where they do not say it.

    Raises: ProtobufError for a kind without facts.
    """
    if struct is None:
        message = writing.message_of(str(tree.get("apiVersion", "")), str(tree.get("kind", "")))
    else:
        message = schema.wire_name(struct)
    if message not in schema.wire_table():
        raise ProtobufError(f"no wire format is known for {message or tree.get('kind')}")
    return writing.enveloped(tree, message)

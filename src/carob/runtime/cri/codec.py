"""Messages of the CRI to and from protobuf bytes: a message is a Struct whose fields carry their numbers.

Pure. `Annotated[str, 3]` is field 3. Zero values are left out and unknown fields passed over, as proto3 says; a message
that is None is absent. Enums are their numbers.

Source: the protobuf encoding specification (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

UNSIGNED = "unsigned"
"""Marks a number that may be 2**63 and more."""
_ALL = (1 << 64) - 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DOUBLE = struct.Struct("<d")


class Message(Struct, kw_only=True):
    """One message. Every field has a default, as in proto3."""


M = TypeVar("M", bound=Message)


class BadMessage(ValueError):
    """Bytes that are no message of the kind that was expected."""


class _Field(NamedTuple):
    name: str
    encode: Callable[[list[bytes], Any], None]
    decode: Callable[[dict[str, Any], int, int | bytes], None]
    """Into the fields that are known so far, the wire type, the value."""


def varint(number: int) -> bytes:
    """A number of at most 64 bits; a negative one is its two's complement."""
    number &= _ALL
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise BadMessage("a number has no end")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _ALL, at
        shift += 7


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def encode(message: Message) -> bytes:
    """The message's bytes."""
    parts: list[bytes] = []
    for field in _table(type(message))[0]:
        field.encode(parts, getattr(message, field.name))
    return b"".join(parts)


def decode(kind: type[M], data: bytes) -> M:
    """A message from its bytes. Raises: BadMessage."""
    by_number = _table(kind)[1]
    found: dict[str, Any] = {}
    at, end = 0, len(data)
    while at < end:
        tag, at = _read_varint(data, at)
        wire = tag & 7
        value: int | bytes
        if wire == _VARINT:
            value, at = _read_varint(data, at)
        elif wire == _BYTES:
            length, at = _read_varint(data, at)
            if at + length > end:
                raise BadMessage("a field reaches beyond its message")
            value = data[at : at + length]
            at += length
        elif wire in (_FIXED64, _FIXED32):
            width = 8 if wire == _FIXED64 else 4
            value = data[at : at + width]
            at += width
        else:
            raise BadMessage(f"wire type {wire} is not used by the CRI")
        field = by_number.get(tag >> 3)
        if field is not None:
            field.decode(found, wire, value)
    return kind(**found)


def decoder(kind: type[M]) -> Callable[[bytes], M]:
    """`decode` for one kind."""
    return lambda data: decode(kind, data)


@cache
def _table(kind: type[Message]) -> tuple[tuple[_Field, ...], dict[int, _Field]]:
    """The fields of a message in their order, and by their numbers; made when a message of the kind is first met."""
    fields, by_number = [], {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        inner, number, *marks = typing.get_args(hint)
        field = by_number[number] = _field(name, number, inner, UNSIGNED in marks)
        fields.append(field)
    return tuple(fields), by_number


def _field(name: str, number: int, hint: Any, unsigned: bool) -> _Field:
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
        return _message(name, number, hint)
    if origin is list:
        (item,) = typing.get_args(hint)
        return _numbers(name, number) if item is int else _list(name, number, item)
    if origin is dict:
        return _map(name, number)
    if hint in (int, bool):
        return _number(name, number, hint, unsigned)
    if hint is float:
        return _double(name, number)
    return _text(name, number, hint)


def _length(number: int) -> Callable[[bytes], bytes]:
    """What stands before a value of many bytes."""
    tag = varint(number << 3 | _BYTES)
    return lambda data: tag + varint(len(data))


def _expect(name: str, wire: int, wanted: int) -> None:
    if wire != wanted:
        raise BadMessage(f"{name}: wire type {wire} instead of {wanted}")


def _string(name: str, data: Any) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise BadMessage(f"{name}: {error}") from error


def _number(name: str, number: int, hint: type, unsigned: bool) -> _Field:
    tag = varint(number << 3)

    def put(parts: list[bytes], value: int) -> None:
        if value:
            parts += (tag, varint(value))

    def take(found: dict[str, Any], wire: int, value: Any) -> None:
        _expect(name, wire, _VARINT)
        found[name] = bool(value) if hint is bool else value if unsigned else _signed(value)

    return _Field(name, put, take)


def _double(name: str, number: int) -> _Field:
    tag = varint(number << 3 | _FIXED64)

    def put(parts: list[bytes], value: float) -> None:
        if value:
            parts += (tag, _DOUBLE.pack(value))

    def take(found: dict[str, Any], wire: int, value: Any) -> None:
        _expect(name, wire, _FIXED64)
        if len(value) != _DOUBLE.size:
            raise BadMessage(f"{name}: the message ends within it")
        (found[name],) = _DOUBLE.unpack(value)

    return _Field(name, put, take)


def _text(name: str, number: int, hint: type) -> _Field:
    before, is_text = _length(number), hint is str

    def put(parts: list[bytes], value: str | bytes) -> None:
        if value:
            data = value.encode() if isinstance(value, str) else value
            parts += (before(data), data)

    def take(found: dict[str, Any], wire: int, value: Any) -> None:
        _expect(name, wire, _BYTES)
        found[name] = _string(name, value) if is_text else value

    return _Field(name, put, take)


def _message(name: str, number: int, kind: type[Message]) -> _Field:
    before = _length(number)

    def put(parts: list[bytes], value: Message | None) -> None:
        if value is not None:
            data = encode(value)
            parts += (before(data), data)

    def take(found: dict[str, Any], wire: int, value: Any) -> None:
        _expect(name, wire, _BYTES)
        found[name] = decode(kind, value)

    return _Field(name, put, take)


def _list(name: str, number: int, item: type) -> _Field:
    before = _length(number)

    def put(parts: list[bytes], value: list[Any]) -> None:
        for one in value:
            data = one.encode() if isinstance(one, str) else encode(one)
            parts += (before(data), data)

    def take(found: dict[str, Any], wire: int, value: Any) -> None:
        _expect(name, wire, _BYTES)
        found.setdefault(name, []).append(_string(name, value) if item is str else decode(item, value))

    return _Field(name, put, take)


def _numbers(name: str, number: int) -> _Field:
    """Packed, as proto3 writes them; read either way."""
    before = _length(number)

    def put(parts: list[bytes], value: list[int]) -> None:
        if value:
            data = b"".join(varint(one) for one in value)
            parts += (before(data), data)

    def take(found: dict[str, Any], wire: int, value: Any) -> None:
        out = found.setdefault(name, [])
        if wire == _VARINT:
            out.append(_signed(value))
            return
        _expect(name, wire, _BYTES)
        at = 0
        while at < len(value):
            one, at = _read_varint(value, at)
            out.append(_signed(one))

    return _Field(name, put, take)


def _map(name: str, number: int) -> _Field:
    """A map of strings: a repeated message of a key (1) and a value (2)."""
    before, key, content = _length(number), _length(1), _length(2)

    def put(parts: list[bytes], value: dict[str, str]) -> None:
        for k, v in value.items():
            one, two = k.encode(), v.encode()
            data = b"".join((key(one), one, content(two), two))
            parts += (before(data), data)

    def take(found: dict[str, Any], wire: int, value: Any) -> None:
        _expect(name, wire, _BYTES)
        entry = decode(_Entry, value)
        found.setdefault(name, {})[entry.key] = entry.value

    return _Field(name, put, take)


class _Entry(Message):
    key: typing.Annotated[str, 1] = ""
    value: typing.Annotated[str, 2] = ""

"""The few messages of etcd's v3 API that a store needs, to and from protobuf bytes.

Pure. Unknown fields are passed over. Zero values are left out, as proto3 does.

Source: etcd `api/etcdserverpb/rpc.proto`, `api/mvccpb/kv.proto`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Value: TypeAlias = "int | bytes"
EQUAL, CREATE_REVISION, MOD_REVISION = 0, 1, 2
EVERYTHING = b"\0"
"""As the key and as the range's end: all keys that there are."""


class Held(NamedTuple):
    """One key as etcd has it."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int


class Ranged(NamedTuple):
    """Keys of a range, as of `revision` of the whole store (the newest, whatever revision was asked for)."""

    revision: int
    held: list[Held]
    total: int


class Decided(NamedTuple):
    """A transaction: its revision if it succeeded; else what is there instead (None: nothing)."""

    revision: int
    succeeded: bool
    present: Held | None


class Told(NamedTuple):
    """One event: what is there now, what was before (None: nothing, or compacted)."""

    deleted: bool
    now: Held
    before: Held | None


class Watched(NamedTuple):
    """What a watch says. `compact_revision` is not 0 where it began too far back."""

    revision: int
    created: bool
    cancelled: bool
    compact_revision: int
    reason: str
    fragment: bool
    events: list[Told]


# -- protobuf ----------------------------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _message(*fields: tuple[int, Value]) -> bytes:
    parts: list[bytes] = []
    for number, value in fields:
        if isinstance(value, bytes):
            if value:
                parts += (_varint(number << 3 | 2), _varint(len(value)), value)
        elif value:
            parts += (_varint(number << 3), _varint(value))
    return b"".join(parts)


def _nested(number: int, message: bytes) -> bytes:
    """A message as a field: present even when it is empty."""
    return _varint(number << 3 | 2) + _varint(len(message)) + message


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    at, end = 0, len(data)
    while at < end:
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 2:
            length, at = _read_varint(data, at)
            if at + length > end:
                raise ValueError("a field reaches beyond its message")
            yield tag >> 3, data[at : at + length]
            at += length
        elif kind == 0:
            number, at = _read_varint(data, at)
            yield tag >> 3, number
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not used by etcd")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    result, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at + 1
        shift += 7


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


# -- requests ----------------------------------------------------------------------------------------------------------


def range_request(
    key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0, count_only: bool = False
) -> bytes:
    """Keys from `key` to before `end`; without an end the one key."""
    return _message((1, key), (2, end), (3, limit), (4, revision), (9, int(count_only)))


def write_request(key: bytes, value: bytes | None, expected: int) -> bytes:
    """Put a value (None: delete) if the key was last written at `expected` (0: does not exist); else read the key."""
    target = CREATE_REVISION if expected == 0 else MOD_REVISION
    number = 5 if expected == 0 else 6
    compare = _message((1, EQUAL), (2, target), (3, key), (number, expected))
    write = _nested(3, _message((1, key))) if value is None else _nested(2, _message((1, key), (2, value)))
    return _nested(1, compare) + _nested(2, write) + _nested(3, _nested(1, range_request(key)))


def put_request(key: bytes, value: bytes) -> bytes:
    """Write a key, whatever is there."""
    return _message((1, key), (2, value))


def compaction_request(revision: int) -> bytes:
    """Forget history before a revision."""
    return _message((1, revision))


def watch_request(start_revision: int) -> bytes:
    """Every event from a revision on, with the value before."""
    return _nested(1, _message((1, EVERYTHING), (2, EVERYTHING), (3, start_revision), (6, 1), (8, 1)))


# -- responses ---------------------------------------------------------------------------------------------------------


def _revision_of(header: bytes) -> int:
    for number, value in _fields(header):
        if number == 3:
            return _int(value)
    return 0


def _held(data: bytes) -> Held:
    key = content = b""
    created = modified = 0
    for number, value in _fields(data):
        if number == 1:
            key = _bytes(value)
        elif number == 2:
            created = _int(value)
        elif number == 3:
            modified = _int(value)
        elif number == 5:
            content = _bytes(value)
    return Held(key, content, created, modified)


def ranged(data: bytes) -> Ranged:
    """The answer to a range request."""
    revision = count = 0
    held: list[Held] = []
    for number, value in _fields(data):
        if number == 1:
            revision = _revision_of(_bytes(value))
        elif number == 2:
            held.append(_held(_bytes(value)))
        elif number == 4:
            count = _int(value)
    return Ranged(revision, held, count)


def decided(data: bytes) -> Decided:
    """The answer to a write request."""
    revision, succeeded = 0, False
    present: Held | None = None
    for number, value in _fields(data):
        if number == 1:
            revision = _revision_of(_bytes(value))
        elif number == 2:
            succeeded = bool(value)
        elif number == 3:
            for kind, response in _fields(_bytes(value)):
                if kind == 1:
                    present = next(iter(ranged(_bytes(response)).held), None)
    return Decided(revision, succeeded, present)


def _told(data: bytes) -> Told:
    deleted = False
    now, before = Held(b"", b"", 0, 0), None
    for number, value in _fields(data):
        if number == 1:
            deleted = value == 1
        elif number == 2:
            now = _held(_bytes(value))
        elif number == 3:
            before = _held(_bytes(value))
    return Told(deleted, now, before)


def watched(data: bytes) -> Watched:
    """One message of a watch."""
    numbers = {3: 0, 4: 0, 5: 0, 7: 0}
    revision, reason = 0, ""
    events: list[Told] = []
    for number, value in _fields(data):
        if number == 11:
            events.append(_told(_bytes(value)))
        elif number == 1:
            revision = _revision_of(_bytes(value))
        elif number == 6:
            reason = _bytes(value).decode(errors="replace")
        elif number in numbers:
            numbers[number] = _int(value)
    return Watched(revision, bool(numbers[3]), bool(numbers[4]), numbers[5], reason, bool(numbers[7]), events)

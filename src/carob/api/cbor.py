"""CBOR bodies of the Kubernetes API to JSON trees and back.

Pure. Shape of what is written, as upstream writes it: the tag of self-described CBOR in front, texts as byte strings,
bytes (`data` of a Secret) as themselves under the tag of base64. What is read may have texts as texts, too.
`decode` never raises anything but CborError and ApiError, whatever the bytes are. The library is imported when the first body comes.

Source: KEP-4222; apimachinery `runtime/serializer/cbor/internal/modes`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from carob.api import schema
from carob.api.body_limits import check_cbor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SELF_DESCRIBED = b"\xd9\xd9\xf7"
_SELF_DESCRIBED_TAG = 55799
_LATER_BASE64 = 22
MAX_DEPTH = 64
MAX_INT, MIN_INT = (1 << 63) - 1, -(1 << 63)
# what the library would make objects of that JSON does not know: the content stands for itself
_PLAIN_TAGS = (0, 1, 4, 5, 30, 35, 36, 37, 100, 258, 260, 261, 1004, 43000, _SELF_DESCRIBED_TAG)
_REFUSED_TAGS = {2: "a big number", 3: "a big number", **dict.fromkeys((25, 28, 29, 256), "a reference")}


class CborError(ValueError):
    """Bytes that are no such object."""


def decode(body: bytes) -> Any:
    """The JSON tree of one data item. Raises: CborError; ApiError 413."""
    import cbor2

    check_cbor(body)
    stream = io.BytesIO(body)
    decoder = cbor2.CBORDecoder(
        stream,
        tag_hook=_content_of,
        semantic_decoders=_semantics(),
        max_depth=MAX_DEPTH,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
        read_size=1,
    )
    try:
        found = _plain(decoder.decode())
    except CborError:
        raise
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise CborError(f"cbor: {error}") from None
    if stream.tell() != len(body):
        raise CborError(f"cbor: {len(body) - stream.tell()} bytes of extraneous data starting at index {stream.tell()}")
    return found


def _content_of(tag: Any, immutable: bool) -> Any:
    return tag.value


@cache
def _semantics() -> Mapping[int, Callable[[Any, bool], Any]]:
    """What becomes of a tag's content, which is decoded already."""

    def content(value: Any, immutable: bool) -> Any:
        return value

    def refusal(words: str) -> Callable[[Any, bool], NoReturn]:
        def refuse(value: Any, immutable: bool) -> NoReturn:
            raise CborError(f"cbor: {words} has no place in an object")

        return refuse

    def later(encode: Callable[[bytes], bytes]) -> Callable[[Any, bool], str]:
        def encoded(value: Any, immutable: bool) -> str:
            if not isinstance(value, bytes):
                raise CborError("cbor: only a byte string has a later encoding")
            return encode(value).decode()

        return encoded

    found: dict[int, Callable[[Any, bool], Any]] = dict.fromkeys(_PLAIN_TAGS, content)
    found |= {tag: refusal(words) for tag, words in _REFUSED_TAGS.items()}
    found[21] = later(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="))
    found[_LATER_BASE64] = later(base64.b64encode)
    found[23] = later(lambda raw: raw.hex().encode())
    return found


def _plain(value: Any) -> Any:
    """What JSON knows of a decoded value: byte strings are texts here."""
    kind = value.__class__
    if kind is str or kind is bool or value is None:
        return value
    if kind is bytes:
        return value.decode()
    if isinstance(value, Mapping):
        return {_key(key): _plain(one) for key, one in value.items()}
    if kind is list or kind is tuple:
        return [_plain(one) for one in value]
    if kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise CborError(f"cbor: {value} is no signed number of 64 bits")
        return value
    if kind is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise CborError("cbor: floating-point NaN and infinity are no values of an object")
        return value
    raise CborError(f"cbor: {kind.__name__} is no value of an object")


def _key(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode()
    if isinstance(key, str):
        return key
    raise CborError("cbor: a key that is no text")


def encode(tree: Any, shape: schema.Shape | None = None) -> bytes:
    """One data item. `shape` says which texts are bytes in base64."""
    import cbor2

    return SELF_DESCRIBED + cbor2.dumps(_prepared(tree, shape))


def item(tree: Any, shape: schema.Shape | None = None) -> bytes:
    """A data item that stands in another one."""
    import cbor2

    return cbor2.dumps(_prepared(tree, shape))


def before_items(tree: dict[str, Any], number: int) -> bytes:
    """A list up to its first item, of so many. Shape: the last key of `tree`, which is small, is that of the items."""
    import cbor2

    *others, last = tree.items()
    head = cbor2.dumps(_prepared(dict(others), None))
    assert head[0] < 0xB7
    # a map's first byte says how many keys it has; an array's head has the same form as a number's
    count = bytearray(cbor2.dumps(number))
    count[0] |= 0x80
    return SELF_DESCRIBED + bytes((head[0] + 1,)) + head[1:] + cbor2.dumps(last[0].encode()) + bytes(count)


def event(kind: str, tree: Any, shape: schema.Shape | None = None) -> bytes:
    """The item of a watch's sequence."""
    import cbor2

    obj = cbor2.CBORTag(_SELF_DESCRIBED_TAG, _prepared(tree, shape))
    return SELF_DESCRIBED + cbor2.dumps({b"type": kind.encode(), b"object": obj})


def items_of(sequence: bytes) -> Iterator[bytes]:
    """The data items of a sequence of our own making, as they lie."""
    import cbor2

    stream = io.BytesIO(sequence)
    decoder = cbor2.CBORDecoder(stream, read_size=1)
    start = 0
    while start < len(sequence):
        decoder.decode()
        yield sequence[start : stream.tell()]
        start = stream.tell()


def with_bytes(shape: schema.Shape | None) -> schema.Shape | None:
    """The shape if there are bytes in it; None for the many that need not be looked at."""
    if not isinstance(shape, schema.StructShape):
        return shape
    found = _have_bytes.get(shape.struct)
    if found is None:
        found = _have_bytes[shape.struct] = _has_bytes(shape, set())
    return shape if found else None


_have_bytes: dict[type[Any], bool] = {}


def _has_bytes(shape: schema.Shape, seen: set[type[Any]]) -> bool:
    if isinstance(shape, schema.ListShape):
        return _has_bytes(shape.item, seen)
    if isinstance(shape, schema.MapShape):
        return _has_bytes(shape.value, seen)
    if isinstance(shape, schema.Scalar):
        return shape.kind == schema.BYTES
    if shape.struct in seen:
        return False
    seen.add(shape.struct)
    return any(_has_bytes(field, seen) for field in shape.fields.values())


def _as_bytes(value: Any) -> Any:
    """`_prepared`, where no text is bytes in base64."""
    kind = value.__class__
    if kind is str:
        return value.encode()
    if kind is dict:
        return {key.encode(): _as_bytes(one) for key, one in value.items()}
    if kind is list:
        return [_as_bytes(one) for one in value]
    return value


def _prepared(value: Any, shape: schema.Shape | None) -> Any:
    shape = with_bytes(shape)
    if shape is None:
        return _as_bytes(value)
    kind = value.__class__
    if kind is str:
        if isinstance(shape, schema.Scalar) and shape.kind == schema.BYTES:
            import cbor2

            return cbor2.CBORTag(_LATER_BASE64, base64.b64decode(value))
        return value.encode()
    if kind is dict:
        fields: Mapping[str, schema.Shape] = shape.fields if isinstance(shape, schema.StructShape) else {}
        rest = shape.value if isinstance(shape, schema.MapShape) else None
        return {key.encode(): _prepared(one, fields.get(key, rest)) for key, one in value.items()}
    if kind is list:
        item = shape.item if isinstance(shape, schema.ListShape) else None
        return [_prepared(one, item) for one in value]
    return value

"""Bytes to Structs and back: decoding is the type check, unknown fields fall away, zero values are not written.

Pure. `decode` accepts what Go's JSON decoder accepts where clients rely on it: `null` counts as absent.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import orjson

from carob.api import quantity, schema
from carob.api.scalars import Quantity

T = TypeVar("T")


def decode_hook(kind: type[Any], value: Any) -> Any:
    """What msgspec asks for types that are none of its own. Raises: ValueError."""
    if kind is Quantity:
        return quantity.of_json(value)
    raise NotImplementedError(f"no decoder for {kind}")


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Quantity):
        return str(value)
    raise NotImplementedError(f"no encoder for {type(value)}")


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def decode(struct: type[T], body: bytes) -> T:
    """The Struct that `body` (JSON) holds.

    Raises: msgspec.ValidationError with the JSON path for a wrong type, msgspec.DecodeError for what is no JSON.
    """
    decoder = _decoders.get(struct)
    if decoder is None:
        decoder = _decoders[struct] = msgspec.json.Decoder(struct, dec_hook=decode_hook)
    try:
        return decoder.decode(body)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        if "got `null`" not in str(error):
            raise
    return from_tree(struct, orjson.loads(body))


def encode(value: Any) -> bytes:
    """Compact JSON of a Struct; a kind's object begins with `kind`, `apiVersion`, `metadata`."""
    return _encoder.encode(value)


def from_tree(struct: type[T], tree: Any) -> T:
    """The Struct of a decoded JSON tree; nulls count as absent. Raises: msgspec.ValidationError."""
    try:
        return msgspec.convert(tree, struct, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        text = str(error)
        if "got `null`" not in text and "Expected `raw`" not in text:
            raise
    plain = _with_raw(schema.without_nulls(tree, schema.shape_of(struct)))
    return msgspec.convert(plain, struct, dec_hook=decode_hook)


def _with_raw(tree: Any) -> Any:
    """The tree with every `metadata.managedFields` as the bytes that the Structs keep."""
    if isinstance(tree, list):
        return [_with_raw(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    out = {key: _with_raw(value) for key, value in tree.items()}
    owners = out.get("managedFields")
    if isinstance(owners, list):
        out["managedFields"] = msgspec.Raw(_dumped(owners))
    return out


def _dumped(tree: Any) -> bytes:
    try:
        return orjson.dumps(tree)
    except TypeError:
        # a number of more than 64 bits: nobody looks into it here, and whoever does says what is wrong with it
        import json

        return json.dumps(tree, separators=(",", ":")).encode()


def to_tree(value: Any) -> Any:
    """The JSON tree (dicts, lists, scalars) of a Struct."""
    return orjson.loads(_encoder.encode(value))

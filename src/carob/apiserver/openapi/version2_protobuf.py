"""The OpenAPI 2 document as protobuf: what kubectl up to 1.28 asks for.

Pure. A piece at a time: a message may come in several parts, which readers put together.
Source: gnostic `openapiv2/OpenAPIv2.proto` (field numbers and names); `vendor_extension` values are YAML texts there, and
JSON is YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api.protobuf_writing import part, varint
from carob.apiserver.openapi.version2 import SECURITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Tree = dict[str, Any]


def _text(number: int, tree: Tree, key: str) -> bytes:
    value = tree.get(key)
    return part(number, value.encode()) if value else b""


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join([part(number, value.encode()) for value in values])


def _true(number: int, tree: Tree, key: str) -> bytes:
    return varint(number << 3) + b"\x01" if tree.get(key) else b""


def _any(value: Any) -> bytes:
    return part(2, orjson.dumps(value))


def _named(number: int, name: str, value: bytes) -> bytes:
    return part(number, part(1, name.encode()) + part(2, value))


def _extensions(number: int, tree: Tree) -> bytes:
    return b"".join([_named(number, key, _any(value)) for key, value in tree.items() if key.startswith("x-")])


def _schema(tree: Tree) -> bytes:
    out = _text(1, tree, "$ref") + _text(2, tree, "format") + _text(4, tree, "description")
    out += _texts(19, tree.get("required", ()))
    out += b"".join([part(20, _any(value)) for value in tree.get("enum", ())])
    more = tree.get("additionalProperties")
    if isinstance(more, dict):
        out += part(21, part(1, _schema(more)))
    elif more is not None:
        out += part(21, b"\x10" + (b"\x01" if more else b"\x00"))
    if "type" in tree:
        out += part(22, part(1, tree["type"].encode()))
    if "items" in tree:
        out += part(23, part(1, _schema(tree["items"])))
    if "properties" in tree:
        fields = [_named(1, name, _schema(one)) for name, one in tree["properties"].items()]
        out += part(25, b"".join(fields))
    return out + _extensions(31, tree)


def _parameter(tree: Tree) -> bytes:
    """A parameter itself; in its place in an operation it may be a reference."""
    start = _true(1, tree, "required") + _text(2, tree, "in") + _text(3, tree, "description") + _text(4, tree, "name")
    if tree["in"] == "body":
        body = _text(1, tree, "description") + _text(2, tree, "name") + _text(3, tree, "in")
        return part(1, body + _true(4, tree, "required") + part(5, _schema(tree["schema"])))
    if tree["in"] == "path":
        return part(
            2, part(4, start + _text(5, tree, "type") + _text(6, tree, "format") + _true(19, tree, "uniqueItems"))
        )
    return part(2, part(3, start + _text(6, tree, "type") + _text(7, tree, "format") + _true(20, tree, "uniqueItems")))


def _parameters(number: int, trees: Iterable[Tree]) -> bytes:
    out = b""
    for tree in trees:
        out += part(number, part(2, _text(1, tree, "$ref")) if "$ref" in tree else part(1, _parameter(tree)))
    return out


def _answer(tree: Tree) -> bytes:
    schema = part(2, part(1, _schema(tree["schema"]))) if "schema" in tree else b""
    return part(1, _text(1, tree, "description") + schema)


def _operation(tree: Tree) -> bytes:
    answers = [_named(1, code, _answer(answer)) for code, answer in tree["responses"].items()]
    return (
        _texts(1, tree.get("tags", ()))
        + _text(3, tree, "description")
        + _text(5, tree, "operationId")
        + _texts(6, tree["produces"])
        + _texts(7, tree["consumes"])
        + _parameters(8, tree.get("parameters", ()))
        + part(9, b"".join(answers))
        + _texts(10, tree["schemes"])
        + _extensions(13, tree)
    )


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def _path_item(tree: Tree) -> bytes:
    out = b"".join([part(number, _operation(tree[method])) for method, number in _METHODS.items() if method in tree])
    return out + _parameters(9, tree.get("parameters", ()))


def _each(number: int, trees: Tree, write: Callable[[Tree], bytes]) -> bytes:
    return b"".join([_named(number, name, write(tree)) for name, tree in trees.items()])


class ProtobufWriter:
    """A `version2.Writer`."""

    def head(self, info: Tree) -> bytes:
        return part(1, b"2.0") + part(2, _text(1, info, "title") + _text(2, info, "version"))

    def paths(self, paths: Tree) -> bytes:
        return part(8, _each(2, paths, _path_item))

    def definitions(self, definitions: Tree) -> bytes:
        return part(9, _each(1, definitions, _schema))

    def tail(self, parameters: Tree) -> bytes:
        key = SECURITY["BearerToken"]
        security = part(2, _text(1, key, "type") + _text(2, key, "name") + _text(3, key, "in"))
        return (
            part(10, _each(1, parameters, _parameter))
            + part(12, _named(1, "BearerToken", b""))
            + part(13, _named(1, "BearerToken", security))
        )

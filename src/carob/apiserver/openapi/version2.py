"""`/openapi/v2`: all groups in one document, made from the parts of the newer ones when somebody asks.

kubectl up to 1.28 cannot do without (the merge keys of `apply`), `explain --output plaintext-openapiv2` and generators of
clients want it too. It is made piece by piece, a group version at a time, and kept compressed, so that a server of a
megabyte-large document never holds it as a tree.

Pure functions of the rows: a thread runs them.
Source: kube-openapi `builder`, `handler`; defaults are pruned as apiserver `routes/openapi.go` does.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from carob.apiserver.openapi.operations import META, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Tree = dict[str, Any]

DEFINITIONS = "#/definitions/"
SECURITY = {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}}
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_ANY = ["*/*"]


class Writer(Protocol):
    """One form of the document, in pieces."""

    def head(self, info: Tree) -> bytes: ...

    def paths(self, paths: Tree) -> bytes: ...

    def definitions(self, definitions: Tree) -> bytes: ...

    def tail(self, parameters: Tree) -> bytes: ...


class JsonWriter:
    """As JSON."""

    def __init__(self) -> None:
        self._place = ""

    def head(self, info: Tree) -> bytes:
        return orjson.dumps({"swagger": "2.0", "info": info})[:-1]

    def paths(self, paths: Tree) -> bytes:
        return self._more("paths", paths)

    def definitions(self, definitions: Tree) -> bytes:
        return self._more("definitions", definitions)

    def _more(self, place: str, tree: Tree) -> bytes:
        inner = orjson.dumps(tree)[1:-1]
        if self._place == place:
            return b"," + inner
        opening = b'%b,"%b":{' % (b"}" if self._place else b"", place.encode())
        self._place = place
        return opening + inner

    def tail(self, parameters: Tree) -> bytes:
        rest = {"parameters": parameters, "securityDefinitions": SECURITY, "security": [{"BearerToken": []}]}
        return b"}," + orjson.dumps(rest)[1:]


def document(writer: Writer, version: str, paths: Iterable[Tree], definitions: Tree) -> bytes:
    """The whole document, compressed with gzip.

    Shape: `paths` are those of one newer document each; `definitions` are newer schemas with their prose.
    """
    packer = zlib.compressobj(5, zlib.DEFLATED, 31)
    packed: list[bytes] = []
    for piece in _pieces(writer, version, paths, definitions):
        packed.append(packer.compress(piece))
    packed.append(packer.flush())
    return b"".join(packed)


def _pieces(writer: Writer, version: str, paths: Iterable[Tree], definitions: Tree) -> Iterator[bytes]:
    yield writer.head({"title": "Kubernetes", "version": version})
    shared: Tree = {}
    for tree in paths:
        yield writer.paths({path: _path_item(item, shared, definitions) for path, item in tree.items()})
    for name in sorted(definitions):
        yield writer.definitions({name: schema_of(definitions[name])})
    yield writer.tail(dict(sorted(shared.items())))


# -- from the newer form to the older one ----------------------------------------------------------------------------


def schema_of(schema: Tree) -> Tree:
    """A schema in OpenAPI 2's words: no defaults, references beside prose, one type."""
    out: Tree = {}
    for key, value in schema.items():
        if key == "allOf":
            out |= schema_of(value[0])
        elif key == "$ref":
            out[key] = DEFINITIONS + value.removeprefix(REFERENCE)
        elif key == "properties":
            out[key] = {name: schema_of(one) for name, one in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = schema_of(value)
        elif key == "oneOf":
            out["type"] = "string"
        elif key != "default":
            out[key] = value
    return out


def _path_item(item: Tree, shared: Tree, definitions: Tree) -> Tree:
    out: Tree = {}
    for key, value in item.items():
        if key in _METHODS:
            out[key] = _operation(value, shared, definitions)
        else:
            out["parameters"] = [_shared(_parameter(one), shared) for one in value]
    return out


def _operation(operation: Tree, shared: Tree, definitions: Tree) -> Tree:
    out: Tree = {"consumes": _ANY, "produces": _ANY, "schemes": ["https"]}
    parameters = [_shared(_parameter(one), shared) for one in operation.get("parameters", ())]
    body = operation.get("requestBody")
    if body is not None:
        out["consumes"] = list(body["content"])
        schema = _of_content(body["content"], definitions)
        one = {"name": "body", "in": "body", "required": True, "schema": schema}
        parameters.insert(0, _shared(one if body.get("required") else _without(one, "required"), shared))
    if parameters:
        out["parameters"] = parameters
    answers: Tree = {}
    for code, answer in operation["responses"].items():
        answers[code] = {"description": answer["description"]}
        if "content" in answer:
            out["produces"] = list(answer["content"])
            answers[code]["schema"] = _of_content(answer["content"], definitions)
    out["responses"] = answers
    return out | {
        key: value for key, value in operation.items() if key not in ("parameters", "requestBody", "responses")
    }


def _of_content(content: Tree, definitions: Tree) -> Tree:
    schema = schema_of(next(iter(content.values()))["schema"])
    name = schema.get("$ref", "").removeprefix(DEFINITIONS)
    # kinds that others serve through us have no schema here
    return schema if not name or name in definitions else {"type": "object"}


def _without(tree: Tree, key: str) -> Tree:
    return {name: value for name, value in tree.items() if name != key}


def _parameter(parameter: Tree) -> Tree:
    schema = parameter["schema"]
    return {key: value for key, value in parameter.items() if key != "schema"} | schema_of(schema)


def _shared(parameter: Tree, shared: Tree) -> Tree:
    """A reference to a parameter that stands once at the end of the document."""
    text = orjson.dumps(parameter, option=orjson.OPT_SORT_KEYS)
    name = f"{parameter['name']}-{zlib.crc32(text):08x}"
    shared[name] = parameter
    return {"$ref": f"#/parameters/{name}"}


def with_groups(definitions: Tree, groups: Iterable[tuple[str, str]], names: Iterable[str]) -> None:
    """Say of the kinds that every group has its own of (DeleteOptions, WatchEvent) in which ones they are."""
    for name in names:
        schema = definitions.get(name)
        if schema is None:
            continue
        kind = name.removeprefix(META)
        own = [{"group": group, "kind": kind, "version": version} for group, version in sorted(set(groups))]
        definitions[name] = schema | {"x-kubernetes-group-version-kind": own}

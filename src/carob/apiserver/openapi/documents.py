"""`/openapi/v3`: an index of documents, one per group version, made from the resource table when somebody asks; and
`/openapi/v2`, which has everything in one.

The schemas come from `definitions.json.gz`, which a script generates; the prose of `explain` from
`descriptions.json.gz`, which only the built package has. A document is kept compressed once made: kubectl takes it so.

Source: KEP-2896; kube-openapi `handler3`.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from carob.api.status import method_not_supported
from carob.apiserver import negotiation
from carob.apiserver.health import TEXT
from carob.apiserver.openapi.operations import (
    MEDIA,
    META,
    REFERENCE,
    GroupVersionPaths,
    reference,
    responses,
    words,
)
from carob.apiserver.well_known import API_VERSION
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from carob.api.resources import Resource, ResourceTable
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request

Tree = dict[str, Any]

_API_VERSION = "1.36"
_SECURITY = {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}}
_EVERYWHERE = frozenset((META + "DeleteOptions", META + "WatchEvent"))
# path of the document -> operation name, tag, answer's media type and schema
_SMALL: dict[str, tuple[str, str, str, Tree]] = {
    ".well-known/openid-configuration": (
        "getServiceAccountIssuerOpenIDConfiguration",
        "WellKnown",
        "application/json",
        {"type": "string"},
    ),
    "openid/v1/jwks": (
        "getServiceAccountIssuerOpenIDKeyset",
        "openid",
        "application/jwk-set+json",
        {"type": "string"},
    ),
    "version": (
        "getCodeVersion",
        "version",
        "application/json",
        {"$ref": REFERENCE + "io.k8s.apimachinery.pkg.version.Info"},
    ),
}


def _load(name: str) -> Tree:
    try:
        packed = Path(__file__).with_name(name).read_bytes()
    except FileNotFoundError:
        return {}
    tree: Tree = orjson.loads(gzip.decompress(packed))
    return tree


def _references(tree: Any, found: set[str]) -> None:
    if isinstance(tree, dict):
        name = tree.get("$ref")
        if isinstance(name, str):
            found.add(name.removeprefix(REFERENCE))
        for value in tree.values():
            _references(value, found)
    elif isinstance(tree, list):
        for value in tree:
            _references(value, found)


def described(schema: Tree, prose: list[Any]) -> Tree:
    """The schema with its prose: that of the type, and that of its fields."""
    text, fields = prose
    out: Tree = {"description": text} if text else {}
    out |= schema
    if "properties" in schema and fields:
        out["properties"] = {
            name: {"description": fields[name], **one} if name in fields else one
            for name, one in schema["properties"].items()
        }
    return out


_V2 = "v2"
_V2_PROTOBUF = "v2 as protobuf"
_MEDIA = {_V2: "application/json", _V2_PROTOBUF: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"}
_V2_NAMES = {
    "application/json": _V2,
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf": _V2_PROTOBUF,
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf": _V2_PROTOBUF,
    "application/*": _V2,
    "*/*": _V2,
}


class OpenApi:
    """Answers `/openapi/v3`, everything below it, and `/openapi/v2`."""

    def __init__(self, table: ResourceTable) -> None:
        self._table = table
        self._documents: dict[str, tuple[bytes, str]] = {}
        self._being_made: dict[str, asyncio.Future[tuple[bytes, str]]] = {}
        self._index_body = b""

    def refresh(self) -> None:
        """The table changed: forget the documents."""
        self._documents.clear()
        self._index_body = b""

    def answer(self, path: str, info: RequestInfo, request: Request) -> Response | Awaitable[Response]:
        """The index, a document, or an empty 404. Raises: ApiError 405."""
        if request.method not in ("GET", "HEAD"):
            raise method_not_supported(None, info.verb)
        name = path.removeprefix("/openapi/v3").strip("/")
        if not name:
            return Response(body=self._index(), content_type=TEXT)
        if name not in self._names():
            return Response(404, content_type="")
        known = self._documents.get(name)
        if known is None:
            return self._make(name, info, request)
        return self._send(known, info, request)

    def answer_v2(self, info: RequestInfo, request: Request) -> Response | Awaitable[Response]:
        """The older document, all groups in one. Raises: ApiError 405."""
        if request.method not in ("GET", "HEAD"):
            raise method_not_supported(None, info.verb)
        clauses = negotiation.parse(request.headers.get("accept", "") or "*/*")
        name = next((_V2_NAMES[clause.media] for clause in clauses if clause.media in _V2_NAMES), None)
        if name is None:
            return Response(406, content_type="")
        known = self._documents.get(name)
        return self._make(name, info, request) if known is None else self._send(known, info, request, _MEDIA[name])

    async def _make(self, name: str, info: RequestInfo, request: Request) -> Response:
        """A large document takes tens of milliseconds: a thread makes it, once for all who ask meanwhile."""
        future = self._being_made.get(name)
        if future is None:
            rows, etag = tuple(self._table), self._hash(name)
            loop = asyncio.get_running_loop()
            make = _document_v2 if name in _MEDIA else partial(_document, group_version=self._names()[name])
            future = self._being_made[name] = loop.run_in_executor(None, partial(make, name, rows=rows, etag=etag))
            future.add_done_callback(lambda _: self._being_made.pop(name, None))
        made = await asyncio.shield(future)
        if made[1] == self._hash(name):
            self._documents[name] = made
        return self._send(made, info, request, _MEDIA.get(name, "application/json"))

    @staticmethod
    def _send(
        document: tuple[bytes, str], info: RequestInfo, request: Request, media: str = "application/json"
    ) -> Response:
        packed, etag = document
        headers = [("ETag", f'"{etag}"'), ("Vary", "Accept")]
        if info.first("hash") == etag:
            headers.append(("Cache-Control", "public, immutable"))
        if request.headers.get("if-none-match") == f'"{etag}"':
            return Response(304, content_type="", headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(body=packed, content_type=media, headers=[*headers, ("Content-Encoding", "gzip")])
        return Response(body=gzip.decompress(packed), content_type=media, headers=headers)

    def _names(self) -> dict[str, tuple[str, str]]:
        return names_of(self._table)

    def _index(self) -> bytes:
        if not self._index_body:
            urls = {name: f"/openapi/v3/{name}?hash={self._hash(name)}" for name in sorted(self._names())}
            paths = {name: {"serverRelativeURL": url} for name, url in urls.items()}
            self._index_body = orjson.dumps({"paths": paths})
        return self._index_body

    def _hash(self, name: str) -> str:
        """What changes when the document may have changed: made of its inputs, so that the index costs no document."""
        known = self._documents.get(name)
        if known is not None:
            return known[1]
        group, version = self._names().get(name, ("", ""))
        all_groups = name in _MEDIA
        rows = [repr(row) for row in self._table if all_groups or (row.group == group and row.version == version)]
        return hashlib.sha512("\n".join([name, _fingerprint(), *rows]).encode()).hexdigest().upper()


def names_of(rows: Iterable[Resource]) -> dict[str, tuple[str, str]]:
    """Name of each document -> its group and version (empty: the group's own, or none)."""
    names: dict[str, tuple[str, str]] = dict.fromkeys((*_SMALL, "api", "apis"), ("", ""))
    for row in rows:
        if row.group:
            names[f"apis/{row.group}"] = (row.group, "")
            names[f"apis/{row.group}/{row.version}"] = (row.group, row.version)
        else:
            names[f"api/{row.version}"] = ("", row.version)
    return names


# Making a document: pure functions of the rows, because a thread runs them.


def _paths_of(name: str, group: str, version: str, rows: Sequence[Resource]) -> Tree:
    if not version:
        return _small(name, group)
    own = [row for row in rows if row.group == group and row.version == version and not row.custom]
    return GroupVersionPaths(group, version).build(sorted(own, key=lambda row: row.plural))


def _document_v2(name: str, rows: Sequence[Resource], etag: str) -> tuple[bytes, str]:
    from carob.apiserver.openapi import version2

    names = names_of(rows)
    definitions, prose = _load("definitions.json.gz"), _load("descriptions.json.gz")
    for one in definitions:
        if one in prose:
            definitions[one] = described(definitions[one], prose[one])
    version2.with_groups(definitions, [one for one in names.values() if one[1]], _EVERYWHERE)
    writer: version2.Writer
    if name == _V2:
        writer = version2.JsonWriter()
    else:
        from carob.apiserver.openapi.version2_protobuf import ProtobufWriter

        writer = ProtobufWriter()
    paths = (_paths_of(one, *names[one], rows) for one in sorted(names))
    return version2.document(writer, API_VERSION, paths, definitions), etag


def _document(name: str, group_version: tuple[str, str], rows: Sequence[Resource], etag: str) -> tuple[bytes, str]:
    group, version = group_version
    paths = _paths_of(name, group, version, rows)
    tree: Tree = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": _API_VERSION},
        "paths": paths,
        "components": {"securitySchemes": _SECURITY},
    }
    schemas = _schemas(paths, group, version)
    if schemas:
        tree["components"]["schemas"] = schemas
    return gzip.compress(orjson.dumps(tree), 5, mtime=0), etag


def _small(name: str, group: str) -> Tree:
    media: tuple[str, ...] = MEDIA
    if name in _SMALL:
        operation, tag, form, schema = _SMALL[name]
        media = (form,)
    elif name == "api":
        operation, tag, schema = "getCoreAPIVersions", "core", reference(META + "APIVersions")
    elif name == "apis":
        operation, tag, schema = "getAPIVersions", "apis", reference(META + "APIGroupList")
    else:
        tag, camel = words(group)
        operation, schema = f"get{camel}APIGroup", reference(META + "APIGroup")
    answers = responses(schema, media=media)
    return {f"/{name}/": {"get": {"tags": [tag], "operationId": operation, "responses": answers}}}


def _schemas(paths: Tree, group: str, version: str) -> Tree:
    definitions, prose = _load("definitions.json.gz"), _load("descriptions.json.gz")
    waiting: set[str] = set()
    _references(paths, waiting)
    found: Tree = {}
    while waiting:
        name = waiting.pop()
        if name in found or name not in definitions:
            continue
        schema = definitions[name]
        _references(schema, waiting)
        if name in _EVERYWHERE:
            schema = _of_every_group(schema, group, version)
        found[name] = described(schema, prose[name]) if name in prose else schema
    return dict(sorted(found.items()))


def _of_every_group(schema: Tree, group: str, version: str) -> Tree:
    """DeleteOptions and WatchEvent belong to each group version, too."""
    own = schema["x-kubernetes-group-version-kind"]
    more = [{"group": group, "kind": own[0]["kind"], "version": version}] if group else []
    return schema | {"x-kubernetes-group-version-kind": own + more}


@cache
def _fingerprint() -> str:
    """Changes with the package's own schemas and prose."""
    sizes = []
    for name in ("definitions.json.gz", "descriptions.json.gz"):
        try:
            sizes.append(hashlib.sha256(Path(__file__).with_name(name).read_bytes()).hexdigest())
        except FileNotFoundError:
            sizes.append("-")
    return " ".join(sizes)

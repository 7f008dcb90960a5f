"""`/openapi/v2`: one document of all groups, the same in JSON and in protobuf, which kubectl's merge keys come from."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from carob.api.resources import ResourceTable
from carob.api.status import ApiError
from carob.apiserver.openapi.documents import OpenApi
from carob.apiserver.request_info import parse
from carob.transport.http import Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
TABLE = ResourceTable()
ANSWERS = OpenApi(TABLE)


def asked(method: str = "GET", **headers: str) -> Response:
    request = Request(method, "/openapi/v2", "", {key.replace("_", "-"): value for key, value in headers.items()})

    async def ask() -> Response:
        answer = ANSWERS.answer_v2(parse(method, "/openapi/v2", "", TABLE), request)
        return answer if isinstance(answer, Response) else await answer

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def document() -> Any:
    return orjson.loads(asked().body)


def test_it_has_what_clients_rely_on(document: Any) -> None:
    assert (document["swagger"], document["info"]["title"]) == ("2.0", "Kubernetes")
    definitions = document["definitions"]
    pod = definitions["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    containers = definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    strategy = definitions["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]
    assert strategy["$ref"] == "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy"
    assert strategy["x-kubernetes-patch-strategy"] == "retainKeys"
    assert definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] == {
        "format": "int-or-string",
        "type": "string",
    }
    patch = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in patch["consumes"]
    assert patch["responses"]["200"]["schema"] == {"$ref": "#/definitions/io.k8s.api.core.v1.Pod"}
    options = definitions["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"]["x-kubernetes-group-version-kind"]
    assert {"group": "apps", "kind": "DeleteOptions", "version": "v1"} in options


def test_every_kind_that_is_served_has_its_paths_and_its_schema(document: Any) -> None:
    kinds = {
        (one["group"], one["version"], one["kind"])
        for schema in document["definitions"].values()
        for one in schema.get("x-kubernetes-group-version-kind", ())
    }
    for row in TABLE:
        assert (row.group, row.version, row.kind) in kinds, row
        assert row.path("{namespace}" if row.namespaced else None) in document["paths"], row


def test_it_is_sound_openapi_2(document: Any) -> None:
    text = orjson.dumps(document).decode()
    for place in ("definitions", "parameters"):
        used = {part.partition('"')[0] for part in text.split(f"#/{place}/")[1:]}
        assert used <= document[place].keys()
    known = {name for name, _ in SCHEMA.values()}
    for schema_tree in document["definitions"].values():
        for one in schemas(schema_tree):
            assert {key for key in one if not key.startswith("x-")} <= known


def schemas(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all within it."""
    yield tree
    inner = [*tree.get("properties", {}).values(), tree.get("items"), tree.get("additionalProperties")]
    for one in inner:
        if isinstance(one, dict):
            yield from schemas(one)


def test_who_has_it_already_is_told_so() -> None:
    response = asked()
    etag = dict(response.headers)["ETag"]
    assert asked(if_none_match=etag).status == 304
    packed = asked(accept_encoding="gzip")
    assert gzip.decompress(packed.body) == response.body
    assert dict(packed.headers)["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (OLD_PROTOBUF, PROTOBUF),
        (PROTOBUF, PROTOBUF),
        ("application/json, */*", "application/json"),
        (f"application/json;q=0.1,{PROTOBUF};q=0.9", PROTOBUF),
        ("*/*", "application/json"),
    ],
)
def test_its_forms(accept: str, media: str) -> None:
    response = asked(accept=accept)
    assert (response.status, response.content_type) == (200, media)


def test_other_forms_and_methods_are_refused() -> None:
    assert asked(accept="text/html").status == 406
    with pytest.raises(ApiError) as refusal:
        asked("POST")
    assert refusal.value.code == 405


# A reader of gnostic's messages, from the published numbers: field -> (name, message or scalar, repeated)
SCHEMA: dict[int, tuple[str, str]] = {
    1: ("$ref", "text"),
    2: ("format", "text"),
    4: ("description", "text"),
    19: ("required", "texts"),
    20: ("enum", "anys"),
    21: ("additionalProperties", "either"),
    22: ("type", "first"),
    23: ("items", "inner"),
    25: ("properties", "named"),
}


def fields(raw: bytes) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(raw):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            size = varint()
            found.append((key >> 3, raw[at : at + size]))
            at += size
    return found


def schema(raw: bytes) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for number, value in fields(raw):
        if number == 31:
            extension, one = fields(value)
            out[one_text(extension)] = orjson.loads(dict(fields(one[1]))[2])
            continue
        name, kind = SCHEMA[number]
        if kind == "text":
            out[name] = value.decode()
        elif kind == "texts":
            out.setdefault(name, []).append(value.decode())
        elif kind == "anys":
            out.setdefault(name, []).append(orjson.loads(dict(fields(value))[2]))
        elif kind == "first":
            out[name] = dict(fields(value))[1].decode()
        elif kind == "inner":
            out[name] = schema(dict(fields(value))[1])
        elif kind == "either":
            inner = dict(fields(value))
            out[name] = schema(inner[1]) if 1 in inner else bool(inner[2])
        else:
            out[name] = {one_text(one): schema(two[1]) for one, two in (fields(pair) for _, pair in fields(value))}
    return out


def one_text(field: tuple[int, Any]) -> str:
    text: str = field[1].decode()
    return text


def test_protobuf_says_the_same(document: Any) -> None:
    raw = asked(accept=OLD_PROTOBUF).body
    assert raw.startswith(b"\x0a\x032.0\x12")
    definitions: dict[str, Any] = {}
    paths: dict[str, list[tuple[int, Any]]] = {}
    parameters = []
    for number, value in fields(raw):
        if number in (8, 9, 10):
            for inner, pair in fields(value):
                name, one = fields(pair)
                if number == 9:
                    definitions[one_text(name)] = schema(one[1])
                elif number == 8:
                    assert inner == 2
                    paths[one_text(name)] = fields(one[1])
                else:
                    parameters.append(one_text(name))
    assert definitions == document["definitions"]
    assert paths.keys() == document["paths"].keys()
    assert parameters == list(document["parameters"])
    item = dict(paths["/api/v1/namespaces/{namespace}/pods/{name}"])
    patch = fields(item[8])
    assert [value.decode() for number, value in patch if number == 7][-1] == "application/strategic-merge-patch+json"
    assert dict(patch)[5] == b"patchCoreV1NamespacedPod"

"""Discovery documents, OpenAPI documents and health reports, made from the table. Source: recorded v1.36 answers."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from carob.api.resources import ResourceTable
from carob.apiserver.discovery import Discovery, aggregated_media
from carob.apiserver.health import Health
from carob.apiserver.openapi.documents import OpenApi
from carob.apiserver.request_info import parse
from carob.transport.http import Request, Response

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def body(response: Response | None) -> Any:
    assert response is not None
    return orjson.loads(response.body)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("application/json", False),
        (AGGREGATED, True),
        (AGGREGATED + ",application/json", True),
        (AGGREGATED.replace("v=v2", "v=v2beta1") + ",application/json", False),
        (AGGREGATED.replace("v=v2", "v=v2beta1") + "," + AGGREGATED, True),
        ("application/json," + AGGREGATED, False),
    ],
)
def test_which_document_a_client_wants(accept: str, wanted: bool) -> None:
    assert bool(aggregated_media(accept)) is wanted


def discovery() -> Discovery:
    return Discovery(ResourceTable(), "10.42.0.1:6443")


def test_the_groups_are_in_upstreams_order() -> None:
    groups = body(discovery().answer("/apis", {}))["groups"]
    names = [group["name"] for group in groups]
    assert names[:5] == [
        "apiregistration.k8s.io",
        "apps",
        "events.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
    ]
    autoscaling = groups[names.index("autoscaling")]
    assert [v["version"] for v in autoscaling["versions"]] == ["v2", "v1"]
    assert autoscaling["preferredVersion"]["version"] == "v2"


def test_a_group_version_lists_resources_and_subresources() -> None:
    tree = body(discovery().answer("/apis/apps/v1", {}))
    assert (tree["kind"], tree["apiVersion"], tree["groupVersion"]) == ("APIResourceList", "v1", "apps/v1")
    by_name = {one["name"]: one for one in tree["resources"]}
    assert by_name["deployments"]["shortNames"] == ["deploy"]
    assert by_name["deployments"]["storageVersionHash"] == "8aSe+NMegvE="
    assert by_name["deployments/scale"] == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }


def test_an_aggregated_document_is_sent_once() -> None:
    answers = discovery()
    first = answers.answer("/apis", {"accept": AGGREGATED})
    assert first is not None
    assert first.content_type == AGGREGATED
    etag = dict(first.headers)["ETag"]
    again = answers.answer("/apis", {"accept": AGGREGATED, "if-none-match": etag})
    assert again is not None
    assert (again.status, again.body) == (304, b"")
    assert body(answers.answer("/api", {"accept": AGGREGATED}))["items"][0]["versions"][0]["version"] == "v1"


def test_unknown_groups_have_no_document() -> None:
    assert discovery().answer("/apis/nope.example.com", {}) is None
    assert discovery().answer("/apis/apps/v9", {}) is None


# OpenAPI


def openapi(path: str, **headers: str) -> Response:
    table = ResourceTable()
    name, _, query = path.partition("?")
    request = Request("GET", name, query, headers)
    answers, info = OpenApi(table), parse("GET", name, query, table)

    async def ask() -> Response:
        answer = answers.answer(name, info, request)
        return answer if isinstance(answer, Response) else await answer

    return asyncio.run(ask())


def test_the_index_names_each_document_with_its_hash() -> None:
    paths = body(openapi("/openapi/v3"))["paths"]
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    assert url.startswith("/openapi/v3/apis/apps/v1?hash=")
    response = openapi(url)
    headers = dict(response.headers)
    assert headers["Cache-Control"] == "public, immutable"
    assert headers["ETag"].strip('"') == url.partition("hash=")[2]
    assert openapi("/openapi/v3/nope").status == 404


def test_what_kubectl_looks_for_in_a_document() -> None:
    """kubectl's apply looks for a PATCH with `fieldValidation`, the kind, and a strategic merge body."""
    tree = body(openapi("/openapi/v3/api/v1"))
    path = tree["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    patch = path["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert "fieldValidation" in {one["name"] for one in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    containers = tree["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    protocol = tree["components"]["schemas"]["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]
    assert (protocol["default"], protocol["enum"]) == ("TCP", ["SCTP", "TCP", "UDP"])


@pytest.mark.parametrize("name", ["api", "apis", "version", "apis/batch", "apis/batch/v1", "apis/autoscaling/v2"])
def test_every_reference_of_a_document_is_in_it(name: str) -> None:
    tree = body(openapi(f"/openapi/v3/{name}"))
    text = orjson.dumps(tree).decode()
    used = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= tree["components"].get("schemas", {}).keys()


def test_a_document_travels_compressed_if_the_client_can() -> None:
    response = openapi("/openapi/v3/apis/batch/v1", **{"accept-encoding": "gzip"})
    assert dict(response.headers)["Content-Encoding"] == "gzip"
    assert orjson.loads(gzip.decompress(response.body))["openapi"] == "3.0.0"


# Health


def health(path: str, *failing: str) -> Response:
    name, _, query = path.partition("?")
    answers = Health(lambda check: "down" if check in failing else None)
    found = answers.answer(name, parse("GET", name, query, ResourceTable()).query)
    assert found is not None
    return found


def test_health_says_ok_or_which_check_failed() -> None:
    assert health("/readyz").body == b"ok"
    verbose = health("/readyz?verbose").body.decode()
    assert verbose.startswith("[+]ping ok\n")
    assert verbose.endswith("[+]shutdown ok\nreadyz check passed\n")
    failed = health("/readyz", "shutdown")
    assert failed.status == 500
    assert "[-]shutdown failed: reason withheld\nreadyz check failed\n" in failed.body.decode()
    assert health("/readyz?exclude=shutdown", "shutdown").body == b"ok"


def test_single_checks() -> None:
    assert health("/livez/etcd").body == b"ok"
    assert health("/livez/etcd", "etcd").status == 500
    assert (health("/livez/nope").status, health("/livez/nope").body) == (404, b"404 page not found\n")

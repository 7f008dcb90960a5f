"""Which resource, object and verb a method and path mean.

Source: apiserver `pkg/endpoints/request/requestinfo_test.go` for the cases.
"""

from __future__ import annotations

import pytest

from carob.api.resources import ResourceTable
from carob.apiserver.request_info import authorized_name, exact_match, parse, parse_query

TABLE = ResourceTable()


@pytest.mark.parametrize(
    ("method", "path", "query", "verb", "plural", "namespace", "name", "subresource"),
    [
        ("GET", "/api/v1/namespaces", "", "list", "namespaces", "", "", ""),
        ("GET", "/api/v1/namespaces/other", "", "get", "namespaces", "other", "other", ""),
        ("PUT", "/api/v1/namespaces/other/finalize", "", "update", "namespaces", "other", "other", "finalize"),
        ("GET", "/api/v1/namespaces/other/pods", "", "list", "pods", "other", "", ""),
        ("GET", "/api/v1/namespaces/other/pods/foo", "", "get", "pods", "other", "foo", ""),
        ("HEAD", "/api/v1/namespaces/other/pods/foo", "", "get", "pods", "other", "foo", ""),
        ("GET", "/api/v1/pods", "", "list", "pods", "", "", ""),
        ("GET", "/api/v1/pods", "watch=true", "watch", "pods", "", "", ""),
        ("GET", "/api/v1/pods", "watch=false", "list", "pods", "", "", ""),
        ("GET", "/api/v1/pods", "watch=0", "list", "pods", "", "", ""),
        ("GET", "/api/v1/watch/pods", "", "watch", "pods", "", "", ""),
        ("GET", "/api/v1/watch/namespaces/other/pods", "", "watch", "pods", "other", "", ""),
        ("POST", "/api/v1/namespaces/other/pods/foo/exec", "command=ls", "create", "pods", "other", "foo", "exec"),
        ("DELETE", "/api/v1/namespaces/other/pods", "", "deletecollection", "pods", "other", "", ""),
        ("DELETE", "/api/v1/namespaces/other/pods/foo", "", "delete", "pods", "other", "foo", ""),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", "", "patch", "deployments", "a", "b", "scale"),
        ("GET", "/api/v1/nodes/n/proxy/stats/summary", "", "get", "nodes", "", "n", "proxy"),
    ],
)
def test_resource_paths(
    method: str, path: str, query: str, verb: str, plural: str, namespace: str, name: str, subresource: str
) -> None:
    info = parse(method, path, query, TABLE)
    assert info.resource is not None
    found = (info.verb, info.resource.plural, info.namespace, info.name, info.subresource)
    assert found == (verb, plural, namespace, name, subresource)
    assert info.resource.kind


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/", "/api/v1", "/api/v1/", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/version"],
)
def test_other_paths_are_no_resource(path: str) -> None:
    info = parse("GET", path, "", TABLE)
    assert info.resource is None
    assert info.verb == "get"


def test_an_unknown_resource_has_a_row_without_a_kind() -> None:
    info = parse("GET", "/apis/example.com/v1/namespaces/a/things/b", "", TABLE)
    assert info.resource is not None
    assert (info.resource.group, info.resource.plural, info.resource.kind) == ("example.com", "things", "")
    assert (info.namespace, info.name) == ("a", "b")


def test_a_list_of_one_name_is_authorized_as_that_name() -> None:
    info = parse("GET", "/api/v1/namespaces/a/pods", "fieldSelector=metadata.name%3Dx,status.phase%3DRunning", TABLE)
    assert info.name == ""
    assert authorized_name(info) == "x"


@pytest.mark.parametrize(
    ("selector", "value"),
    [("spec.nodeName=n", "n"), ("spec.nodeName==n", "n"), ("a=b, spec.nodeName=n", "n"), ("spec.nodeName!=n", "")],
)
def test_exact_match(selector: str, value: str) -> None:
    assert exact_match(selector, "spec.nodeName") == value


def test_query_values_are_decoded_in_order() -> None:
    query = parse_query("command=ls&command=-l&labelSelector=a%3Db+c&empty&=x&last=")
    assert query == {"command": ["ls", "-l"], "labelSelector": ["a=b c"], "empty": [""], "last": [""]}

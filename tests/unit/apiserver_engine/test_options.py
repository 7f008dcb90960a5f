"""Queries, tokens, forms and field selectors: what is understood, and how the rest is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api.resources import GATED, TABLE
from carob.api.selectors import parse_fields
from carob.api.status import ApiError
from carob.apiserver import field_selectors, keys, list_options, negotiation
from carob.apiserver.request_info import parse_query
from carob.apiserver.types import RequestInfo


def options(query: str, watch: bool = False) -> list_options.ListOptions:
    return list_options.parse(RequestInfo("list", "", query=parse_query(query)), watch=watch)


@pytest.mark.parametrize(
    ("query", "watch", "code", "message"),
    [
        ("limit=x", False, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("limit=99999999999999999999", False, 400, "value out of range"),
        ("timeoutSeconds=x", False, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("timeout=zz", False, 400, 'time: invalid duration "zz"'),
        ("resourceVersion=x", False, 400, "invalid syntax"),
        ("resourceVersionMatch=Exact", False, 422, "forbidden unless resourceVersion is provided"),
        ("resourceVersion=1&resourceVersionMatch=Foo", False, 422, 'Unsupported value: "Foo"'),
        ("sendInitialEvents=true", False, 422, "sendInitialEvents is forbidden for list"),
        ("sendInitialEvents=true", True, 422, "requires setting resourceVersionMatch to NotOlderThan"),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", True, 422, 'supported values: "NotOlderThan"'),
    ],
)
def test_a_bad_query_is_refused(query: str, watch: bool, code: int, message: str) -> None:
    with pytest.raises(ApiError) as refusal:
        options(query, watch)
    assert (refusal.value.code, message in refusal.value.message) == (code, True), refusal.value.message


@pytest.mark.parametrize("query", ["limit=-1", "timeout=5m38s", "timeout=1.5h", "watch=maybe", "resourceVersion=0"])
def test_odd_but_accepted(query: str) -> None:
    options(query)


@given(st.integers(1, 2**62), st.text("ab/.-", min_size=1))
def test_a_continue_token_comes_back(revision: int, start: str) -> None:
    start = start.lstrip("/") or "a"
    assert list_options.decode_continue(list_options.encode_continue(revision, start)) == (revision, start + "\0")


@pytest.mark.parametrize("token", ["e30", "!!", "bnVsbA", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"])
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(ApiError, match="invalid continue token"):
        list_options.decode_continue(token)


def test_a_token_of_upstream_is_understood() -> None:
    token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTc3Mywic3RhcnQiOiIvYlx1MDAwMCJ9"
    assert list_options.decode_continue(token) == (1773, "b\0")


@pytest.mark.parametrize(
    ("accept", "media", "kind"),
    [
        ("", "application/json", ""),
        ("*/*", "application/json", ""),
        ("application/vnd.kubernetes.protobuf,application/json", "application/json", ""),
        ("application/yaml", "application/yaml", ""),
        ("text/html,application/json;q=0.5", "application/json", ""),
        ("application/json;q=0.1,application/yaml", "application/yaml", ""),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json", "Table"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "application/json", ""),
        (
            "application/json;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io",
            "application/json",
            "PartialObjectMetadata",
        ),
    ],
)
def test_the_first_form_that_both_know(accept: str, media: str, kind: str) -> None:
    form = negotiation.form_of(accept)
    assert (form.media, form.kind) == (media, kind)


@pytest.mark.parametrize(
    "accept", ["text/html", "application/cbor-seq", "application/json;as=Table;v=v2;g=meta.k8s.io"]
)
def test_a_form_that_we_lack_is_refused(accept: str) -> None:
    with pytest.raises(ApiError) as refusal:
        negotiation.form_of(accept)
    assert refusal.value.code == 406


PB = "application/vnd.kubernetes.protobuf"
PARTIAL_LIST = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize(
    ("accept", "media", "kind"),
    [
        (f"{PB},application/json", PB, ""),
        (f"{PB};q=0.5,application/json;q=0.9", "application/json", ""),
        (f"application/json;q=0.2, {PB};q=0.7, */*;q=0.1", PB, ""),
        (f"*/*, {PB}", PB, ""),
        (f"application/*, {PB}", PB, ""),
        (f"{PB};as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1", "application/json", "Table"),
        (f"{PB};{PARTIAL_LIST},application/json;{PARTIAL_LIST}", PB, "PartialObjectMetadataList"),
        ("application/cbor,application/json;q=0.9", "application/cbor", ""),
        ("application/cbor;as=Table;g=meta.k8s.io;v=v1", "application/cbor", "Table"),
    ],
)
def test_the_best_encoding_that_both_know(accept: str, media: str, kind: str) -> None:
    form = negotiation.form_of(accept, protobuf=True)
    assert (form.media, form.kind) == (media, kind)


def test_what_has_no_protobuf_form_is_json_for_who_takes_both() -> None:
    assert negotiation.form_of(f"{PB},application/json", protobuf=False).media == "application/json"
    with pytest.raises(ApiError) as refusal:
        negotiation.form_of(PB, protobuf=False)
    assert refusal.value.code == 406


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/json;stream=watch", "application/json"),
        (f"{PB};stream=watch,application/json", f"{PB};stream=watch"),
        ("application/cbor", "application/cbor-seq"),
        ("application/cbor-seq", "application/cbor-seq"),
    ],
)
def test_what_a_watch_says_it_is(accept: str, media: str) -> None:
    assert negotiation.form_of(accept, watch=True, protobuf=True).stream_media == media


def test_a_watch_has_no_yaml() -> None:
    with pytest.raises(ApiError, match="stream=watch"):
        negotiation.form_of("application/yaml", watch=True)


def test_people_get_indented_json() -> None:
    assert negotiation.wants_pretty("", "curl/8.0")
    assert negotiation.wants_pretty("true", "kubectl/v1.36")
    assert not negotiation.wants_pretty("false", "curl/8.0")
    assert not negotiation.wants_pretty("", "kubectl/v1.36")


def row(plural: str, group: str = "", version: str = "v1") -> Any:
    found = TABLE.by_plural(group, version, plural)
    assert found is not None
    return found


def test_the_index_reads_the_fields_that_selectors_name() -> None:
    tree = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"nodeName": "n", "hostNetwork": True, "restartPolicy": "Never"},
        "status": {"phase": "Running", "podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}, {"ip": "::1"}]},
    }
    index = field_selectors.indexer(row("pods"))(orjson.dumps(tree))
    shown = dict(zip(field_selectors.selectable(row("pods")), index.fields, strict=True))
    assert index.labels == {"a": "b"}
    assert (shown["spec.nodeName"], shown["spec.hostNetwork"]) == ("n", "true")
    assert (shown["status.phase"], shown["status.podIPs"], shown["spec.schedulerName"]) == (
        "Running",
        "1.2.3.4,::1",
        "",
    )


@pytest.mark.parametrize("name", sorted(field_selectors.SELECTABLE))
def test_an_object_without_the_fields_has_their_zero_values(name: tuple[str, str]) -> None:
    found = next(r for r in (*TABLE, *GATED) if (r.group, r.plural) == name)
    index = field_selectors.indexer(found)(b'{"metadata":{}}')
    assert set(index.fields) <= {"", "0", "false"}
    assert len(index.fields) == len(field_selectors.selectable(found))


def test_an_events_source_falls_back_to_its_reporter() -> None:
    index = field_selectors.indexer(row("events"))
    position = field_selectors.selectable(row("events")).index("source")
    assert index(b'{"metadata":{},"reportingComponent":"c"}').fields[position] == "c"
    assert index(b'{"metadata":{},"source":{"component":"s"},"reportingComponent":"c"}').fields[position] == "s"


@pytest.mark.parametrize(
    ("plural", "group", "message"),
    [
        ("pods", "", "field label not supported: spec.foo"),
        ("configmaps", "", '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("jobs", "batch", 'field label "spec.foo" not supported for Job'),
    ],
)
def test_an_unknown_field_is_refused_in_the_kinds_own_words(plural: str, group: str, message: str) -> None:
    resource = row(plural, group)
    with pytest.raises(ApiError) as refusal:
        field_selectors.parse(resource, resource, "spec.foo=x")
    assert refusal.value.message == message


def test_events_of_the_new_group_are_selected_by_their_new_names() -> None:
    new, core = row("events", "events.k8s.io"), row("events")
    selector = field_selectors.parse(new, core, "regarding.name=x,reason!=y")
    assert set(selector.terms) == set(parse_fields("involvedObject.name=x,reason!=y").terms)


def test_keys_say_where_an_object_lies() -> None:
    assert keys.key(row("pods"), "d", "p") == "/registry/core/pods/d/p"
    assert keys.key(row("nodes"), "ignored", "n") == "/registry/core/nodes/n"
    assert keys.key(row("deployments", "apps"), "d", "x") == "/registry/apps/deployments/d/x"
    assert keys.split("/registry/apps/deployments/d/x") == ("apps", "deployments", "d", "x")
    assert keys.split("/registry/core/nodes/n") == ("", "nodes", "", "n")
    assert keys.split("/registry/odd") is None
    assert keys.storage_row(TABLE, row("events", "events.k8s.io")) is row("events")


_PIECES = (
    "application/json",
    PB,
    "application/cbor",
    "*/*",
    "application/*",
    ";",
    "q=",
    "q=0.5",
    ",",
    "as=Table",
    "v=v1",
)


@given(
    st.lists(st.sampled_from((*_PIECES, "g=meta.k8s.io", "stream=watch", "=", " ", "x")), max_size=10).map("".join)
    | st.text(max_size=20),
    st.booleans(),
)
def test_any_accept_header_is_answered_or_refused(accept: str, watch: bool) -> None:
    try:
        form = negotiation.form_of(accept, watch=watch, protobuf=True)
    except ApiError as error:
        assert error.code == 406  # noqa: PT017 - either is fine
    else:
        assert form.media in ("application/json", "application/yaml", PB, "application/cbor")

"""What upstream refuses, against what a real API server answered; and what the recordings do not show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import recorded

from carob.api import codec, cron, resources
from carob.api.defaulting import default
from carob.api.types import apiextensions_v1, batch_v1, core_v1, meta_v1, resource_v1
from carob.api.validation import batch, crd_schema, field, meta, names, offers, validate_create, validate_update

RECORDED = recorded.load("validation")
TABLE = resources.ResourceTable()


@pytest.mark.parametrize("case", RECORDED, ids=lambda c: c["id"])
def test_causes_are_upstreams(case: dict[str, Any]) -> None:
    version = case["object"]["apiVersion"]
    row = TABLE.by_kind(version, case["object"]["kind"])
    assert row is not None
    new = codec.from_tree(row.struct, case["object"])
    before = codec.encode(new)
    if "old" in case:
        old = codec.from_tree(row.struct, case["old"])
        causes = validate_update(row, new, old, case.get("subresource", ""))
    else:
        causes = validate_create(row, new)
    assert causes == case["causes"]
    assert codec.encode(new) == before


# kinds that the server fills in before it validates
NEEDS_THE_SERVER = {"Job", "Service"}
ALL_SENT = [case["sent"] for case in recorded.load("defaulting")["cases"]]
ACCEPTED = [tree for tree in ALL_SENT if tree["kind"] not in NEEDS_THE_SERVER]


def prepared(tree: dict[str, Any]) -> tuple[resources.Resource, Any]:
    row = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert row is not None
    obj = codec.from_tree(row.struct, tree)
    default(obj)
    if row.namespaced:
        obj.metadata.namespace = obj.metadata.namespace or "golden"
    if isinstance(obj, core_v1.Pod):
        obj.spec.service_account_name = obj.spec.service_account_name or "default"
    if isinstance(obj, apiextensions_v1.CustomResourceDefinition):
        obj.status.stored_versions = [version.name for version in obj.spec.versions if version.storage]
    return row, obj


@pytest.mark.parametrize("tree", ACCEPTED, ids=lambda t: t["metadata"].get("name", "") + "-" + t["kind"])
def test_what_upstream_accepts_is_accepted(tree: dict[str, Any]) -> None:
    row, obj = prepared(tree)
    if not obj.metadata.name:
        obj.metadata.name = "generated"
    assert validate_create(row, obj) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += places(value, (*here, key))
    return found


def with_replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    out = tree.copy()
    out[path[0]] = with_replaced(tree[path[0]], path[1:], value)
    return out


SPECIMENS = [case["object"] for case in RECORDED] + ALL_SENT


@given(st.data())
def test_no_object_makes_the_rules_fail(data: st.DataObject) -> None:
    tree = data.draw(st.sampled_from(SPECIMENS))
    path = data.draw(st.sampled_from([p for p in places(tree) if p not in (("kind",), ("apiVersion",))]))
    try:
        row, obj = prepared(with_replaced(tree, path, data.draw(JSON)))
        _, old = prepared(tree)
    except (ValueError, TypeError):
        return
    for cause in validate_create(row, obj):
        assert cause["message"]
        assert set(cause) == {"reason", "message", "field"}
    for subresource in ("", "status"):
        validate_update(row, obj, old, subresource)


@given(st.text(max_size=300))
def test_rules_of_names_take_any_text(text: str) -> None:
    for rule in (
        names.dns_label,
        names.dns_subdomain,
        names.dns_1035_label,
        names.qualified_name,
        names.label_value,
        names.config_key,
        names.env_name,
        names.c_identifier,
        names.port_name,
        names.path_segment,
        names.percent,
    ):
        assert all(isinstance(why, str) for why in rule(text))
    names.parse_ip(text)
    names.parse_cidr(text)


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        ("a", '"a"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\nb", '"a\\nb"'),
        ("\x00é", '"\\x00é"'),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ({"a": "b"}, '{"a":"b"}'),
        (["x", "<"], '["x","\\u003c"]'),
    ],
)
def test_bad_values_are_shown_as_go_shows_them(value: object, rendered: str) -> None:
    assert field.shown(value) == rendered


def metadata(**fields: Any) -> meta_v1.ObjectMeta:
    return meta_v1.ObjectMeta(name="a", resource_version="1", **fields)


def test_no_finalizer_is_added_to_a_dying_object() -> None:
    out: list[dict[str, str]] = []
    dying = metadata(deletion_timestamp="2024-01-01T00:00:00Z", finalizers=["x.io/a"])
    meta.updated(out, metadata(deletion_timestamp="2024-01-01T00:00:00Z", finalizers=["x.io/a", "x.io/b"]), dying)
    assert [(cause["field"], cause["reason"]) for cause in out] == [("metadata.finalizers", "FieldValueForbidden")]
    assert out[0]["message"].endswith('found new finalizers []string{"x.io/b"}')


def test_a_deletion_timestamp_is_never_taken_back() -> None:
    out: list[dict[str, str]] = []
    meta.updated(out, metadata(), metadata(deletion_timestamp="2024-01-01T00:00:00Z"))
    assert [cause["field"] for cause in out] == ["metadata.deletionTimestamp"]


def test_two_controllers_are_refused() -> None:
    owners = [
        meta_v1.OwnerReference(api_version="apps/v1", kind="ReplicaSet", name=n, uid=n, controller=True) for n in "ab"
    ]
    out: list[dict[str, str]] = []
    meta.owner_references(out, "metadata.ownerReferences", owners)
    assert len(out) == 1
    assert "ReplicaSet/a and ReplicaSet/b" in out[0]["message"]


def job(**spec: Any) -> tuple[resources.Resource, batch_v1.Job]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}
    template["spec"]["containers"][0]["image"] = "i"  # type: ignore[index]
    tree = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "resourceVersion": "1"}}
    tree["spec"] = {"template": template, "manualSelector": True, "selector": {"matchLabels": {"a": "b"}}, **spec}
    return prepared(tree)


def test_a_suspended_job_may_be_moved_and_a_running_one_may_not() -> None:
    for suspend, fields in ((True, []), (False, ["spec.template"])):
        row, old = job(suspend=suspend)
        _, new = job(suspend=suspend)
        new.spec.template.spec.node_selector = {"disk": "ssd"}
        assert [cause["field"] for cause in validate_update(row, new, old)] == fields


@pytest.mark.parametrize(
    ("text", "completions", "count"),
    [("", 5, 0), ("0", 5, 1), ("0-2,4", 5, 4), ("1,3", 5, 2)],
)
def test_indexes_are_counted(text: str, completions: int, count: int) -> None:
    assert batch.count_indexes(text, completions) == count


@pytest.mark.parametrize("text", ["5", "2,1", "1-1", "a", "1-2-3", "0-"])
def test_broken_indexes_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are upstream's and many
        batch.count_indexes(text, 5)


@pytest.mark.parametrize(
    ("text", "minutes", "weekdays"),
    [
        ("*/15 * * * *", {0, 15, 30, 45}, set(range(7))),
        ("5-10/2 0 1 1 mon-wed", {5, 7, 9}, {1, 2, 3}),
        ("50/5 * * * SUN", {50, 55}, {0}),
        ("@hourly", {0}, set(range(7))),
    ],
)
def test_schedules(text: str, minutes: set[int], weekdays: set[int]) -> None:
    found = cron.parse(text)
    assert (set(found.minutes), set(found.weekdays)) == (minutes, weekdays)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("@never", "unrecognized descriptor: @never"),
    ],
)
def test_broken_schedules_are_refused_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(cron.CronError) as caught:
        cron.parse(text)
    assert str(caught.value) == message


def test_a_day_of_month_and_a_day_of_week_are_alternatives() -> None:
    found = cron.parse("0 0 13 * 5")
    assert found.on(1, 13, 2)
    assert found.on(1, 1, 5)
    assert not found.on(1, 1, 2)
    assert not cron.parse("0 0 * * 5").on(1, 13, 2)


def schema_errors(spec: dict[str, Any]) -> list[str]:
    out: list[dict[str, str]] = []
    crd_schema.check(out, "s", {"type": "object", "properties": {"spec": spec}})
    return [f"{cause['field'].removeprefix('s.properties[spec].')}: {cause['message']}" for cause in out]


@pytest.mark.parametrize(
    "spec",
    [
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "x"},
        {
            "x-kubernetes-int-or-string": True,
            "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "x"}],
        },
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
        {"type": "object", "properties": {"a": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"not": {}}]},
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["port"],
                "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}},
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
        },
    ],
)
def test_usual_schemas_are_structural(spec: dict[str, Any]) -> None:
    assert schema_errors(spec) == []


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (
            {"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]},
            [": Required value: because it is defined in s.properties[spec].anyOf[0].properties[a]"],
        ),
        ({"type": "array", "items": {}}, ["items.type: Required value: must not be empty for specified array items"]),
        (
            {"type": "string", "uniqueItems": True},
            [
                "uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes "
                "quadratic"
            ],
        ),
    ],
)
def test_other_schemas_are_refused(spec: dict[str, Any], errors: list[str]) -> None:
    assert [error.replace("properties[a]: ", ": ", 1) for error in schema_errors(spec)] == errors


def test_devices_are_in_places_of_one_term() -> None:
    term = {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}
    for terms, wrong in (([term], []), ([term, term], ["nodeSelectorTerms"])):
        place = {"nodeSelector": {"nodeSelectorTerms": terms}}
        pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
        common = {"driver": "d.example.com", "pool": pool}
        whole = common | place | {"devices": [{"name": "a"}]}
        each = common | {"perDeviceNodeSelection": True, "devices": [{"name": "a"} | place]}
        for spec, where in ((whole, "spec.nodeSelector."), (each, "spec.devices[0].nodeSelector.")):
            out: list[Any] = []
            offered = codec.from_tree(resource_v1.ResourceSlice, {"metadata": {"name": "s"}, "spec": spec})
            offers.offer(out, offered)
            assert [cause["field"] for cause in out] == [where + one for one in wrong]
            assert all("must have exactly one node selector term" in cause["message"] for cause in out)

"""Patches of all three kinds, against recorded answers of a v1.36 API server; and what those do not show."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import recorded

from carob.api import codec, patch, strict
from carob.api.defaulting import default
from carob.api.patch import json_patch, merge, strategic
from carob.api.resources import Resource, ResourceTable
from carob.api.status import ApiError

TABLE = ResourceTable()


def row(plural: str, group: str = "", version: str = "v1") -> Resource:
    found = TABLE.by_plural(group, version, plural)
    assert found is not None
    return found


@pytest.mark.parametrize("case", recorded.load("patches"), ids=lambda c: c["case"])
def test_patch_is_answered_as_upstream(case: dict[str, Any]) -> None:
    group, version, plural = case["resource"]
    current = json.dumps(case["current"]).encode()
    arguments = (row(plural, group, version), current, case["patch"].encode(), case["type"], case["fieldValidation"])
    if case["answer"]["kind"] == "Status":
        with pytest.raises(ApiError) as caught:
            patch.apply_patch(*arguments)
        if case["answer"]["code"] == 500:  # upstream blames itself; carob blames the client
            assert (caught.value.code, caught.value.message) == (400, case["answer"]["message"])
        else:
            assert caught.value.status() == case["answer"]
        return
    obj, warnings = patch.apply_patch(*arguments)
    default(obj)
    answer = orjson.loads(codec.encode(obj))
    for changing in ("resourceVersion", "managedFields", "generation"):
        answer["metadata"].pop(changing, None)
    assert answer == case["answer"]
    assert warnings == case["warnings"]


def deployment(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


def names(tree: dict[str, Any]) -> list[str]:
    return [c["name"] for c in tree["spec"]["template"]["spec"]["containers"]]


def test_set_element_order_puts_items_where_the_client_wants_them() -> None:
    original = deployment({"name": "a"}, {"name": "server-side"}, {"name": "b"})
    spec = {"containers": [{"name": "c"}], "$setElementOrder/containers": [{"name": n} for n in "cba"]}
    merged = strategic.merged(original, {"spec": {"template": {"spec": spec}}}, "apps/v1.Deployment")
    assert names(merged) == ["c", "server-side", "b", "a"]


def test_order_alone_changes_no_items() -> None:
    original = deployment({"name": "a"}, {"name": "b"})
    spec = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    merged = strategic.merged(original, {"spec": {"template": {"spec": spec}}}, "apps/v1.Deployment")
    assert names(merged) == ["b", "a"]


def test_list_is_replaced_on_demand() -> None:
    original = deployment({"name": "a"}, {"name": "b"})
    spec = {"containers": [{"$patch": "replace"}, {"name": "z"}]}
    merged = strategic.merged(original, {"spec": {"template": {"spec": spec}}}, "apps/v1.Deployment")
    assert names(merged) == ["z"]


def test_primitives_are_deleted_and_added_at_once() -> None:
    changes = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}
    merged = strategic.merged({"metadata": {"finalizers": ["a", "b"]}}, changes, "core/v1.Pod")
    assert sorted(merged["metadata"]["finalizers"]) == ["b", "c"]


def test_what_is_new_to_the_object_holds_no_nulls_and_no_directives() -> None:
    containers = [{"$patch": "replace"}, {"name": "a", "image": None}, {"name": "b", "$patch": "delete"}]
    volumes = [{"name": "v", "secret": None}, {"name": "w", "$patch": "delete"}]
    security = {"windowsOptions": {"$patch": "merge"}, "sysctls": None}
    spec = {"containers": containers, "volumes": volumes, "securityContext": security}
    changes = {"spec": {**spec, "$setElementOrder/volumes": [{"name": "v"}]}}
    merged = strategic.merged({"spec": {}}, changes, "core/v1.Pod")
    assert merged == {
        "spec": {"containers": [{"name": "a"}], "volumes": [{"name": "v", "secret": None}], "securityContext": {}}
    }


def test_an_empty_order_asks_for_nothing() -> None:
    spec = {"containers": [{"name": "b"}], "$setElementOrder/containers": []}
    merged = strategic.merged(deployment({"name": "a"}), {"spec": {"template": {"spec": spec}}}, "apps/v1.Deployment")
    assert sorted(names(merged)) == ["a", "b"]


def test_an_order_that_misses_what_the_patch_has_is_refused() -> None:
    spec = {"containers": [{"name": "a"}, {"image": "i"}], "$setElementOrder/containers": [{"name": "a"}]}
    words = (
        "The order in patch list:\n[map[name:a] map[image:i]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n"
    )
    with pytest.raises(strategic.BadPatch, match=r"^The order") as caught:
        strategic.merged(deployment(), {"spec": {"template": {"spec": spec}}}, "apps/v1.Deployment")
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"$patch": "x"}, "unknown patch type: x in map: map[$patch:x]"),
        ({"spec": {"containers": [{"image": "i"}]}}, "map: map[image:i] does not contain declared merge key: name"),
        ({"metadata": {"$deleteFromPrimitiveList": ["a"]}}, "invalid patch format of primitive list"),
        ({"spec": {"$setElementOrder/containers": {}}}, "invalid patch format of setElementOrder list"),
        (
            {"spec": {"containers": [{"$patch": "merge", "name": "a"}]}},
            "merging lists cannot yet be specified in the patch",
        ),
        ({"spec": {"containers": [[]]}}, "lists of lists are not supported"),
        ({"spec": {"containers": ["x"]}}, "list element types are not identical"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], words: str) -> None:
    body = orjson.dumps(changes)
    current = b'{"metadata":{"name":"a"},"spec":{"containers":[{"name":"a"}]}}'
    with pytest.raises(ApiError) as caught:
        patch.apply_patch(row("pods"), current, body, patch.STRATEGIC_MERGE_PATCH)
    assert (caught.value.code, caught.value.message) == (400, words)


def test_wrong_types_after_a_strategic_merge() -> None:
    with pytest.raises(ApiError) as caught:
        patch.apply_patch(row("configmaps"), b'{"data":{"a":"b"}}', b'{"data":{"a":5}}', patch.STRATEGIC_MERGE_PATCH)
    words = ' "" is invalid: patch: Invalid value: "map[data:map[a:5]]": cannot convert int64 to string'
    assert caught.value.message == words


def test_too_many_operations() -> None:
    body = orjson.dumps([{"op": "test", "path": "/data/a", "value": "b"}] * 10_001)
    with pytest.raises(ApiError) as caught:
        patch.apply_patch(row("configmaps"), b"{}", body, patch.JSON_PATCH)
    assert caught.value.code == 413


def test_copies_that_grow_without_end_are_refused() -> None:
    operations = [{"op": "copy", "from": "/data", "path": f"/data/{i}"} for i in range(60)]
    with pytest.raises(json_patch.DoesNotApply):
        json_patch.apply({"data": {"a": "b"}}, operations)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "$patch"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abc"), TREES, max_size=3))
def test_merging_an_object_into_nothing_removes_nulls_only(tree: dict[str, Any]) -> None:
    merged = merge.merged({}, tree)
    assert merge.merged(merged, tree) == merged


FIELDS = [
    "containers",
    "metadata",
    "spec",
    "finalizers",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "name",
]
PATCHES = st.recursive(
    st.none() | st.sampled_from(["replace", "delete", "a"]) | st.integers(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(FIELDS), PATCHES, max_size=3), st.sampled_from([strict.STRICT, strict.WARN]))
def test_no_strategic_patch_crashes(changes: dict[str, Any], mode: str) -> None:
    current = b'{"metadata":{"name":"a","finalizers":["x"]},"spec":{"containers":[{"name":"a"}]}}'
    try:
        patch.apply_patch(row("pods"), current, orjson.dumps(changes), patch.STRATEGIC_MERGE_PATCH, mode)
    except ApiError as error:
        assert error.code in (400, 422)  # noqa: PT017 - any outcome but a crash is fine


OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
        optional={
            "path": st.sampled_from(["", "/", "/a", "/a/0", "/a/-", "/a/-1", "/b/c", "x", "/a~1b/~0"]),
            "from": st.sampled_from(["", "/a", "/a/1", "/b"]),
            "value": TREES,
        },
    ),
    max_size=4,
)


@given(TREES, OPERATIONS)
def test_no_json_patch_crashes(document: Any, operations: list[dict[str, Any]]) -> None:
    try:
        json_patch.apply(document, operations)
    except json_patch.DoesNotApply as error:
        assert str(error)  # noqa: PT017 - any outcome but a crash is fine

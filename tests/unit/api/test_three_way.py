"""The patch of a client-side apply: what the user says wins, what they no longer say goes, what others set stays."""

from __future__ import annotations

import copy
import json
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api.patch import merge, strategic
from carob.api.three_way import ThreeWay, three_way_merge

Tree = dict[str, Any]

POD = "core/v1.Pod"
SCHEMA = json.loads((resources.files("carob.api") / "merge_keys.json").read_bytes())

words = st.sampled_from(["a", "b", "c"])
maps = st.dictionaries(words, st.sampled_from(["1", "2"]), min_size=1)


def named(more: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[Tree]]:
    items = st.fixed_dictionaries({"name": words}, optional=more)
    return st.lists(items, min_size=1, unique_by=lambda item: item["name"])


variables = named({"value": st.sampled_from(["x", "y"])})
containers = named({"image": words, "env": variables, "args": st.lists(words, min_size=1, max_size=2)})
pods = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({}, optional={"labels": maps, "annotations": maps})},
    optional={
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": containers,
                "nodeSelector": maps,
                "tolerations": st.lists(st.fixed_dictionaries({"key": words}), min_size=1, max_size=2),
                "terminationGracePeriodSeconds": st.integers(0, 2),
            },
        )
    },
)


def expected(original: Any, modified: Any, current: Any) -> Any:
    """The same in plain words: merged by keys where there are keys, otherwise the user's value."""
    if isinstance(modified, dict) and isinstance(current, dict):
        before = original if isinstance(original, dict) else {}
        out = {k: v for k, v in current.items() if k in modified or k not in before}
        return {**out, **{k: expected(before.get(k), v, current.get(k)) for k, v in modified.items()}}
    if _keyed(modified) and _keyed(current):
        before = {i["name"]: i for i in original or []}
        wanted = {i["name"]: i for i in modified}
        now = {i["name"]: i for i in current}
        merged = [expected(before.get(n), i, now[n]) if n in now else i for n, i in wanted.items()]
        return merged + [i for n, i in now.items() if n not in wanted and n not in before]
    return modified


def _keyed(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(i, dict) and "name" in i for i in value)


def without_order(tree: Any) -> Any:
    """Lists by name as maps, and nothing that is empty: where others' items stand is not the law's business."""
    if _keyed(tree):
        return {item["name"]: without_order(item) for item in tree}
    if isinstance(tree, dict):
        return {k: w for k, v in tree.items() if (w := without_order(v)) not in ({}, [])}
    return tree


def names(tree: Tree) -> list[str]:
    return [c["name"] for c in (tree.get("spec") or {}).get("containers") or []]


@given(original=pods, modified=pods, current=pods)
def test_the_patch_makes_of_what_is_there_what_is_wanted(original: Tree, modified: Tree, current: Tree) -> None:
    patch = ThreeWay(SCHEMA).strategic(POD, original, modified, current)
    result = strategic.merged(copy.deepcopy(current), copy.deepcopy(patch), POD)
    assert without_order(result) == without_order(expected(original, modified, current))
    wanted = names(modified)
    assert [name for name in names(result) if name in wanted] == wanted


@given(original=pods, modified=pods, current=pods)
def test_a_second_apply_changes_nothing(original: Tree, modified: Tree, current: Tree) -> None:
    patch = ThreeWay(SCHEMA).strategic(POD, original, modified, current)
    result = strategic.merged(copy.deepcopy(current), copy.deepcopy(patch), POD)
    again = ThreeWay(SCHEMA).strategic(POD, modified, modified, result)
    assert strategic.merged(copy.deepcopy(result), copy.deepcopy(again), POD) == result
    if without_order(result) == without_order(modified):
        assert again == {}


@given(original=pods, modified=pods, current=pods)
def test_nothing_that_was_given_is_changed(original: Tree, modified: Tree, current: Tree) -> None:
    before = copy.deepcopy((original, modified, current))
    ThreeWay(SCHEMA).strategic(POD, original, modified, current)
    assert (original, modified, current) == before


trees = st.recursive(
    st.one_of(st.integers(0, 2), st.lists(words, max_size=2)),
    lambda inner: st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(words, trees, max_size=3)


@given(original=objects, modified=objects, current=objects)
def test_a_custom_resource_is_merged_field_by_field(original: Tree, modified: Tree, current: Tree) -> None:
    patch = three_way_merge(original, modified, current)
    result = merge.merged(copy.deepcopy(current), patch)
    assert three_way_merge(modified, modified, result) == {}
    for key in original:
        if key not in modified:
            assert key not in result
    for key in current:
        if key not in modified and key not in original:
            assert result[key] == current[key]


@pytest.mark.parametrize(
    ("original", "modified", "current", "patch"),
    [
        pytest.param(
            {}, {"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"a": "1"}}}, {}, id="nothing to do"
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "1"}}},
            {"metadata": {}},
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
            {"metadata": {"labels": None}},
            id="a map that is no longer said goes as a whole",
        ),
        pytest.param(
            {"spec": {"containers": [{"name": "x"}, {"name": "y"}]}},
            {"spec": {"containers": [{"name": "y"}]}},
            {"spec": {"containers": [{"name": "x"}, {"name": "y"}]}},
            {
                "spec": {
                    "$setElementOrder/containers": [{"name": "y"}],
                    "containers": [{"$patch": "delete", "name": "x"}],
                }
            },
            id="an item is deleted by its key",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"finalizers": ["b"]}},
            {"metadata": {"finalizers": ["a", "b", "c"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}},
            id="a word is deleted from a list of words",
        ),
        pytest.param(
            {},
            {"spec": {"strategy": {"type": "Recreate"}}},
            {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
            {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
            id="a union keeps only what is said",
        ),
    ],
)
def test_patches_as_upstream_writes_them(original: Tree, modified: Tree, current: Tree, patch: Tree) -> None:
    kind = "apps/v1.Deployment" if "strategy" in str(modified) else POD
    assert ThreeWay(SCHEMA).strategic(kind, original, modified, current) == patch

"""`-o yaml`, `-o json`, `-o kyaml`, compared with what kubectl 1.37 printed (kubectl_prints.yml is its output)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from carob.cli.printers import go_text
from carob.cli.printers.kyaml import to_kyaml
from carob.cli.printers.structured import to_json, to_yaml, without_managed_fields

HERE = Path(__file__).parent

texts = st.text(st.sampled_from("ab1 :-#'\"\\\n\t,[]{}&*!|>%@`~.éy"), max_size=12)
trees = st.recursive(
    st.one_of(texts, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab1.-", min_size=1), inner, max_size=3)
    ),
    max_leaves=10,
)


def test_yaml_is_what_kubectl_prints() -> None:
    """Quotes, folds, literal blocks and the order of keys: a hundred awkward values."""
    tree = json.loads((HERE / "kubectl_prints.json").read_text())
    assert to_yaml(tree) == (HERE / "kubectl_prints.yml").read_text()


@given(st.dictionaries(st.sampled_from(["a", "b"]), trees, min_size=1))
def test_yaml_says_what_the_tree_says(tree: dict[str, Any]) -> None:
    assert yaml.safe_load(to_yaml(tree)) == tree


@given(st.dictionaries(st.sampled_from(["a", "b"]), trees, min_size=1))
def test_json_says_what_the_tree_says(tree: dict[str, Any]) -> None:
    assert json.loads(to_json(tree)) == tree


@given(st.dictionaries(st.text("ab1.-", min_size=1), trees, min_size=1))
def test_kyaml_says_what_the_tree_says(tree: dict[str, Any]) -> None:
    assert yaml.safe_load(to_kyaml(tree)) == tree


def test_json_is_indented_by_four_and_escaped_for_html() -> None:
    assert to_json({"b": [], "a": "<&>é"}) == '{\n    "a": "\\u003c\\u0026\\u003eé",\n    "b": []\n}\n'


def test_kyaml_is_what_kubectl_prints() -> None:
    tree = {"spec": {"ports": [{"port": 80}, {"port": 81}], "words": ["a", "no"], "none": {}}, "n": "x"}
    assert to_kyaml(tree) == (
        '---\n{\n  "n": "x",\n  spec: {\n    none: {},\n    ports: [{\n      port: 80,\n    }, {\n      port: 81,\n    }],\n'
        '    words: [\n      "a",\n      "no",\n    ],\n  },\n}\n'
    )


def test_managed_fields_are_left_out_of_objects_and_of_lists() -> None:
    one = {"metadata": {"name": "a", "managedFields": [1]}}
    assert without_managed_fields(one) == {"metadata": {"name": "a"}}
    many = {"items": [{"metadata": {"managedFields": [1]}}]}
    assert without_managed_fields(many) == {"items": [{"metadata": {}}]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, "x"], "a": None}, "map[a:<nil> b:[1 x]]"),
        (True, "true"),
        (1.5, "1.5"),
        ("x", "x"),
    ],
)
def test_values_as_go_prints_them(value: object, text: str) -> None:
    assert go_text.plain(value) == text

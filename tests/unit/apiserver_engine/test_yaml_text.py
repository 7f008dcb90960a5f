"""YAML answers: what is written is read back as the same object, whatever texts stand in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))
import objects

from carob.api import codec, strict
from carob.api.resources import BUILT_IN, Resource
from carob.api.types import core_v1
from carob.apiserver.yaml_text import to_yaml

KINDS = [row for row in BUILT_IN if row.group != "metrics.k8s.io"]
ODD = (
    *("yes", "y", "N", "0x1f", "1e3", "0E0", ".5e3", "~", "null", "2024-01-01", "1_000", "0o7", "- a", "a: b", "# c"),
    *("'", '"', "|", "a\n", "\n", " a", "a ", "a\n\nb", "\ta", "=", "<<", ".5", "1:30", "@x", "%x", "!x", "&x", "*x"),
    *("?", "\x7f", "\x85", "\u2028", "\ufeff", "", "\r\n", "\x1b[0m", "\U0001f40e", "- \n  b", "a" * 200, "w " * 60),
)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_stay_what_they_are(text: str) -> None:
    tree = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": {"k": text, text: "v"}}
    found, _ = strict.decode_as(core_v1.ConfigMap, "", to_yaml(tree), strict.YAML, strict.STRICT)
    assert codec.to_tree(found) == tree


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KINDS).flatmap(lambda row: st.tuples(st.just(row), objects.objects(row.struct))))
def test_any_object_of_any_kind_survives(made: tuple[Resource, dict[str, Any]]) -> None:
    row, tree = made
    found, _ = strict.decode_as(row.struct, row.group, to_yaml(tree), strict.YAML, strict.STRICT)
    assert codec.to_tree(found) == tree


@given(st.text(max_size=12))
def test_any_text_survives(text: str) -> None:
    tree = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": {"k": text}}
    found, _ = strict.decode_as(core_v1.ConfigMap, "", to_yaml(tree), strict.YAML, strict.STRICT)
    assert codec.to_tree(found) == tree


def test_it_looks_as_upstreams() -> None:
    tree = {"b": ["x", {"c": 1}], "a": {"t": "1", "yes": "y", "n": None, "m": "l1\nl2\n", "f": True}, "e": {}, "l": []}
    assert to_yaml(tree).decode() == (
        'a:\n  f: true\n  m: |\n    l1\n    l2\n  "n": null\n  t: "1"\n  "yes": "y"\nb:\n- x\n- c: 1\ne: {}\nl: []\n'
    )

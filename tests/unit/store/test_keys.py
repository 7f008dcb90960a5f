"""Sorted keys against Python's own sorting."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.store import keys as keys_module
from carob.store.keys import SortedKeys, prefix_end

names = st.text("ab/é\ud7ff\U0010ffff", max_size=4)


@settings(max_examples=50)
@given(start=st.sets(names), steps=st.lists(st.tuples(st.booleans(), names), max_size=60), data=st.data())
def test_same_as_a_sorted_list(start: set[str], steps: list[tuple[bool, str]], data: st.DataObject) -> None:
    original, keys_module.BUCKET_KEYS = keys_module.BUCKET_KEYS, 3
    try:
        keys, model = SortedKeys(start), sorted(start)
        for add, name in steps:
            if add and name not in model:
                keys.add(name)
                bisect.insort(model, name)
            elif not add and name in model:
                keys.remove(name)
                model.remove(name)
        assert (list(keys), len(keys)) == (model, len(model))
        low, high, limit = data.draw(names), data.draw(st.none() | names), data.draw(st.integers(0, 5))
        expected = [name for name in model if name >= low and (high is None or name < high)]
        assert keys.between(low, high, limit) == (expected[:limit] if limit else expected, len(expected))
    finally:
        keys_module.BUCKET_KEYS = original


@given(prefix=names, tail=names, other=names)
def test_the_end_of_a_prefix_is_behind_all_of_it_and_before_the_rest(prefix: str, tail: str, other: str) -> None:
    end = prefix_end(prefix)
    assert end is None or prefix + tail < end
    if end is not None:
        end.encode()
        assert (prefix <= other < end) == other.startswith(prefix)
    else:
        assert (prefix <= other) == other.startswith(prefix)


@pytest.mark.parametrize(
    ("prefix", "end"), [("", None), ("/a/", "/a0"), ("\U0010ffff", None), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000")]
)
def test_ends_of_prefixes(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end

"""Field sets and the merge of server-side apply: the laws that they keep."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api.apply import field_sets, forms, trees
from carob.api.apply.applying import Applier
from carob.api.apply.field_sets import FieldSet
from carob.api.apply.owners import Owner, decoded, encoded
from carob.api.status import ApiError
from carob.api.types import core_v1

FORM = forms.form_of(core_v1.Pod)

NAMES = st.sampled_from(["a", "b", "c"])
PORTS = st.lists(
    st.fixed_dictionaries({"containerPort": st.integers(1, 3)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}),
    min_size=1,
    max_size=3,
    unique_by=lambda port: (port["containerPort"], port.get("protocol", "TCP")),
)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES}, optional={"image": NAMES, "args": st.lists(NAMES, max_size=2), "ports": PORTS}
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda container: container["name"],
)
LABELS = st.dictionaries(NAMES, NAMES, min_size=1, max_size=2)
METADATA = st.fixed_dictionaries({"name": st.just("p")}, optional={"labels": LABELS})
SPECS = st.fixed_dictionaries(
    {"restartPolicy": st.just("Never")},
    optional={"containers": CONTAINERS, "hostname": NAMES, "nodeSelector": LABELS},
)
PODS = st.fixed_dictionaries({"metadata": METADATA, "spec": SPECS})
MANAGERS = st.sampled_from(["m1", "m2"])


def sets() -> st.SearchStrategy[FieldSet]:
    return st.builds(lambda pod: trees.fields_of(pod, FORM), PODS)


def applier(manager: str) -> Applier:
    return Applier(manager, "v1", "", {}, lambda version: FORM, lambda tree, source, target: tree)


@given(sets(), sets())
@settings(deadline=None)
def test_sets_calculate_as_sets_do(one: FieldSet, other: FieldSet) -> None:
    mine, theirs = set(field_sets.paths(one)), set(field_sets.paths(other))
    assert set(field_sets.paths(field_sets.union(one, other))) == mine | theirs
    assert set(field_sets.paths(field_sets.difference(one, other))) == mine - theirs
    assert set(field_sets.paths(field_sets.intersection(one, other))) == mine & theirs
    assert field_sets.loaded(field_sets.dumped(one)) == one


@given(st.lists(st.tuples(MANAGERS, PODS, st.booleans()), min_size=1, max_size=5))
@settings(deadline=None)
def test_applies_keep_their_laws(writes: list[tuple[str, Any, bool]]) -> None:
    """Applying again changes nothing; who owns a field has its value; two own one only where they agree."""
    live: Any = {"metadata": {"name": "p"}, "spec": {"restartPolicy": "Never"}}
    present: list[Owner] = []
    said: dict[str, Any] = {}
    for manager, config, force in writes:
        try:
            live, present = applier(manager).applied(live, config, present, force=force, time=None)
        except ApiError:
            assert not force
            continue
        said[manager] = config
        again, owners = applier(manager).applied(live, config, present, force=False, time=None)
        assert again is live
        assert encoded(owners) == encoded(present)
        for owner in present:
            # what an owner holds is there, and as it wanted it
            claimed = trees.fields_of(said[owner.manager], FORM)
            assert field_sets.difference(owner.fields, claimed) == {}
            changed, removed = trees.changes(said[owner.manager], live, FORM)
            assert field_sets.intersection(field_sets.intersection(owner.fields, changed), leaves(owner.fields)) == {}
            assert field_sets.intersection(owner.fields, removed) == {}


def leaves(one: FieldSet) -> FieldSet:
    """The members below which there are no others."""
    return {key: leaves(node) if node else {} for key, node in one.items() if key != "."}


@given(PODS, PODS)
@settings(deadline=None)
def test_what_changed_is_what_differs(old: Any, new: Any) -> None:
    changed, removed = trees.changes(old, new, FORM)
    assert trees.changes(new, old, FORM)[1].keys() <= {*changed, *removed} | trees.changes(new, old, FORM)[0].keys()
    assert trees.changes(old, old, FORM) == ({}, {})
    if old != new and not changed and not removed:
        assert trees.fields_of(old, FORM) == trees.fields_of(new, FORM)  # only the order of items differs


@given(PODS, PODS)
@settings(deadline=None)
def test_merging_keeps_both_and_prefers_the_second(live: Any, config: Any) -> None:
    merged = trees.merged(live, config, FORM)
    claimed = trees.fields_of(config, FORM)
    assert field_sets.difference(claimed, trees.fields_of(merged, FORM)) == {}
    assert trees.merged(merged, config, FORM) == merged


def test_items_stay_where_the_configuration_wants_them() -> None:
    def names(*several: str) -> Any:
        return {"spec": {"containers": [{"name": name} for name in several]}}

    def merged(live: Any, config: Any) -> str:
        return "".join(c["name"] for c in trees.merged(live, config, FORM)["spec"]["containers"])

    assert merged(names(*"abc"), names(*"cb")) == "acb"
    assert merged(names(*"ab"), names(*"xab")) == "xab" or merged(names(*"ab"), names(*"xab")) == "abx"
    assert merged(names(*"ab"), names(*"b")) == "ab"


@pytest.mark.parametrize("bad", [b"[]", b'{"x":{}}', b'{"f:a":1}', b'{"k:x":{}}', b'{"k:[]":{}}', b"", b"{"])
def test_what_is_no_set_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        field_sets.loaded(bad)


def test_owners_come_back_as_they_went() -> None:
    one = Owner('m"1', "Update", '\0"', "st\0", "2026-01-01T00:00:00Z", {"f:data": {"f:a": {}}})
    data = encoded([one])
    assert encoded(decoded(data)) == data
    assert encoded([]) == encoded(decoded(encoded([])))

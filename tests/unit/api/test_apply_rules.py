"""Rules of server-side apply, one a row: who ends up with what, and in whose words it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.apply import checks, field_sets, forms, trees
from carob.api.apply.applying import Applier
from carob.api.apply.owners import Owner
from carob.api.status import ApiError
from carob.api.types import core_v1

FORM = forms.form_of(core_v1.Pod)


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


def applied(
    *configs: tuple[str, dict[str, Any]], live: dict[str, Any] | None = None
) -> tuple[Any, dict[str, list[str]]]:
    """What is there after these applies, all by force, and the paths that each manager owns."""
    state: dict[str, Any] = live or {}
    present: list[Owner] = []
    for manager, config in configs:
        applier = Applier(manager, "v1", "", {}, lambda _: FORM, lambda tree, _, __: tree)
        state, present = applier.applied(state, config, present, force=True, time=None)
    return state, {owner.manager: list(field_sets.paths(owner.fields)) for owner in present}


def test_a_struct_whose_last_field_goes_stays_behind_empty() -> None:
    """Its field is null, which is no field; the struct around it was never taken away."""
    live, _ = applied(
        ("m", spec(securityContext={"seLinuxOptions": {"level": "a"}})),
        ("m", spec(securityContext={"seLinuxOptions": {}})),
    )
    assert live == spec(securityContext={"seLinuxOptions": None})


def test_who_owns_an_empty_map_keeps_it_when_its_keys_go() -> None:
    live, owned = applied(
        ("one", spec(overhead={})), ("other", spec(overhead={"a": "1"})), ("other", spec(hostname="h"))
    )
    assert live == spec(overhead=None, hostname="h")
    assert owned == {"one": [".spec.overhead"], "other": [".spec.hostname"]}


def test_of_items_that_share_a_key_none_is_merged_with_the_configuration() -> None:
    live = spec(containers=[{"name": "c", "image": "a", "tty": True}, {"name": "c", "image": "b", "stdin": True}])
    assert applied(("m", spec(containers=[{"name": "c", "image": "z"}])), live=live)[0] == spec(
        containers=[{"name": "c", "image": "z"}]
    )


def test_a_field_of_no_type_changes_its_shape() -> None:
    form = forms.DEDUCED
    assert trees.merged(["a"], {"b": 1}, form) == {"b": 1}
    assert trees.merged({"b": 1}, ["a"], form) == ["a"]
    assert trees.merged({"b": 1}, None, form) == {"b": 1}
    assert trees.changes({"b": 1}, None, form) == ({}, {"f:b": {}})


def test_conflicts_are_told_from_the_outside_in() -> None:
    mine = spec(
        hostname="a",
        containers=[{"name": "c", "image": "a", "ports": [{"containerPort": 80, "name": "x"}, {"containerPort": 9, "name": "y"}]}],
        activeDeadlineSeconds=1,
        overhead={"a": "1"},
    )  # fmt: skip
    theirs = spec(
        hostname="b",
        containers=[{"name": "c", "image": "b", "ports": [{"containerPort": 80, "name": "v"}, {"containerPort": 9, "name": "w"}]}],
        activeDeadlineSeconds=2,
        overhead={"a": "2"},
    )  # fmt: skip
    one, other = (Applier(name, "v1", "", {}, lambda _: FORM, lambda tree, _, __: tree) for name in ("one", "other"))
    live, present = one.applied({}, mine, [], force=False, time=None)
    with pytest.raises(ApiError) as raised:
        other.applied(live, theirs, present, force=False, time=None)
    assert raised.value.message.splitlines() == [
        'Apply failed with 6 conflicts: conflicts with "one":',
        "- .spec.activeDeadlineSeconds",
        "- .spec.hostname",
        '- .spec.containers[name="c"].image',
        '- .spec.containers[name="c"].ports[containerPort=9,protocol="TCP"].name',
        '- .spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].name',
        "- .spec.overhead.a",
    ]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"nodeSelector": {"a": 1}}, ".nodeSelector.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({"hostname": 2.5}, ".hostname: expected string, got &value.valueUnstructured{Value:2.5}"),
        ({"hostname": True}, ".hostname: expected string, got &value.valueUnstructured{Value:true}"),
        ({"hostname": ["a", None, 1]}, '.hostname: expected string, got &value.valueUnstructured{Value:[]interface {}{"a", interface {}(nil), 1}}'),
        ({"hostname": {"a": {}}}, '.hostname: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"a":map[string]interface {}{}}}'),
        ({"hostNetwork": [None]}, ".hostNetwork: expected boolean, got &{[<nil>]}"),
        ({"hostNetwork": 1}, ".hostNetwork: expected boolean, got &{1}"),
        ({"activeDeadlineSeconds": {}}, ".activeDeadlineSeconds: expected numeric (int or float), got map[string]interface {}"),
        ({"overhead": {"cpu": {"a": 1}}}, ".overhead.cpu: expected any scalar, got &{map[a:1]}"),
        ({"securityContext": "x"}, ".securityContext: expected map, got &{x}"),
        ({"containers": {"a": 1}}, ".containers: expected list, got &{map[a:1]}"),
        ({"containers": [{"image": "i"}, {"image": "j"}]}, '.containers: duplicate entries for key [name=""]'),
        ({"containers": [None]}, ".containers: element 0: associative list with keys may not have a null element"),
        ({"containers": ["c"]}, ".containers: element 0: associative list with keys may not have non-map elements"),
        ({"containers": [{"name": "c"}, {"name": "c"}]}, '.containers: duplicate entries for key [name="c"]'),
        ({"containers": [{"name": "c", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]}]}, '.containers[name="c"].ports: duplicate entries for key [containerPort=1,protocol="TCP"]'),
    ],
)  # fmt: skip
def test_what_does_not_fit_its_type(config: dict[str, Any], words: str) -> None:
    assert checks.mistakes(spec(**config), FORM) == [f".spec{words}"]


@pytest.mark.parametrize(
    ("finalizer", "words"),
    [
        (None, "associative list without keys has an element that's an explicit null"),
        ({"a": 1}, "associative list without keys has an element that's a map type"),
        (["a"], "not supported: associative list with lists as elements"),
    ],
)
def test_what_is_no_item_of_a_set(finalizer: Any, words: str) -> None:
    config = {"metadata": {"finalizers": ["a/b", finalizer]}}
    assert checks.mistakes(config, FORM) == [f".metadata.finalizers: element 1: {words}"]


def test_an_item_must_have_one_of_its_keys_unless_they_have_defaults() -> None:
    ports = [{"hostPort": 1}]
    assert checks.mistakes(spec(containers=[{"ports": ports}]), FORM) == []
    account = forms.form_of(core_v1.ServiceAccount)
    omitted = 'associative list with keys has an element that omits all key fields ["name"]'
    assert checks.mistakes({"secrets": [{"name": "s"}, {"kind": "Secret"}]}, account) == [
        f".secrets: element 1: {omitted} (and doesn't have default values for any key fields)"
    ]

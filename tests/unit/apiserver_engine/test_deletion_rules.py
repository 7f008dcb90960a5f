"""What a deletion changes: graces that only shrink, finalizers of a policy. Pure rules, no engine."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.resources import TABLE
from carob.api.types import core_v1, meta_v1
from carob.apiserver.handlers.delete import finalizers_for, mark_deleting, mark_graceful
from carob.apiserver.registry import Strategies
from carob.apiserver.registry.special import special

NOW = 1_700_000_000.0


def strategy(plural: str, group: str = "") -> Any:
    row = TABLE.by_plural(group, "v1", plural)
    assert row is not None
    return Strategies(special()).of(row)


def pod(**spec: Any) -> core_v1.Pod:
    return core_v1.Pod(spec=core_v1.PodSpec(node_name="n", termination_grace_period_seconds=30, **spec))


@pytest.mark.parametrize(("asked", "seconds"), [(None, 30), (7, 7), (0, 0), (-5, 1)])
def test_the_first_deletion_sets_time_and_grace(asked: int | None, seconds: int) -> None:
    obj = pod()
    options = meta_v1.DeleteOptions(grace_period_seconds=asked)
    assert mark_graceful(obj, strategy("pods"), options, NOW) == (True, False)
    assert obj.metadata.deletion_grace_period_seconds == seconds


def test_a_later_deletion_may_only_shorten() -> None:
    obj = pod()
    mark_graceful(obj, strategy("pods"), meta_v1.DeleteOptions(), NOW)
    first = obj.metadata.deletion_timestamp
    for asked in (None, 30, 60):
        options = meta_v1.DeleteOptions(grace_period_seconds=asked)
        assert mark_graceful(obj, strategy("pods"), options, NOW + 5) == (False, True)
        assert obj.metadata.deletion_timestamp == first
    assert mark_graceful(obj, strategy("pods"), meta_v1.DeleteOptions(grace_period_seconds=10), NOW + 5) == (
        True,
        False,
    )
    assert obj.metadata.deletion_timestamp == "2023-11-14T22:13:30Z"  # counted from the first deletion


def test_kinds_without_grace_are_not_marked() -> None:
    obj = core_v1.ConfigMap()
    assert mark_graceful(obj, strategy("configmaps"), meta_v1.DeleteOptions(), NOW) == (False, False)
    assert obj.metadata.deletion_timestamp is None


def test_a_held_object_is_marked_once() -> None:
    obj = core_v1.ConfigMap()
    assert mark_deleting(obj, NOW)
    assert not mark_deleting(obj, NOW + 60)
    assert obj.metadata.deletion_timestamp == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("plural", "group", "present", "options", "wanted"),
    [
        ("configmaps", "", [], {}, None),
        ("configmaps", "", ["a"], {"propagation_policy": "Foreground"}, ["a", "foregroundDeletion"]),
        ("configmaps", "", ["a", "orphan"], {"propagation_policy": "Background"}, ["a"]),
        ("configmaps", "", ["orphan"], {}, None),
        ("configmaps", "", [], {"orphan_dependents": True}, ["orphan"]),
        ("configmaps", "", ["orphan"], {"orphan_dependents": False}, []),
        ("jobs", "batch", [], {}, ["orphan"]),
        ("jobs", "batch", [], {"propagation_policy": "Background"}, None),
    ],
)
def test_a_policy_decides_the_finalizers(
    plural: str, group: str, present: list[str], options: dict[str, Any], wanted: list[str] | None
) -> None:
    obj = core_v1.ConfigMap(metadata=meta_v1.ObjectMeta(finalizers=present))
    assert finalizers_for(obj, strategy(plural, group), meta_v1.DeleteOptions(**options)) == wanted

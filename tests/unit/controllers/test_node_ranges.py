"""Which part of the cluster's range a node is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api.types import core_v1, meta_v1
from carob.controllers.node_ranges import SIMULATED, Ranges, wants_range


def test_ranges_are_given_from_the_end_and_what_is_kept_is_not_given() -> None:
    ranges = Ranges("10.42.0.0/16", 24, ("10.42.255.0/24", "10.42.254.0/24"))
    assert ranges.free(()) == "10.42.253.0/24"
    assert ranges.free(("10.42.253.0/24", "10.42.0.0/24")) == "10.42.252.0/24"


def test_what_somebody_has_of_another_size_is_not_given_a_second_time() -> None:
    ranges = Ranges("10.42.0.0/22", 24)
    assert ranges.free(("10.42.2.128/25", "10.42.3.7/32")) == "10.42.1.0/24"
    assert ranges.free(("10.42.0.0/23", "10.42.3.0/24")) == "10.42.2.0/24"
    assert ranges.free(("10.0.0.0/8",)) == ""


def test_other_families_and_other_clusters_take_nothing() -> None:
    assert Ranges("10.42.0.0/24", 24).free(("fd00::/64", "10.43.0.0/24", "nonsense")) == "10.42.0.0/24"


@given(st.integers(24, 28), st.data())
def test_nobody_is_given_what_another_has_until_all_are_given(mask_size: int, data: st.DataObject) -> None:
    ranges, used = Ranges("10.42.0.0/24", mask_size), list[str]()
    for _ in range(1 << (mask_size - 24)):
        one = ranges.free(used)
        assert one
        assert one not in used
        used.append(one)
    assert ranges.free(used) == ""
    freed = data.draw(st.sampled_from(used))
    used.remove(freed)
    assert ranges.free(used) == freed


@pytest.mark.parametrize("mask_size", [15, 31])
def test_parts_that_cannot_be_are_refused(mask_size: int) -> None:
    with pytest.raises(ValueError, match="no part of"):
        Ranges("10.42.0.0/16", mask_size)


def test_who_has_one_or_runs_no_containers_wants_none() -> None:
    assert wants_range(core_v1.Node())
    assert not wants_range(core_v1.Node(spec=core_v1.NodeSpec(pod_cidr="10.42.0.0/24")))
    assert not wants_range(core_v1.Node(metadata=meta_v1.ObjectMeta(labels={SIMULATED: "true"})))
